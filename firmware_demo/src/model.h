/* What is generated from a trained model: sizes in kws_sizes.h, the tables declared here in
 * model.c. */
#ifndef KWS_MODEL_H
#define KWS_MODEL_H

#include "kws_sizes.h"
#include "layers.h"

/* A complex number. */
typedef struct {
    float re, im;
} kws_complex;

/* What a bin of the spectrum counts in the two mel bands that see it. */
typedef struct {
    float rising, falling;
} kws_mel_weight;

/* The front end. */
extern const float kws_window[KWS_WINDOW];        /* scales samples to [-0.5, 0.5) as well */
extern const uint16_t kws_fft_places[KWS_FFT_SIZE / 2]; /* digit reversal in base 4 */
extern const kws_complex kws_twiddles[3 * KWS_FFT_SIZE / 4]; /* exp(-2 pi i k / KWS_FFT_SIZE) */
extern const uint16_t kws_mel_bins[KWS_BANDS + 1]; /* how many bins lie between two edges */
extern const kws_mel_weight kws_mel_weights[KWS_MEL_BINS];
extern const float kws_energy_steps[255]; /* where the quantised feature becomes one more */

/* One residual block. */
typedef struct {
    kws_depthwise depthwise;
    kws_dense pointwise;
    kws_sum sum;           /* of the block's input and the pointwise output */
    const int8_t *silence; /* the row of channels that comes in while all is silent */
} kws_block;

/* The network. */
extern const int8_t kws_silence_features[KWS_BANDS];
extern const int8_t kws_silence_pool[KWS_CHANNELS];
extern const kws_dense kws_stem;
extern const kws_block kws_blocks[KWS_BLOCKS];
extern const kws_dense kws_classifier;

/* The decision. Posteriors are whole 256ths; sums of them over the smoothed rows are compared with
 * kws_thresholds + kws_isolation * the sum of the context's other speech, both times 2^32. */
extern const char *const kws_labels[KWS_LABELS];
extern const uint8_t kws_keyword_labels[KWS_KEYWORDS]; /* index of each keyword's label */
extern const uint16_t kws_released[KWS_KEYWORDS];      /* below it a keyword's posterior is low */
extern const int64_t kws_thresholds[KWS_KEYWORDS];
extern const int64_t kws_isolation[KWS_KEYWORDS];

#endif
