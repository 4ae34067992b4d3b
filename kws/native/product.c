/* Products of float values with weights of 8 bits, for `kws.native.product`.
 *
 * Weights are turned into floats a few at a time, so that only those take the memory of floats. All
 * sizes and addresses are those that kws.native.product has checked.
 */

#include "common.h"

#include <math.h>
#include <string.h>

enum {
    TILE = 16,  /* outputs that are computed together */
    ROWS = 6,   /* rows at most that are computed together */
    BLOCK = 256 /* inputs whose weights are turned into floats at once */
};

/* Adds rows (count, inputs) times weights (inputs, TILE) to the sums (count, TILE). */
static void multiply_plain(const float *const *rows, int count, const float *weights, int inputs,
                           float (*sums)[TILE]) {
    for (int row = 0; row < count; row += 2) {
        /* Of a row without another that one is computed twice. */
        const float *p = rows[row], *q = rows[row + 1 < count ? row + 1 : row];
        float a[TILE], b[TILE];
        memcpy(a, sums[row], sizeof a);
        memcpy(b, sums[row + 1 < count ? row + 1 : row], sizeof b);
        for (int i = 0; i < inputs; i++) {
            const float *RESTRICT w = weights + i * TILE;
            const float x = p[i], y = q[i];
            LANE_BY_LANE for (int j = 0; j < TILE; j++) {
                a[j] += x * w[j];
                b[j] += y * w[j];
            }
        }
        memcpy(sums[row], a, sizeof a);
        if (row + 1 < count) memcpy(sums[row + 1], b, sizeof b);
    }
}

#if defined(HAS_X86)

#define WITH_FMA __attribute__((target("avx2,fma")))

/* Likewise for a count that the compiler knows, so that all sums stay in registers. */
WITH_FMA INLINE void multiply_rows(const float *const *rows, const int count, const float *weights,
                                   int inputs, float (*sums)[TILE]) {
    __m256 left[ROWS], right[ROWS];
    for (int r = 0; r < count; r++) {
        left[r] = _mm256_loadu_ps(sums[r]);
        right[r] = _mm256_loadu_ps(sums[r] + 8);
    }
    for (int i = 0; i < inputs; i++, weights += TILE) {
        const __m256 w = _mm256_loadu_ps(weights), v = _mm256_loadu_ps(weights + 8);
        for (int r = 0; r < count; r++) {
            const __m256 x = _mm256_broadcast_ss(rows[r] + i);
            left[r] = _mm256_fmadd_ps(x, w, left[r]);
            right[r] = _mm256_fmadd_ps(x, v, right[r]);
        }
    }
    for (int r = 0; r < count; r++) {
        _mm256_storeu_ps(sums[r], left[r]);
        _mm256_storeu_ps(sums[r] + 8, right[r]);
    }
}

WITH_FMA static void multiply_fused(const float *const *rows, int count, const float *weights,
                                    int inputs, float (*sums)[TILE]) {
    switch (count) {
    case 6: multiply_rows(rows, 6, weights, inputs, sums); break;
    case 5: multiply_rows(rows, 5, weights, inputs, sums); break;
    case 4: multiply_rows(rows, 4, weights, inputs, sums); break;
    case 3: multiply_rows(rows, 3, weights, inputs, sums); break;
    case 2: multiply_rows(rows, 2, weights, inputs, sums); break;
    default: multiply_rows(rows, 1, weights, inputs, sums);
    }
}

#endif

/* Whether products can be added with one rounding for both, and the processor does that. */
EXPORT int32_t kws_fuses(void) {
#if defined(HAS_X86)
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
#else
    return 0;
#endif
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

/* Each of `count` rows, `apart` numbers apart, times weights, scaled and with the bias, and the
 * gelu of that where `bent`; `fused` where kws_fuses says that this can be.
 *
 * weights: (inputs, outputs); scales, bias: (outputs,); sums: (count, outputs). Outputs are whole
 * tiles. A row's sums do not depend on which rows are beside it. */
EXPORT FOR_EACH_PROCESSOR void kws_product(const float *rows, int32_t count, int32_t apart,
                                           int32_t inputs, const int8_t *weights,
                                           const float *scales, const float *bias, int32_t outputs,
                                           int32_t bent, int32_t fused, float *sums) {
    const int groups = (count + ROWS - 1) / ROWS;
    float panel[BLOCK * TILE], some[ROWS][TILE];
    for (int tile = 0; tile < outputs; tile += TILE) {
        for (int from = 0; from < inputs; from += BLOCK) {
            const int block = inputs - from < BLOCK ? inputs - from : BLOCK;
            for (int i = 0; i < block; i++) {
                const int8_t *RESTRICT line = weights + (from + i) * outputs + tile;
                LANE_BY_LANE for (int j = 0; j < TILE; j++) panel[i * TILE + j] = (float)line[j];
            }
            /* As few groups of rows as there can be, of about equally many each. */
            for (int first = 0, group = groups; group; group--) {
                const float *places[ROWS];
                const int these = (count - first + group - 1) / group;
                float *const to = sums + first * outputs + tile;
                for (int r = 0; r < these; r++) {
                    places[r] = rows + (first + r) * apart + from;
                    if (from) memcpy(some[r], to + r * outputs, sizeof some[r]);
                    else memset(some[r], 0, sizeof some[r]);
                }
#if defined(HAS_X86)
                if (fused) multiply_fused(places, these, panel, block, some);
                else
#endif
                    multiply_plain(places, these, panel, block, some);
                for (int r = 0; r < these; r++) memcpy(to + r * outputs, some[r], sizeof some[r]);
                first += these;
            }
        }
        for (int row = 0; row < count; row++) {
            float *RESTRICT to = sums + row * outputs + tile;
            LANE_BY_LANE for (int j = 0; j < TILE; j++)
                to[j] = to[j] * scales[tile + j] + bias[tile + j];
            if (!bent) continue;
            LANE_BY_LANE for (int j = 0; j < TILE; j++) to[j] = gelu(to[j]);
        }
    }
    (void)fused;
}
