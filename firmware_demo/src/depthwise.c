/* Convolution over time, each channel for itself, over a ring of rows: four channels at a time, of
 * each sum first the taps from the oldest row to the end of the ring, then those from its start. */
#include "dsp.h"
#include "layers.h"
#include "requantise.h"

typedef struct {
    int32_t s0, s1, s2, s3;
} four_sums;

#if KWS_DSP

static inline four_sums add_taps(four_sums to, const int8_t *weights, const int8_t *row,
                                 uint32_t taps, uint32_t channels)
{
    for (; taps > 0; taps--) {
        const uint32_t x = kws_load4(row);
        const uint32_t w = kws_load4(weights);
        const int16x2_t even_x = kws_even_bytes(x), odd_x = kws_odd_bytes(x);
        const int16x2_t even_w = kws_even_bytes(w), odd_w = kws_odd_bytes(w);
        to.s0 = __smlabb(even_x, even_w, to.s0);
        to.s1 = __smlabb(odd_x, odd_w, to.s1);
        to.s2 = __smlatt(even_x, even_w, to.s2);
        to.s3 = __smlatt(odd_x, odd_w, to.s3);
        weights += channels;
        row += channels;
    }
    return to;
}

#else

static inline four_sums add_taps(four_sums to, const int8_t *weights, const int8_t *row,
                                 uint32_t taps, uint32_t channels)
{
    for (; taps > 0; taps--) {
        to.s0 += weights[0] * row[0];
        to.s1 += weights[1] * row[1];
        to.s2 += weights[2] * row[2];
        to.s3 += weights[3] * row[3];
        weights += channels;
        row += channels;
    }
    return to;
}

#endif

void kws_run_depthwise(const kws_depthwise *layer, const int8_t *ring, uint32_t oldest,
                       int8_t *output)
{
    const kws_requantiser out = layer->out; /* for C, stores through `output` might change it */
    const uint32_t channels = layer->channels;
    const uint32_t first = layer->kernel - oldest;
    for (uint32_t i = 0; i < channels; i += 4) {
        const int8_t *const weights = layer->weights + i;
        const int8_t *const rows = ring + i;
        const int32_t *const bias = layer->bias + i;
        four_sums sums = {bias[0], bias[1], bias[2], bias[3]};
        sums = add_taps(sums, weights, rows + oldest * channels, first, channels);
        sums = add_taps(sums, weights + first * channels, rows, oldest, channels);
        output[i] = kws_requantise(&out, i, sums.s0);
        output[i + 1] = kws_requantise(&out, i + 1, sums.s1);
        output[i + 2] = kws_requantise(&out, i + 2, sums.s2);
        output[i + 3] = kws_requantise(&out, i + 3, sums.s3);
    }
}
