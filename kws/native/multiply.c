/* The ways to multiply of `multiply.h`. */

#include "multiply.h"

#include <string.h>

#if defined(HAS_NEON) && defined(__linux__)
#include <sys/auxv.h>
#endif

static void multiply_plain(const uint8_t *const *rows, int run, const int8_t *weights, int tiles,
                           int32_t *sums) {
    const int width = tiles * TILE;
    for (int tile = 0; tile < tiles; tile++) {
        int32_t a[TILE] = {0}, b[TILE] = {0}, c[TILE] = {0}, d[TILE] = {0};
        for (int i = 0; i < run; i++) {
            const int16_t p = rows[0][i], q = rows[1][i];
            const int16_t r = rows[2][i], s = rows[3][i];
            LANE_BY_LANE for (int j = 0; j < TILE; j++) {
                const int16_t w = weights[j];
                a[j] += p * w;
                b[j] += q * w;
                c[j] += r * w;
                d[j] += s * w;
            }
            weights += TILE;
        }
        memcpy(sums + tile * TILE, a, sizeof a);
        memcpy(sums + width + tile * TILE, b, sizeof b);
        memcpy(sums + 2 * width + tile * TILE, c, sizeof c);
        memcpy(sums + 3 * width + tile * TILE, d, sizeof d);
    }
}

#if defined(HAS_X86)

/* The other ways take four bytes of a row at once: weights are (run / 4, TILE, 4). */
INLINE int32_t four(const uint8_t *bytes) {
    int32_t value;
    memcpy(&value, bytes, sizeof value);
    return value;
}

/* Products of pairs of 16 bits, which do not saturate: even bytes and odd ones apart. */
__attribute__((target("avx2"))) static void multiply_avx2(
    const uint8_t *const *rows, int run, const int8_t *weights, int tiles, int32_t *sums) {
    enum { ROWS = 4 };
    const __m256i low = _mm256_set1_epi16(0xff);
    for (int tile = 0; tile < tiles; tile++) {
        __m256i left[ROWS], right[ROWS];
        for (int r = 0; r < ROWS; r++) left[r] = right[r] = _mm256_setzero_si256();
        for (int i = 0; i < run; i += 4) {
            const __m256i w = _mm256_loadu_si256((const __m256i *)weights);
            const __m256i v = _mm256_loadu_si256((const __m256i *)(weights + 32));
            const __m256i w_even = _mm256_srai_epi16(_mm256_slli_epi16(w, 8), 8);
            const __m256i v_even = _mm256_srai_epi16(_mm256_slli_epi16(v, 8), 8);
            const __m256i w_odd = _mm256_srai_epi16(w, 8), v_odd = _mm256_srai_epi16(v, 8);
            weights += 4 * TILE;
            for (int r = 0; r < ROWS; r++) {
                const __m256i x = _mm256_set1_epi32(four(rows[r] + i));
                const __m256i even = _mm256_and_si256(x, low), odd = _mm256_srli_epi16(x, 8);
                left[r] = _mm256_add_epi32(left[r], _mm256_madd_epi16(w_even, even));
                right[r] = _mm256_add_epi32(right[r], _mm256_madd_epi16(v_even, even));
                left[r] = _mm256_add_epi32(left[r], _mm256_madd_epi16(w_odd, odd));
                right[r] = _mm256_add_epi32(right[r], _mm256_madd_epi16(v_odd, odd));
            }
        }
        for (int r = 0; r < ROWS; r++) {
            int32_t *to = sums + (r * tiles + tile) * TILE;
            _mm256_storeu_si256((__m256i *)to, left[r]);
            _mm256_storeu_si256((__m256i *)(to + 8), right[r]);
        }
    }
}

#if !defined(__clang__)
__attribute__((target("avxvnni"))) static void multiply_avx_vnni(
    const uint8_t *const *rows, int run, const int8_t *weights, int tiles, int32_t *sums) {
    enum { ROWS = 6 };
    for (int tile = 0; tile < tiles; tile++) {
        __m256i left[ROWS], right[ROWS];
        for (int r = 0; r < ROWS; r++) left[r] = right[r] = _mm256_setzero_si256();
        for (int i = 0; i < run; i += 4) {
            const __m256i w = _mm256_loadu_si256((const __m256i *)weights);
            const __m256i v = _mm256_loadu_si256((const __m256i *)(weights + 32));
            weights += 4 * TILE;
            for (int r = 0; r < ROWS; r++) {
                const __m256i x = _mm256_set1_epi32(four(rows[r] + i));
                left[r] = _mm256_dpbusd_avx_epi32(left[r], x, w);
                right[r] = _mm256_dpbusd_avx_epi32(right[r], x, v);
            }
        }
        for (int r = 0; r < ROWS; r++) {
            int32_t *to = sums + (r * tiles + tile) * TILE;
            _mm256_storeu_si256((__m256i *)to, left[r]);
            _mm256_storeu_si256((__m256i *)(to + 8), right[r]);
        }
    }
}
#endif

#define WITH_AVX512 __attribute__((target("avx512f,avx512vnni")))

WITH_AVX512 INLINE void multiply_tiles(const uint8_t *const *rows, int run,
                                       const int8_t *weights, const int tiles, int32_t *sums) {
    enum { ROWS = 10 }; /* a fifth of the verifier's 49 steps and of the row of zeros */
    const int tile_bytes = run * TILE;
    __m512i total[ROWS][MOST_TILES];
    for (int r = 0; r < ROWS; r++)
        for (int t = 0; t < tiles; t++) total[r][t] = _mm512_setzero_si512();
    for (int i = 0; i < run; i += 4) {
        __m512i w[MOST_TILES];
        for (int t = 0; t < tiles; t++) w[t] = _mm512_loadu_si512(weights + t * tile_bytes);
        weights += 4 * TILE;
        for (int r = 0; r < ROWS; r++) {
            const __m512i x = _mm512_set1_epi32(four(rows[r] + i));
            for (int t = 0; t < tiles; t++) total[r][t] = _mm512_dpbusd_epi32(total[r][t], x, w[t]);
        }
    }
    for (int r = 0; r < ROWS; r++)
        for (int t = 0; t < tiles; t++)
            _mm512_storeu_si512(sums + (r * tiles + t) * TILE, total[r][t]);
}

WITH_AVX512 static void multiply_avx512_vnni(const uint8_t *const *rows, int run,
                                             const int8_t *weights, int tiles, int32_t *sums) {
    if (tiles == 2) multiply_tiles(rows, run, weights, 2, sums);
    else multiply_tiles(rows, run, weights, 1, sums);
}

#endif

#if defined(HAS_NEON)

/* Weights are (run / 4, TILE, 4). */
INLINE int8x16_t four_of(const uint8_t *bytes) {
    int32_t value;
    memcpy(&value, bytes, sizeof value);
    return vreinterpretq_s8_s32(vdupq_n_s32(value));
}

/* Two products of 8 bits are added in 16: those of 127 and of -128 twice fit. Each sum is in two
 * parts, those of even and of odd pairs. */
static void multiply_neon(const uint8_t *const *rows, int run, const int8_t *weights, int tiles,
                          int32_t *sums) {
    enum { ROWS = 4, OUTPUTS = 8 };
    for (int part = 0; part < tiles * TILE / OUTPUTS; part++) {
        const int8_t *w = weights + part / 2 * run * TILE + part % 2 * OUTPUTS * 4;
        int32x4_t total[ROWS][OUTPUTS / 2];
        for (int r = 0; r < ROWS; r++)
            for (int j = 0; j < OUTPUTS / 2; j++) total[r][j] = vdupq_n_s32(0);
        int i = 0;
        for (; i + 8 <= run; i += 8, w += 8 * TILE) {
            const int8x16_t a = vld1q_s8(w), b = vld1q_s8(w + 16);
            const int8x16_t c = vld1q_s8(w + 4 * TILE), d = vld1q_s8(w + 4 * TILE + 16);
            for (int r = 0; r < ROWS; r++) {
                const int8x16_t x = four_of(rows[r] + i);
                const int8x16_t y = four_of(rows[r] + i + 4);
                int16x8_t p = vmull_s8(vget_low_s8(a), vget_low_s8(x));
                p = vmlal_s8(p, vget_low_s8(c), vget_low_s8(y));
                total[r][0] = vpadalq_s16(total[r][0], p);
                p = vmlal_high_s8(vmull_high_s8(a, x), c, y);
                total[r][1] = vpadalq_s16(total[r][1], p);
                p = vmull_s8(vget_low_s8(b), vget_low_s8(x));
                p = vmlal_s8(p, vget_low_s8(d), vget_low_s8(y));
                total[r][2] = vpadalq_s16(total[r][2], p);
                p = vmlal_high_s8(vmull_high_s8(b, x), d, y);
                total[r][3] = vpadalq_s16(total[r][3], p);
            }
        }
        for (; i < run; i += 4, w += 4 * TILE) {
            const int8x16_t a = vld1q_s8(w), b = vld1q_s8(w + 16);
            for (int r = 0; r < ROWS; r++) {
                const int8x16_t x = four_of(rows[r] + i);
                const int8x8_t low = vget_low_s8(x);
                total[r][0] = vpadalq_s16(total[r][0], vmull_s8(vget_low_s8(a), low));
                total[r][1] = vpadalq_s16(total[r][1], vmull_high_s8(a, x));
                total[r][2] = vpadalq_s16(total[r][2], vmull_s8(vget_low_s8(b), low));
                total[r][3] = vpadalq_s16(total[r][3], vmull_high_s8(b, x));
            }
        }
        for (int r = 0; r < ROWS; r++) {
            int32_t *to = sums + r * tiles * TILE + part * OUTPUTS;
            vst1q_s32(to, vpaddq_s32(total[r][0], total[r][1]));
            vst1q_s32(to + 4, vpaddq_s32(total[r][2], total[r][3]));
        }
    }
}

#if defined(__clang__)
#define WITH_DOT __attribute__((target("dotprod")))
#else
#define WITH_DOT __attribute__((target("arch=armv8.2-a+dotprod")))
#endif

WITH_DOT static void multiply_dot(const uint8_t *const *rows, int run, const int8_t *weights,
                                  int tiles, int32_t *sums) {
    enum { ROWS = 4 };
    for (int tile = 0; tile < tiles; tile++) {
        int32x4_t total[ROWS][TILE / 4];
        for (int r = 0; r < ROWS; r++)
            for (int j = 0; j < TILE / 4; j++) total[r][j] = vdupq_n_s32(0);
        for (int i = 0; i < run; i += 4, weights += 4 * TILE) {
            int8x16_t w[TILE / 4];
            for (int j = 0; j < TILE / 4; j++) w[j] = vld1q_s8(weights + 16 * j);
            for (int r = 0; r < ROWS; r++) {
                const int8x16_t x = four_of(rows[r] + i);
                for (int j = 0; j < TILE / 4; j++)
                    total[r][j] = vdotq_s32(total[r][j], w[j], x);
            }
        }
        for (int r = 0; r < ROWS; r++)
            for (int j = 0; j < TILE / 4; j++)
                vst1q_s32(sums + (r * tiles + tile) * TILE + 4 * j, total[r][j]);
    }
}

#endif

const kws_way kws_ways[ARITHMETICS] = {
    [PLAIN] = {multiply_plain, 4, 3, 1, 0},
#if defined(HAS_X86)
    [AVX2] = {multiply_avx2, 4, 3, 4, 0},
#if !defined(__clang__)
    [AVX_VNNI] = {multiply_avx_vnni, 6, 3, 4, 0},
#endif
    [AVX512_VNNI] = {multiply_avx512_vnni, 10, 2, 4, 0},
#endif
#if defined(HAS_NEON)
    [NEON] = {multiply_neon, 4, 3, 4, 128},
    [NEON_DOT] = {multiply_dot, 4, 3, 4, 128},
#endif
};

/* Whether there is a way to multiply of this number, and the processor has it. */
EXPORT int32_t kws_multiplies(int32_t arithmetic) {
    if (arithmetic == PLAIN) return 1;
#if defined(HAS_X86)
    if (arithmetic == AVX2) return !!__builtin_cpu_supports("avx2");
#if !defined(__clang__)
    if (arithmetic == AVX_VNNI) return !!__builtin_cpu_supports("avxvnni");
#endif
    if (arithmetic == AVX512_VNNI) return !!__builtin_cpu_supports("avx512vnni");
#endif
#if defined(HAS_NEON)
    if (arithmetic == NEON) return 1;
#if defined(__linux__)
    if (arithmetic == NEON_DOT) return !!(getauxval(AT_HWCAP) & HWCAP_ASIMDDP);
#elif defined(__APPLE__)
    if (arithmetic == NEON_DOT) return 1;
#endif
#endif
    return 0;
}
