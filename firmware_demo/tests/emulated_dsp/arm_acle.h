/* The few DSP instructions that src/ uses, in C, so that their path runs under the sanitisers of
 * the host: -I this folder -D__ARM_FEATURE_DSP. Arm C Language Extensions, IHI 0053. */
#ifndef EMULATED_ARM_ACLE_H
#define EMULATED_ARM_ACLE_H

#include <stdint.h>

typedef int32_t int8x4_t;
typedef int32_t int16x2_t;

static inline int32_t low_half(int32_t pair)
{
    return (int16_t)(pair & 0xFFFF);
}

static inline int32_t high_half(int32_t pair)
{
    return pair >> 16;
}

static inline int16x2_t __sxtb16(int8x4_t four)
{
    const uint32_t bytes = (uint32_t)four;
    const uint32_t low = (uint32_t)(int8_t)(bytes & 0xFF) & 0xFFFF;
    const uint32_t high = (uint32_t)(int8_t)(bytes >> 16 & 0xFF);
    return (int16x2_t)(high << 16 | low);
}

static inline int32_t __smlad(int16x2_t a, int16x2_t b, int32_t sum)
{
    return sum + low_half(a) * low_half(b) + high_half(a) * high_half(b);
}

static inline int32_t __smlabb(int32_t a, int32_t b, int32_t sum)
{
    return sum + low_half(a) * low_half(b);
}

static inline int32_t __smlatt(int32_t a, int32_t b, int32_t sum)
{
    return sum + high_half(a) * high_half(b);
}

#endif
