/* Spectrum of one frame of real samples. */
#ifndef KWS_FFT_H
#define KWS_FFT_H

#include "model.h"

#define KWS_FFT_HALF (KWS_FFT_SIZE / 2)

/* Four times |X[k]|^2 of KWS_FFT_SIZE real samples -> power[KWS_FFT_HALF]. The pair of samples
 * (2 n, 2 n + 1) stands at data[kws_fft_places[n]]; data is overwritten. */
void kws_power_spectrum(kws_complex *data, float *power);

#endif
