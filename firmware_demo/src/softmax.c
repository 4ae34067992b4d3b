/* The softmax of TFLite's reference kernels, in the fixed-point arithmetic of gemmlowp: export's
 * integer.py is its readable form. Numbers are named by their integer bits: q5 is value / 2^26. */
#include "softmax.h"

#include "requantise.h"

#define INTEGER_BITS 5 /* of a difference of logits */
#define SUM_BITS 12    /* integer bits of the sum of the exponentials */

/* a * b of q0 numbers: kws_high_multiply for values that may not be doubled. */
static int32_t multiply(int32_t a, int32_t b)
{
    return (int32_t)(((int64_t)a * b + (INT64_C(1) << 30)) >> 31);
}

/* value / 2^bits to nearest, ties away from zero; adding half first could overflow here. */
static int32_t round_off(int32_t value, int32_t bits)
{
    const int32_t mask = (int32_t)((UINT32_C(1) << bits) - 1);
    const int32_t threshold = (mask >> 1) + (value < 0);
    return (value >> bits) + ((value & mask) > threshold);
}

static int32_t raise(int32_t value, int32_t bits)
{
    const int64_t raised = (int64_t)value * (INT64_C(1) << bits);
    return raised > INT32_MAX ? INT32_MAX : raised < INT32_MIN ? INT32_MIN : (int32_t)raised;
}

/* exp of a q5 number at most 0, as q0: by its series around -1/8 for what lies in (-1/4, 0], times
 * exp(-1/4), exp(-1/2), ... for each further bit. */
static int32_t exp_of_negative(int32_t value)
{
    static const int32_t factors[] = {1672461947, 1302514674, 790015084, 290630308,
                                      39332535,   720401,     242};
    const int32_t quarter = 1 << (31 - INTEGER_BITS - 2);
    const int32_t exp_of_minus_eighth = 1895147668, third = 715827883;
    if (value == 0) {
        return INT32_MAX;
    }
    const int32_t in_quarter = (value & (quarter - 1)) - quarter;
    const int32_t x = in_quarter * (1 << INTEGER_BITS) + (1 << 28);
    const int32_t x2 = multiply(x, x);
    const int32_t x3 = multiply(x2, x);
    const int32_t x4 = multiply(x2, x2);
    const int32_t cubic = multiply(round_off(x4, 2) + x3, third) + x2;
    int32_t result = exp_of_minus_eighth +
                     multiply(x + round_off(cubic, 1), exp_of_minus_eighth);
    const int32_t rest = in_quarter - value;
    for (uint32_t i = 0; i < sizeof factors / sizeof *factors; i++) {
        if (rest & quarter << i) {
            result = multiply(result, factors[i]);
        }
    }
    return result;
}

/* 1 / (1 + value) of q0 numbers, value in [0, 1), by Newton's method. */
static int32_t reciprocal_of_one_plus(int32_t value)
{
    const int32_t half = (int32_t)(((int64_t)value + INT32_MAX + 1) >> 1);
    const int32_t start = 1515870810, slope = -1010580540; /* 48/17 and -32/17 as q2 */
    int32_t x = start + multiply(half, slope);
    for (int i = 0; i < 3; i++) {
        const int32_t error = (1 << 29) - multiply(half, x);
        x += raise(multiply(x, error), 2);
    }
    return raise(x, 1);
}

static int32_t leading_zeros(uint32_t value)
{
    int32_t zeros = 32;
    for (; value > 0; value >>= 1) {
        zeros--;
    }
    return zeros;
}

/* exp(logit - largest) as q0. */
static int32_t power_of(int32_t difference)
{
    const int32_t raised = difference * (1 << KWS_SOFTMAX_SHIFT);
    return exp_of_negative(multiply(raised, KWS_SOFTMAX_MULTIPLIER));
}

void kws_softmax(const int8_t *logits, int8_t *posteriors)
{
    int32_t powers[KWS_LABELS];
    int32_t largest = logits[0], sum = 0;
    for (uint32_t i = 1; i < KWS_LABELS; i++) {
        largest = logits[i] > largest ? logits[i] : largest;
    }
    for (uint32_t i = 0; i < KWS_LABELS; i++) {
        const int32_t difference = logits[i] - largest;
        powers[i] = difference >= KWS_SOFTMAX_LEAST ? power_of(difference) : 0;
        sum += round_off(powers[i], SUM_BITS);
    }
    const int32_t headroom = leading_zeros((uint32_t)sum);
    const int32_t fraction = (int32_t)(((uint32_t)sum << headroom) - (UINT32_C(1) << 31));
    const int32_t scale = reciprocal_of_one_plus(fraction);
    for (uint32_t i = 0; i < KWS_LABELS; i++) {
        const int32_t share = round_off(multiply(scale, powers[i]), SUM_BITS - headroom + 31 - 8);
        posteriors[i] = kws_saturate(share + INT8_MIN);
    }
}
