/* The kinds of layer of the network, int8 in and out, with the arithmetic of TFLite's reference
 * kernels. Real value = scale * (stored value - zero point). */
#ifndef KWS_LAYERS_H
#define KWS_LAYERS_H

#include <stdint.h>

#define KWS_VECTOR 4 /* inputs, outputs and channels come in multiples of this */

/* How sums become 8-bit outputs: times multiplier * 2^-(31 + shift), plus the zero point, at the
 * limits of 8 bits where beyond. A ReLU is in it: what it gives is stored from -128 up. */
typedef struct {
    const int32_t *multiplier;    /* for each output, in [2^30, 2^31) */
    const uint8_t *shift_but_one; /* for each output, shift - 1, in [0, 30] */
    int8_t zero;                  /* of the output */
} kws_requantiser;

/* A matrix: convolution over a whole patch, pointwise convolution, classifier. */
typedef struct {
    const int8_t *weights; /* outputs x inputs, interleaved as dense.c tells */
    const int32_t *bias;   /* outputs; -zero point of the input * sum of the row is in it */
    kws_requantiser out;
    uint16_t inputs;
    uint16_t outputs;
} kws_dense;

/* A convolution over time, each channel for itself. */
typedef struct {
    const int8_t *weights; /* kernel x channels, oldest row first */
    const int32_t *bias;   /* channels; the zero point of the input is in it */
    kws_requantiser out;
    uint16_t channels;
    uint8_t kernel;
} kws_depthwise;

/* The sum of two tensors of different scales, then a ReLU. */
typedef struct {
    int32_t first_multiplier, second_multiplier, out_multiplier; /* in [2^30, 2^31) */
    int8_t first_zero, second_zero, out_zero;
    uint8_t first_shift, second_shift; /* in [0, 31] */
    uint8_t out_shift_but_one;         /* in [0, 30] */
} kws_sum;

/* input[inputs] -> output[outputs]; pairs is room for inputs / 2 words. */
void kws_run_dense(const kws_dense *layer, const int8_t *input, int32_t *pairs, int8_t *output);

/* A ring of kernel rows of channels, oldest at row `oldest` -> output[channels]. */
void kws_run_depthwise(const kws_depthwise *layer, const int8_t *ring, uint32_t oldest,
                       int8_t *output);

/* first[count] + second[count] -> output[count]; output may be either input. */
void kws_run_sum(const kws_sum *layer, const int8_t *first, const int8_t *second, uint32_t count,
                 int8_t *output);

/* The mean over rows[count][channels], in whatever order -> output[channels]. */
void kws_run_mean(const int8_t *rows, uint32_t count, uint32_t channels, int8_t *output);

#endif
