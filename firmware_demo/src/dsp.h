/* The DSP extension of Arm cores, where the compiler targets it and KWS_PORTABLE is not set. */
#ifndef KWS_DSP_H
#define KWS_DSP_H

#if defined(__ARM_FEATURE_DSP) && !defined(KWS_PORTABLE)
#define KWS_DSP 1

#include <arm_acle.h>
#include <stdint.h>
#include <string.h>

/* Four bytes as one word; memcpy becomes one load and keeps to the aliasing rules. */
static inline uint32_t kws_load4(const int8_t *bytes)
{
    uint32_t word;
    memcpy(&word, bytes, sizeof word);
    return word;
}

/* Bytes 0 and 2 of a word as two signed 16-bit halves. */
static inline int16x2_t kws_even_bytes(uint32_t word)
{
    return __sxtb16((int8x4_t)word);
}

/* Bytes 1 and 3. The instruction can rotate its operand, but GCC does not know that; the Arm C
 * Language Extensions have no name for the next one at all. */
static inline int16x2_t kws_odd_bytes(uint32_t word)
{
#if defined(__GNUC__) && defined(__arm__)
    int16x2_t halves;
    __asm__("sxtb16 %0, %1, ror #8" : "=r"(halves) : "r"(word));
    return halves;
#else
    return __sxtb16((int8x4_t)(word >> 8));
#endif
}

/* The upper half of a * b, rounded. */
static inline int32_t kws_smmulr(int32_t a, int32_t b)
{
#if defined(__GNUC__) && defined(__arm__)
    int32_t product;
    __asm__("smmulr %0, %1, %2" : "=r"(product) : "r"(a), "r"(b));
    return product;
#else
    return (int32_t)(((int64_t)a * b + (INT64_C(1) << 31)) >> 32);
#endif
}

#else
#define KWS_DSP 0
#endif

#endif
