/* Matrix times vector: nine tenths of all arithmetic. Four rows at a time share what is loaded of
 * the input; their weights lie interleaved, four of the first row, four of the second and so on. */
#include "dsp.h"
#include "layers.h"
#include "requantise.h"

#if KWS_DSP

/* Widen once what all rows are multiplied with. Even and odd bytes are parted, and those of the
 * weights will be as well, so that each meets its own. */
static void widen(const int8_t *input, uint32_t count, int16x2_t *pairs)
{
    for (uint32_t i = 0; i < count; i += 4) {
        const uint32_t word = kws_load4(input + i);
        *pairs++ = kws_even_bytes(word);
        *pairs++ = kws_odd_bytes(word);
    }
}

static inline int32_t multiply4(const int8_t *weights, int16x2_t even, int16x2_t odd, int32_t sum)
{
    const uint32_t word = kws_load4(weights);
    sum = __smlad(kws_even_bytes(word), even, sum);
    return __smlad(kws_odd_bytes(word), odd, sum);
}

void kws_run_dense(const kws_dense *layer, const int8_t *input, int32_t *pairs, int8_t *output)
{
    const kws_requantiser out = layer->out; /* for C, stores through `output` might change it */
    const int8_t *weights = layer->weights;
    widen(input, layer->inputs, pairs);
    for (uint32_t row = 0; row < layer->outputs; row += 4) {
        const int16x2_t *x = pairs;
        const int16x2_t *const end = pairs + layer->inputs / 2;
        int32_t sum0 = layer->bias[row], sum1 = layer->bias[row + 1];
        int32_t sum2 = layer->bias[row + 2], sum3 = layer->bias[row + 3];
        while (x != end) {
            const int16x2_t even = x[0], odd = x[1];
            sum0 = multiply4(weights, even, odd, sum0);
            sum1 = multiply4(weights + 4, even, odd, sum1);
            sum2 = multiply4(weights + 8, even, odd, sum2);
            sum3 = multiply4(weights + 12, even, odd, sum3);
            weights += 16;
            x += 2;
        }
        output[row] = kws_requantise(&out, row, sum0);
        output[row + 1] = kws_requantise(&out, row + 1, sum1);
        output[row + 2] = kws_requantise(&out, row + 2, sum2);
        output[row + 3] = kws_requantise(&out, row + 3, sum3);
    }
}

#else

void kws_run_dense(const kws_dense *layer, const int8_t *input, int32_t *pairs, int8_t *output)
{
    (void)pairs;
    const kws_requantiser out = layer->out; /* for C, stores through `output` might change it */
    const int8_t *weights = layer->weights;
    for (uint32_t row = 0; row < layer->outputs; row += 4) {
        int32_t sum0 = layer->bias[row], sum1 = layer->bias[row + 1];
        int32_t sum2 = layer->bias[row + 2], sum3 = layer->bias[row + 3];
        for (uint32_t i = 0; i < layer->inputs; i += 4) {
            for (uint32_t k = 0; k < 4; k++) {
                const int32_t x = input[i + k];
                sum0 += weights[k] * x;
                sum1 += weights[4 + k] * x;
                sum2 += weights[8 + k] * x;
                sum3 += weights[12 + k] * x;
            }
            weights += 16;
        }
        output[row] = kws_requantise(&out, row, sum0);
        output[row + 1] = kws_requantise(&out, row + 1, sum1);
        output[row + 2] = kws_requantise(&out, row + 2, sum2);
        output[row + 3] = kws_requantise(&out, row + 3, sum3);
    }
}

#endif
