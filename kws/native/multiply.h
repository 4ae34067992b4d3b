/* Sums of products of unsigned values of 8 bits with signed weights, which `int8.c` and `product.c`
 * share, and how real values are stored in 8 bits. x86 processors have several ways to multiply, of
 * which the caller takes one that `kws_multiplies` knows: the weights are packed for it. */

#ifndef KWS_NATIVE_MULTIPLY_H
#define KWS_NATIVE_MULTIPLY_H

#include "common.h"

enum {
    TILE = 16,      /* outputs that are computed together */
    MOST_TILES = 3, /* as many of these */
    MOST_ROWS = 8   /* pixels that are computed together */
};

/* Ways to multiply; the last two take signed values, of -127 at least. */
enum { PLAIN, AVX2, AVX_VNNI, AVX512_VNNI, NEON, NEON_DOT, ARITHMETICS };

/* Sums (rows, tiles, TILE) of weights and of what begins at each of the pixels: `height` rows of
 * `run` bytes, `pitch` bytes apart. `run` is a multiple of 4. Weights are tiles of (height, run,
 * TILE), or of (height, run / 4, TILE, 4) where a way takes four bytes together. */
typedef void multiply(const uint8_t *const *pixels, int height, int pitch, int run,
                      const int8_t *weights, int tiles, int32_t *sums);

typedef struct {
    multiply *run;
    int rows;     /* pixels that it takes at once */
    int together; /* bytes of a pixel that it takes together */
    int flipped;  /* bits that make its values out of unsigned ones, whose zero is 128 */
} kws_way;

extern const kws_way kws_ways[ARITHMETICS];

/* A real value in steps of the scale, to the nearest whole number that can be stored. */
INLINE float rounded(float value, int zero) {
    const float least = (float)-zero, most = (float)(255 - zero), large = 12582912.0f;
    value = value > least ? value : least;
    value = value < most ? value : most;
    value += large; /* 3 * 2^22, whose last bit stands for 1 */
    return value - large;
}

/* Likewise, as it is stored. */
INLINE uint8_t stored(float value, int zero) { return (uint8_t)((int)rounded(value, zero) + zero); }

#endif
