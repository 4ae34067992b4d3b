/* What the files of the native kernel have in common: how compilers are told what to make. */

#ifndef KWS_NATIVE_COMMON_H
#define KWS_NATIVE_COMMON_H

#include <stdint.h> /* which also tells of __GLIBC__ */

#if defined(_WIN32)
#define EXPORT __declspec(dllexport)
#elif defined(__GNUC__)
#define EXPORT __attribute__((visibility("default")))
#else
#define EXPORT
#endif

#if defined(__x86_64__) && defined(__GLIBC__) && __GNUC__ >= 12 && !defined(__clang__)
#define FOR_EACH_PROCESSOR \
    __attribute__((target_clones("default", "arch=x86-64-v3", "arch=x86-64-v4")))
#else
#define FOR_EACH_PROCESSOR
#endif

/* Ways to multiply that are written for x86, for who asks whether the processor has them. */
#if defined(__x86_64__) && defined(__GNUC__) && (__GNUC__ >= 12 || defined(__clang__))
#define HAS_X86
#include <immintrin.h>
#endif

/* Likewise for 64-bit ARM. */
#if defined(__aarch64__) && defined(__GNUC__)
#define HAS_NEON
#include <arm_neon.h>
#endif

#if defined(__GNUC__)
#define INLINE static inline __attribute__((always_inline))
#else
#define INLINE static inline
#endif

/* Unrolled first, as GCC does with loops of eight, they become vectors of less. */
#if defined(__GNUC__) && !defined(__clang__)
#define LANE_BY_LANE _Pragma("GCC unroll 1")
#else
#define LANE_BY_LANE
#endif

#if defined(_MSC_VER)
#define RESTRICT __restrict
#else
#define RESTRICT restrict
#endif

#endif
