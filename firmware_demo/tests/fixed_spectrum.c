#include "fixed_spectrum.h"

#include "requantise.h"

static fixed_complex twiddles[3 * KWS_FFT_SIZE / 4]; /* times 2^31 */

static int32_t fixed_of(float value)
{
    const float scaled = value * 2147483648.0f;
    return scaled >= 2147483648.0f ? INT32_MAX : (int32_t)scaled;
}

void fixed_start(void)
{
    for (uint32_t k = 0; k < 3 * KWS_FFT_SIZE / 4; k++) {
        twiddles[k].re = fixed_of(kws_twiddles[k].re);
        twiddles[k].im = fixed_of(kws_twiddles[k].im);
    }
}

/* Half of a * b: one instruction for each product, where there is the DSP extension. */
static inline fixed_complex half_times(fixed_complex a, fixed_complex b)
{
    const fixed_complex product = {kws_high_multiply(a.re, b.re) - kws_high_multiply(a.im, b.im),
                                   kws_high_multiply(a.re, b.im) + kws_high_multiply(a.im, b.re)};
    return product;
}

static inline fixed_complex half_of(fixed_complex a)
{
    const fixed_complex half = {a.re >> 1, a.im >> 1};
    return half;
}

static inline void butterfly(fixed_complex *p, uint32_t span, fixed_complex a, fixed_complex b,
                             fixed_complex c, fixed_complex d)
{
    const fixed_complex ac_sum = {a.re + c.re, a.im + c.im};
    const fixed_complex ac_gap = {a.re - c.re, a.im - c.im};
    const fixed_complex bd_sum = {b.re + d.re, b.im + d.im};
    const fixed_complex bd_gap = {b.re - d.re, b.im - d.im};
    p[0].re = ac_sum.re + bd_sum.re;
    p[0].im = ac_sum.im + bd_sum.im;
    p[span].re = ac_gap.re + bd_gap.im;
    p[span].im = ac_gap.im - bd_gap.re;
    p[2 * span].re = ac_sum.re - bd_sum.re;
    p[2 * span].im = ac_sum.im - bd_sum.im;
    p[3 * span].re = ac_gap.re - bd_gap.im;
    p[3 * span].im = ac_gap.im + bd_gap.re;
}

void fixed_power_spectrum(fixed_complex *data, uint64_t *power)
{
    fixed_complex *const end = data + KWS_FFT_HALF;
    for (fixed_complex *p = data; p != end; p += 4) {
        butterfly(p, 1, half_of(p[0]), half_of(p[1]), half_of(p[2]), half_of(p[3]));
    }
    for (uint32_t span = 4; span < KWS_FFT_HALF; span *= 4) {
        const uint32_t step = KWS_FFT_SIZE / (4 * span);
        for (uint32_t j = 0; j < span; j++) {
            const fixed_complex w1 = twiddles[j * step];
            const fixed_complex w2 = twiddles[2 * j * step];
            const fixed_complex w3 = twiddles[3 * j * step];
            for (fixed_complex *p = data + j; p < end; p += 4 * span) {
                butterfly(p, span, half_of(p[0]), half_times(p[span], w1),
                          half_times(p[2 * span], w2), half_times(p[3 * span], w3));
            }
        }
    }
    for (uint32_t k = 1; k <= KWS_FFT_HALF / 2; k++) {
        const fixed_complex a = half_of(data[k]);
        const fixed_complex b = half_of(data[KWS_FFT_HALF - k]);
        const fixed_complex even = {(a.re + b.re) >> 1, (a.im - b.im) >> 1};
        const fixed_complex odd = {a.im + b.im, b.re - a.re};
        const fixed_complex turned = half_times(odd, twiddles[k]);
        const fixed_complex low = {even.re + turned.re, even.im + turned.im};
        const fixed_complex high = {even.re - turned.re, even.im - turned.im};
        power[k] = (uint64_t)((int64_t)low.re * low.re + (int64_t)low.im * low.im);
        power[KWS_FFT_HALF - k] =
            (uint64_t)((int64_t)high.re * high.re + (int64_t)high.im * high.im);
    }
}
