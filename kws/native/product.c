/* Products of float values with weights of 8 bits, for `kws.native.product`.
 *
 * Weights are turned into floats a few at a time, so that only those take the memory of floats. All
 * sizes and addresses are those that kws.native.product has checked.
 */

#include "common.h"

#include <string.h>

enum {
    TILE = 16,  /* outputs that are computed together */
    ROWS = 6,   /* rows that are computed together */
    BLOCK = 256 /* inputs whose weights are turned into floats at once */
};

/* Adds rows (ROWS, inputs) times weights (inputs, TILE) to the sums (ROWS, TILE). */
static void multiply_plain(const float *const *rows, const float *weights, int inputs,
                           float (*sums)[TILE]) {
    for (int row = 0; row < ROWS; row += 2) {
        const float *p = rows[row], *q = rows[row + 1];
        float a[TILE], b[TILE];
        memcpy(a, sums[row], sizeof a);
        memcpy(b, sums[row + 1], sizeof b);
        for (int i = 0; i < inputs; i++) {
            const float *RESTRICT w = weights + i * TILE;
            const float x = p[i], y = q[i];
            LANE_BY_LANE for (int j = 0; j < TILE; j++) {
                a[j] += x * w[j];
                b[j] += y * w[j];
            }
        }
        memcpy(sums[row], a, sizeof a);
        memcpy(sums[row + 1], b, sizeof b);
    }
}

#if defined(HAS_X86)

#define WITH_FMA __attribute__((target("avx2,fma")))

/* Likewise; all sums stay in registers. */
WITH_FMA static void multiply_fused(const float *const *rows, const float *weights, int inputs,
                                    float (*sums)[TILE]) {
    __m256 left[ROWS], right[ROWS];
    for (int r = 0; r < ROWS; r++) {
        left[r] = _mm256_loadu_ps(sums[r]);
        right[r] = _mm256_loadu_ps(sums[r] + 8);
    }
    for (int i = 0; i < inputs; i++, weights += TILE) {
        const __m256 w = _mm256_loadu_ps(weights), v = _mm256_loadu_ps(weights + 8);
        for (int r = 0; r < ROWS; r++) {
            const __m256 x = _mm256_broadcast_ss(rows[r] + i);
            left[r] = _mm256_fmadd_ps(x, w, left[r]);
            right[r] = _mm256_fmadd_ps(x, v, right[r]);
        }
    }
    for (int r = 0; r < ROWS; r++) {
        _mm256_storeu_ps(sums[r], left[r]);
        _mm256_storeu_ps(sums[r] + 8, right[r]);
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

/* Each of `count` rows, `apart` numbers apart, times weights, scaled and with the bias; `fused`
 * where kws_fuses says that this can be.
 *
 * weights: tiles of (inputs, TILE); scales, bias: (outputs,); sums: (count, outputs). Outputs are
 * whole tiles. A row's sums do not depend on which rows are beside it. */
EXPORT FOR_EACH_PROCESSOR void kws_product(const float *rows, int32_t count, int32_t apart,
                                           int32_t inputs, const int8_t *weights,
                                           const float *scales, const float *bias, int32_t outputs,
                                           int32_t fused, float *sums) {
    float panel[BLOCK * TILE], some[ROWS][TILE];
    for (int tile = 0; tile < outputs; tile += TILE) {
        for (int from = 0; from < inputs; from += BLOCK) {
            const int block = inputs - from < BLOCK ? inputs - from : BLOCK;
            for (int i = 0; i < block * TILE; i++) panel[i] = (float)weights[i];
            weights += block * TILE;
            for (int first = 0; first < count; first += ROWS) {
                const float *places[ROWS];
                const int left = count - first < ROWS ? count - first : ROWS;
                float *const to = sums + first * outputs + tile;
                memset(some, 0, sizeof some);
                for (int r = 0; r < ROWS; r++) {
                    /* Rows that there are none of are the last one once more. */
                    const int row = r < left ? first + r : count - 1;
                    places[r] = rows + row * apart + from;
                    if (from && r < left) memcpy(some[r], to + r * outputs, sizeof some[r]);
                }
#if defined(HAS_X86)
                if (fused) multiply_fused(places, panel, block, some);
                else
#endif
                    multiply_plain(places, panel, block, some);
                for (int r = 0; r < left; r++) memcpy(to + r * outputs, some[r], sizeof some[r]);
            }
        }
        for (int row = 0; row < count; row++) {
            float *RESTRICT to = sums + row * outputs + tile;
            for (int j = 0; j < TILE; j++) to[j] = to[j] * scales[tile + j] + bias[tile + j];
        }
    }
    (void)fused;
}
