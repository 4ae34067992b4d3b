/* Products of float values with weights of 8 bits, for `kws.native.product`.
 *
 * Each row of values is stored in 8 bits, in steps of its own: a 127th of the largest of it. The
 * sums are integers. Weights stay where they are; a few at a time are packed as the way to multiply
 * needs them. All sizes and addresses are those that kws.native.product has checked.
 */

#include "multiply.h"

#include <math.h>
#include <string.h>

enum { ZERO = 128 }; /* the integer that stands for 0 */

/* A value in steps, to the nearest whole number that can be stored. */
INLINE uint8_t stored(float value) {
    const float least = -ZERO, most = 255 - ZERO, large = 12582912.0f;
    value = value > least ? value : least;
    value = value < most ? value : most;
    value += large; /* 3 * 2^22, whose last bit stands for 1 */
    return (uint8_t)((int)(value - large) + ZERO);
}

/* A row as it is stored, with these bits flipped; returns its steps, no number where a value is
 * none. */
INLINE float store(const float *RESTRICT from, int count, int flipped, uint8_t *RESTRICT to) {
    const float least = 1e-30f;
    int32_t most_bits;
    memcpy(&most_bits, &least, sizeof most_bits);
    for (int i = 0; i < count; i++) {
        int32_t bits;
        memcpy(&bits, from + i, sizeof bits);
        bits &= INT32_MAX; /* of the absolute value; in the same order as the values */
        most_bits = bits > most_bits ? bits : most_bits;
    }
    float most;
    memcpy(&most, &most_bits, sizeof most);
    const float step = most / 127.0f;
    for (int i = 0; i < count; i++) to[i] = (uint8_t)(stored(from[i] / step) ^ flipped);
    return step;
}

/* Weights (inputs, some tiles) out of (inputs, outputs) -> tiles of (run, TILE), zeros after the
 * inputs, or of (run / 4, TILE, 4). */
INLINE void pack(const int8_t *weights, int inputs, int outputs, int run, int tiles, int together,
                 int8_t *to) {
    static const int8_t none[TILE] = {0};
    for (int tile = 0; tile < tiles; tile++, weights += TILE) {
        for (int i = 0; i < run; i += 4, to += 4 * TILE) {
            const int8_t *lines[4];
            for (int k = 0; k < 4; k++)
                lines[k] = i + k < inputs ? weights + (i + k) * outputs : none;
            if (together == 1) {
                for (int k = 0; k < 4; k++) memcpy(to + k * TILE, lines[k], TILE);
                continue;
            }
#if defined(HAS_X86)
            const __m128i a = _mm_loadu_si128((const __m128i *)lines[0]);
            const __m128i b = _mm_loadu_si128((const __m128i *)lines[1]);
            const __m128i c = _mm_loadu_si128((const __m128i *)lines[2]);
            const __m128i d = _mm_loadu_si128((const __m128i *)lines[3]);
            const __m128i low = _mm_unpacklo_epi8(a, b), high = _mm_unpackhi_epi8(a, b);
            const __m128i others = _mm_unpacklo_epi8(c, d), highest = _mm_unpackhi_epi8(c, d);
            _mm_storeu_si128((__m128i *)to, _mm_unpacklo_epi16(low, others));
            _mm_storeu_si128((__m128i *)(to + 16), _mm_unpackhi_epi16(low, others));
            _mm_storeu_si128((__m128i *)(to + 32), _mm_unpacklo_epi16(high, highest));
            _mm_storeu_si128((__m128i *)(to + 48), _mm_unpackhi_epi16(high, highest));
#elif defined(HAS_NEON)
            const int8x16x4_t four = {
                {vld1q_s8(lines[0]), vld1q_s8(lines[1]), vld1q_s8(lines[2]), vld1q_s8(lines[3])}};
            vst4q_s8(to, four);
#endif
        }
    }
}

/* x * sigmoid(1.702 x), to a relative error of about 1e-6. After exp2f of the Cephes library. */
INLINE float gelu(float x) {
    const float most = 126.0f, large = 12582912.0f; /* 3 * 2^22, whose last bit stands for 1 */
    float power = fabsf(x) * (1.702f * 1.44269504f);
    int32_t bits, most_bits;
    memcpy(&bits, &power, sizeof bits);
    memcpy(&most_bits, &most, sizeof most_bits);
    bits = bits < most_bits ? bits : most_bits; /* those of the lesser number, and of no NaN */
    memcpy(&power, &bits, sizeof power);
    const float whole = power + large - large, part = whole - power;
    float p = 1.535336188e-4f;
    p = p * part + 1.339887440e-3f;
    p = p * part + 9.618437358e-3f;
    p = p * part + 5.550332471e-2f;
    p = p * part + 2.402264791e-1f;
    p = p * part + 6.931472029e-1f;
    bits = (127 - (int32_t)whole) * (1 << 23); /* of 2^-whole */
    float scale;
    memcpy(&scale, &bits, sizeof scale);
    const float e = (1.0f + p * part) * scale; /* e^-|1.702 x| */
    const float less = x * e;
    return (x > less ? x : less) / (1.0f + e);
}

/* Sums of a row, less those of as many zeros, as real numbers. */
INLINE void settle(const int32_t *RESTRICT sums, const int32_t *RESTRICT zeros, float step,
                   const float *RESTRICT scales, const float *RESTRICT bias, int width, int bent,
                   float *RESTRICT to) {
    for (int j = 0; j < width; j++)
        to[j] = (float)(sums[j] - zeros[j]) * (step * scales[j]) + bias[j];
    if (!bent) return;
    for (int j = 0; j < width; j++) to[j] = gelu(to[j]);
}

/* Each of `count` rows, `apart` numbers apart, times weights, scaled and with the bias, and the
 * gelu of that where `bent`.
 *
 * weights: (inputs, outputs); scales, bias: (outputs,); sums: (count, outputs). Outputs are whole
 * tiles. `scratch` has (count + 1 + MOST_TILES * TILE) * run bytes, where `run` are the inputs up
 * to the next multiple of 4; steps: (count,). A row's sums do not depend on which are beside it. */
EXPORT FOR_EACH_PROCESSOR void kws_product(const float *rows, int32_t count, int32_t apart,
                                           int32_t inputs, const int8_t *weights,
                                           const float *scales, const float *bias, int32_t outputs,
                                           int32_t bent, int32_t arithmetic, uint8_t *scratch,
                                           float *steps, float *sums) {
    const kws_way *const way = kws_ways + arithmetic;
    const int run = (inputs + 3) / 4 * 4, all = outputs / TILE;
    int8_t *const panel = (int8_t *)scratch + (count + 1) * run;
    /* First a row of zeros, whose sums all others have too much. */
    memset(scratch, ZERO ^ way->flipped, (size_t)run * (size_t)(count + 1));
    for (int row = 0; row < count; row++)
        steps[row] = store(rows + row * apart, inputs, way->flipped, scratch + (row + 1) * run);
    int some;
    for (int tile = 0; tile < all; tile += some) {
        int32_t zeros[MOST_TILES * TILE];
        some = all - tile == 4 ? 2 : all - tile < way->tiles ? all - tile : way->tiles;
        const int first_output = tile * TILE, width = some * TILE;
        pack(weights + first_output, inputs, outputs, run, some, way->together, panel);
        for (int first = 0; first <= count; first += way->rows) {
            const uint8_t *places[MOST_ROWS];
            int32_t found[MOST_ROWS * MOST_TILES * TILE];
            for (int r = 0; r < way->rows; r++) /* of rows that there are none of, the last again */
                places[r] = scratch + (first + r < count ? first + r : count) * run;
            way->run(places, run, panel, some, found);
            if (!first) memcpy(zeros, found, sizeof(int32_t) * (size_t)width);
            for (int r = first ? 0 : 1; r < way->rows && first + r <= count; r++) {
                const int row = first + r - 1;
                settle(found + r * width, zeros, steps[row], scales + first_output,
                       bias + first_output, width, bent, sums + row * outputs + first_output);
            }
        }
    }
}
