/* The residual connection. */
#include "layers.h"
#include "requantise.h"

#define HEADROOM 20 /* bits by which TFLite raises both inputs before it scales them */

/* value / 2^shift to nearest, ties away from zero. */
static inline int32_t round_off(int32_t value, int32_t half, int32_t shift)
{
    return (value + half + (half > 0 ? value >> 31 : 0)) >> shift;
}

static inline int32_t half_of(int32_t shift)
{
    return shift > 0 ? 1 << (shift - 1) : 0;
}

void kws_run_sum(const kws_sum *layer, const int8_t *first, const int8_t *second, uint32_t count,
                 int8_t *output)
{
    const kws_sum sum = *layer; /* stores through `output` might change the layer, for C */
    const int32_t first_half = half_of(sum.first_shift), second_half = half_of(sum.second_shift);
    for (uint32_t i = 0; i < count; i++) {
        const int32_t a = (first[i] - sum.first_zero) * (2 << HEADROOM);
        const int32_t b = (second[i] - sum.second_zero) * (2 << HEADROOM);
        const int32_t both =
            round_off(kws_high_multiply(a, sum.first_multiplier), first_half, sum.first_shift) +
            round_off(kws_high_multiply(b, sum.second_multiplier), second_half, sum.second_shift);
        output[i] = kws_finish(kws_high_multiply(both * 2, sum.out_multiplier),
                               sum.out_shift_but_one, 2 * sum.out_zero + 1);
    }
}
