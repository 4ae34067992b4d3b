/* The alternative that src/fft.c was chosen over: the same transform in 32-bit fixed point. */
#ifndef FIXED_SPECTRUM_H
#define FIXED_SPECTRUM_H

#include "fft.h"

typedef struct {
    int32_t re, im;
} fixed_complex;

/* Fill the table of twiddles, which would be generated if this were in use. */
void fixed_start(void);

#define FIXED_SCALE 4096.0f /* kws_power_spectrum gives so many times as much */

/* As kws_power_spectrum, of samples up to 2^26; power[0] is left out. */
void fixed_power_spectrum(fixed_complex *data, uint64_t *power);

#endif
