/* Samples to quantised log-mel features, one hop at a time. */
#ifndef KWS_FRONTEND_H
#define KWS_FRONTEND_H

#include "fft.h"

typedef struct {
    int16_t samples[KWS_WINDOW]; /* the frame being filled */
    uint16_t filled;
} kws_frontend;

typedef struct {
    kws_complex spectrum[KWS_FFT_HALF];
    float power[KWS_FFT_HALF];
} kws_frontend_scratch;

void kws_frontend_reset(kws_frontend *frontend);

/* Take up to count samples, stopping where a frame is complete; how many were taken. */
uint32_t kws_frontend_take(kws_frontend *frontend, const int16_t *samples, uint32_t count);

/* Whether a frame is complete; then kws_frontend_make must come before the next samples. */
int kws_frontend_ready(const kws_frontend *frontend);

/* The features of the complete frame -> features[KWS_BANDS]; keeps the overlap. */
void kws_frontend_make(kws_frontend *frontend, kws_frontend_scratch *scratch, int8_t *features);

#endif
