/* Hann window, power spectrum, mel filters and logarithm as kws/frontend.py defines them. */
#include "frontend.h"

#include <string.h>

void kws_frontend_reset(kws_frontend *frontend)
{
    memset(frontend, 0, sizeof *frontend);
}

uint32_t kws_frontend_take(kws_frontend *frontend, const int16_t *samples, uint32_t count)
{
    const uint32_t room = (uint32_t)KWS_WINDOW - frontend->filled;
    const uint32_t taken = count < room ? count : room;
    memcpy(frontend->samples + frontend->filled, samples, taken * sizeof *samples);
    frontend->filled = (uint16_t)(frontend->filled + taken);
    return taken;
}

int kws_frontend_ready(const kws_frontend *frontend)
{
    return frontend->filled == KWS_WINDOW;
}

/* Samples times window, pairs in the order that the transform wants, zeros behind them. */
static void place_frame(const int16_t *samples, kws_complex *spectrum)
{
    for (uint32_t n = 0; n < KWS_WINDOW / 2; n++) {
        kws_complex *const pair = spectrum + kws_fft_places[n];
        pair->re = (float)samples[2 * n] * kws_window[2 * n];
        pair->im = (float)samples[2 * n + 1] * kws_window[2 * n + 1];
    }
    for (uint32_t n = KWS_WINDOW / 2; n < KWS_FFT_HALF; n++) {
        kws_complex *const pair = spectrum + kws_fft_places[n];
        pair->re = 0.0f;
        pair->im = 0.0f;
    }
}

/* ln(1 + energy / floor) in units of the network's input scale. The logarithm is a search among the
 * 255 energies at which the rounded result steps up: no function to approximate, no error. */
static int8_t quantised_log(float energy)
{
    const float *base = kws_energy_steps;
    for (uint32_t span = 128; span > 0; span /= 2) {
        base += energy >= base[span - 1] ? span : 0;
    }
    return (int8_t)(base - kws_energy_steps - 128);
}

void kws_frontend_make(kws_frontend *frontend, kws_frontend_scratch *scratch, int8_t *features)
{
    place_frame(frontend->samples, scratch->spectrum);
    frontend->filled = KWS_WINDOW - KWS_HOP;
    memmove(frontend->samples, frontend->samples + KWS_HOP,
            frontend->filled * sizeof *frontend->samples);
    kws_power_spectrum(scratch->spectrum, scratch->power);

    /* Between two neighbouring edges a bin counts in two bands: rising in one, falling in the one
     * below it. */
    const kws_mel_weight *weight = kws_mel_weights;
    const float *power = scratch->power + KWS_FIRST_BIN;
    float below = 0.0f;
    for (uint32_t gap = 0; gap <= KWS_BANDS; gap++) {
        float rising = 0.0f;
        float falling = 0.0f;
        for (uint32_t bins = kws_mel_bins[gap]; bins > 0; bins--) {
            rising += *power * weight->rising;
            falling += *power * weight->falling;
            power++;
            weight++;
        }
        if (gap > 0) {
            features[gap - 1] = quantised_log(below + falling);
        }
        below = rising;
    }
}
