/* Rescaling of 32-bit sums to 8 bits, rounded as TFLite's reference kernels round. */
#ifndef KWS_REQUANTISE_H
#define KWS_REQUANTISE_H

#include <stdint.h>

#include "dsp.h"
#include "layers.h"

/* value * multiplier / 2^31 rounded to nearest, given twice the value, which must not overflow:
 * gemmlowp's SaturatingRoundingDoublingHighMul. A multiplier is never INT32_MIN, so nothing
 * saturates, and adding half before the shift is the same as its nudge by sign and division. */
static inline int32_t kws_high_multiply(int32_t twice, int32_t multiplier)
{
#if KWS_DSP
    return kws_smmulr(twice, multiplier);
#else
    return (int32_t)(((int64_t)twice * multiplier + (INT64_C(1) << 31)) >> 32);
#endif
}

static inline int8_t kws_saturate(int32_t value)
{
    value = value < INT8_MIN ? INT8_MIN : value;
    return (int8_t)(value > INT8_MAX ? INT8_MAX : value);
}

/* value / 2^shift to nearest, ties away from zero, plus an offset, as 8 bits: the
 * RoundingDivideByPOT of gemmlowp. The shift is at least 1 and comes as shift - 1, the offset as
 * 2 * offset + 1, so that the half is added together with it in the last place but one. */
static inline int8_t kws_finish(int32_t value, int32_t shift_but_one, int32_t twice_and_half)
{
    value += value >> 31;
    return kws_saturate(((value >> shift_but_one) + twice_and_half) >> 1);
}

/* The sum of one output, or channel -> its 8 bits. */
static inline int8_t kws_requantise(const kws_requantiser *out, uint32_t output, int32_t sum)
{
    return kws_finish(kws_high_multiply(sum * 2, out->multiplier[output]),
                      out->shift_but_one[output], 2 * out->zero + 1);
}

#endif
