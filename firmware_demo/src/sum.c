/* The residual connection. */
#include "layers.h"
#include "requantise.h"

#define HEADROOM 20 /* bits by which TFLite raises both inputs before it scales them */

/* As kws_rounding_shift, for a shift of 0 as well. */
typedef struct {
    int32_t multiplier, half, sign, shift;
} scale;

static scale make_scale(int32_t multiplier, int32_t shift)
{
    const scale made = {multiplier, shift > 0 ? 1 << (shift - 1) : 0, shift > 0 ? -1 : 0, shift};
    return made;
}

static inline int32_t rescale(const scale by, int32_t value)
{
    value = kws_high_multiply(value, by.multiplier);
    return (value + by.half + (value >> 31 & by.sign)) >> by.shift;
}

void kws_run_sum(const kws_sum *layer, const int8_t *first, const int8_t *second, uint32_t count,
                 int8_t *output)
{
    const scale first_scale = make_scale(layer->first_multiplier, layer->first_shift);
    const scale second_scale = make_scale(layer->second_multiplier, layer->second_shift);
    const int32_t first_zero = layer->first_zero, second_zero = layer->second_zero;
    const int32_t out_zero = layer->out_zero;
    const int32_t lowest = layer->lowest, highest = layer->highest;
    for (uint32_t i = 0; i < count; i++) {
        const int32_t a = (first[i] - first_zero) * (1 << HEADROOM);
        const int32_t b = (second[i] - second_zero) * (1 << HEADROOM);
        const int32_t sum = rescale(first_scale, a) + rescale(second_scale, b);
        const int32_t rounded = kws_rounding_shift(
            kws_high_multiply(sum, layer->out_multiplier), layer->out_shift);
        output[i] = kws_clamp(rounded + out_zero, lowest, highest);
    }
}
