/* The transform of N real samples as one of N / 2 complex ones, radix 4, decimated in time (Cooley
 * and Tukey; Sorensen et al., IEEE Trans. ASSP 35, 1987). Every product and sum is rounded on its
 * own (the build says -ffp-contract=off), so that all machines compute the same bits. */
#include "fft.h"

static kws_complex times(kws_complex a, kws_complex b)
{
    const kws_complex product = {a.re * b.re - a.im * b.im, a.re * b.im + a.im * b.re};
    return product;
}

/* Four points of stride `span` become their discrete Fourier transform. */
static void butterfly(kws_complex *p, uint32_t span, kws_complex a, kws_complex b, kws_complex c,
                      kws_complex d)
{
    const kws_complex ac_sum = {a.re + c.re, a.im + c.im};
    const kws_complex ac_gap = {a.re - c.re, a.im - c.im};
    const kws_complex bd_sum = {b.re + d.re, b.im + d.im};
    const kws_complex bd_gap = {b.re - d.re, b.im - d.im};
    p[0].re = ac_sum.re + bd_sum.re;
    p[0].im = ac_sum.im + bd_sum.im;
    p[span].re = ac_gap.re + bd_gap.im;
    p[span].im = ac_gap.im - bd_gap.re;
    p[2 * span].re = ac_sum.re - bd_sum.re;
    p[2 * span].im = ac_sum.im - bd_sum.im;
    p[3 * span].re = ac_gap.re - bd_gap.im;
    p[3 * span].im = ac_gap.im + bd_gap.re;
}

static void complex_transform(kws_complex *data)
{
    kws_complex *const end = data + KWS_FFT_HALF;
    for (kws_complex *p = data; p != end; p += 4) {
        butterfly(p, 1, p[0], p[1], p[2], p[3]);
    }
    for (uint32_t span = 4; span < KWS_FFT_HALF; span *= 4) {
        const uint32_t step = KWS_FFT_SIZE / (4 * span); /* twiddles are those of the whole frame */
        for (uint32_t j = 0; j < span; j++) {
            const kws_complex w1 = kws_twiddles[j * step];
            const kws_complex w2 = kws_twiddles[2 * j * step];
            const kws_complex w3 = kws_twiddles[3 * j * step];
            for (kws_complex *p = data + j; p < end; p += 4 * span) {
                butterfly(p, span, p[0], times(p[span], w1), times(p[2 * span], w2),
                          times(p[3 * span], w3));
            }
        }
    }
}

void kws_power_spectrum(kws_complex *data, float *power)
{
    complex_transform(data);
    const float dc = data[0].re + data[0].im;
    power[0] = 4.0f * dc * dc;
    for (uint32_t k = 1; k <= KWS_FFT_HALF / 2; k++) {
        /* Even and odd samples were transformed together: part them, each twice as large. */
        const kws_complex a = data[k];
        const kws_complex b = data[KWS_FFT_HALF - k];
        const kws_complex even = {a.re + b.re, a.im - b.im};
        const kws_complex odd = {a.im + b.im, b.re - a.re};
        const kws_complex turned = times(odd, kws_twiddles[k]);
        const kws_complex low = {even.re + turned.re, even.im + turned.im};
        const kws_complex high = {even.re - turned.re, even.im - turned.im};
        power[k] = low.re * low.re + low.im * low.im;
        power[KWS_FFT_HALF - k] = high.re * high.re + high.im * high.im;
    }
}
