/* Matrix times vector on Arm's CMSIS-NN, in place of src/dense.c: the same bits. A vector is one
 * pixel of a pointwise convolution, which all of its releases since 2020 declare alike. */
#include <arm_nnfunctions.h>
#include <string.h>

#include "layers.h"

#ifdef CMSIS_NN_USE_SINGLE_ROUNDING
#error "TFLite's reference kernels round twice: build without CMSIS_NN_USE_SINGLE_ROUNDING"
#endif

#define ROWS 2 /* at a time: `pairs` has room for their weights */

/* The weights of two rows, which lie interleaved with two others as src/dense.c says, one row
 * behind the other. */
static void part(const int8_t *weights, uint32_t inputs, int8_t *rows)
{
    for (uint32_t i = 0; i < inputs; i += 4) {
        memcpy(rows + i, weights + 4 * i, 4);
        memcpy(rows + inputs + i, weights + 4 * i + 4, 4);
    }
}

void kws_run_dense(const kws_dense *layer, const int8_t *input, int32_t *pairs, int8_t *output)
{
    const cmsis_nn_context no_buffer = {NULL, 0};
    const cmsis_nn_conv_params params = {
        .output_offset = layer->out.zero, /* that of the input is in the bias */
        .stride = {1, 1},
        .dilation = {1, 1},
        .activation = {INT8_MIN, INT8_MAX},
    };
    const cmsis_nn_dims pixel = {1, 1, 1, layer->inputs};
    const cmsis_nn_dims filter = {ROWS, 1, 1, layer->inputs};
    const cmsis_nn_dims outputs = {1, 1, 1, ROWS};
    int8_t *const rows = (int8_t *)pairs;
    for (uint32_t row = 0; row < layer->outputs; row += ROWS) {
        const uint32_t in_four = row % 4;
        part(layer->weights + (row - in_four) * layer->inputs + 4 * in_four, layer->inputs, rows);
        int32_t multiplier[ROWS], shift[ROWS];
        for (uint32_t i = 0; i < ROWS; i++) {
            multiplier[i] = layer->out.multiplier[row + i];
            shift[i] = -1 - layer->out.shift_but_one[row + i]; /* to the right: below 0 */
        }
        const cmsis_nn_per_channel_quant_params quantisation = {multiplier, shift};
        arm_convolve_1x1_s8_fast(&no_buffer, &params, &quantisation, &pixel, input, &filter, rows,
                                 &outputs, layer->bias + row, &outputs, output + row);
    }
}
