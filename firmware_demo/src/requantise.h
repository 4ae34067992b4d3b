/* Rescaling of 32-bit sums to 8 bits, rounded as TFLite's reference kernels round. */
#ifndef KWS_REQUANTISE_H
#define KWS_REQUANTISE_H

#include <stdint.h>

#include "layers.h"

/* a * b / 2^31 rounded to nearest: gemmlowp's SaturatingRoundingDoublingHighMul. A multiplier is
 * never INT32_MIN, so nothing saturates. Adding half and shifting down arithmetically gives the
 * same as its nudge by sign and division towards zero. */
static inline int32_t kws_high_multiply(int32_t a, int32_t b)
{
    return (int32_t)(((int64_t)a * b + (INT64_C(1) << 30)) >> 31);
}

/* value / 2^shift rounded to nearest, ties away from zero; shift in [1, 31]. gemmlowp's
 * RoundingDivideByPOT; |value| is far from the limits of its type. */
static inline int32_t kws_rounding_shift(int32_t value, int32_t shift)
{
    return (value + (1 << (shift - 1)) + (value >> 31)) >> shift;
}

static inline int8_t kws_clamp(int32_t value, int32_t lowest, int32_t highest)
{
    value = value < lowest ? lowest : value;
    return (int8_t)(value > highest ? highest : value);
}

/* The sum of one output, or channel -> its 8 bits. */
static inline int8_t kws_requantise(const kws_requantiser *out, uint32_t output, int32_t sum)
{
    sum = kws_rounding_shift(kws_high_multiply(sum, out->multiplier[output]), out->shift[output]);
    return kws_clamp(sum + out->zero, out->lowest, out->highest);
}

#endif
