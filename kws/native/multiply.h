/* Sums of products of unsigned values of 8 bits with signed weights, for `product.c`. x86 processors
 * have several ways to multiply, of which the caller takes one that `kws_multiplies` knows: the
 * weights are packed for it. */

#ifndef KWS_NATIVE_MULTIPLY_H
#define KWS_NATIVE_MULTIPLY_H

#include "common.h"

enum {
    TILE = 16,      /* outputs that are computed together */
    MOST_TILES = 3, /* as many of these */
    MOST_ROWS = 10  /* rows of values that are computed together */
};

/* Ways to multiply; the last two take signed values, of -127 at least. */
enum { PLAIN, AVX2, AVX_VNNI, AVX512_VNNI, NEON, NEON_DOT, ARITHMETICS };

/* Sums (rows, tiles, TILE) of weights and of the `run` bytes that begin at each of the rows. `run` is
 * a multiple of 4. Weights are tiles of (run, TILE), or of (run / 4, TILE, 4) where a way takes four
 * bytes together. */
typedef void multiply(const uint8_t *const *rows, int run, const int8_t *weights, int tiles,
                      int32_t *sums);

typedef struct {
    multiply *run;
    int rows;     /* that it takes at once */
    int tiles;    /* of outputs that it computes at once, at most */
    int together; /* bytes of a row that it takes together */
    int flipped;  /* bits that make its values out of unsigned ones, whose zero is 128 */
} kws_way;

extern const kws_way kws_ways[ARITHMETICS];

#endif
