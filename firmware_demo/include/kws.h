/* Keyword spotting: 16 kHz samples in, detected words out.
 *
 *     static uint64_t memory[KWS_MEMORY_BYTES / 8];
 *     kws_detector *detector;
 *     kws_init(memory, sizeof memory, &detector);
 *     while (...) {
 *         size_t used;
 *         kws_status status = kws_process(detector, samples, count, &used);
 *         if (status == KWS_DETECTED) { kws_result(detector, &detection); ... }
 *         samples += used; count -= used;
 *     }
 *
 * No heap, no recursion, no double arithmetic, no input or output. All memory is the caller's, so
 * there can be several detectors; one of them must not be used from two contexts at once.
 */
#ifndef KWS_H
#define KWS_H

#include <stddef.h>
#include <stdint.h>

#include "kws_sizes.h" /* KWS_SAMPLE_RATE, KWS_HOP, KWS_STRIDE, KWS_LABELS, KWS_MEMORY_BYTES */

typedef struct kws_detector kws_detector;

typedef enum {
    KWS_OK = 0,
    KWS_DETECTED = 1,         /* a word was spotted; kws_result tells which */
    KWS_NULL = -1,            /* a pointer is NULL */
    KWS_TOO_SMALL = -2,       /* the memory is smaller than KWS_MEMORY_BYTES */
    KWS_MISALIGNED = -3,      /* the memory is not aligned to 8 bytes */
    KWS_NOT_INITIALISED = -4, /* kws_init did not succeed on this memory, or it was overwritten */
    KWS_NO_RESULT = -5,       /* nothing was detected since kws_init or kws_reset */
    KWS_OUT_OF_RANGE = -6     /* a number is outside its documented range */
} kws_status;

/* One spotted word. Times count samples since kws_init or kws_reset. */
typedef struct {
    const char *keyword;
    uint8_t label;  /* its index among the model's labels */
    float score;    /* smoothed posterior, in [0, 1] */
    uint64_t start; /* about where the word began */
    uint64_t end;   /* the last sample that the decision is based on */
} kws_detection;

/* Make a detector in memory of at least KWS_MEMORY_BYTES, aligned to 8. Everything is as after a
 * long silence. KWS_OK, or KWS_NULL, KWS_TOO_SMALL or KWS_MISALIGNED and *detector is NULL. */
kws_status kws_init(void *memory, size_t bytes, kws_detector **detector);

/* Process `count` mono samples of KWS_SAMPLE_RATE, full scale +-32768; 0 changes nothing.
 * Stops early after a detection: *used is how many samples were taken, go on with the rest.
 * KWS_OK (all were taken), KWS_DETECTED, KWS_NULL or KWS_NOT_INITIALISED (none were). */
kws_status kws_process(kws_detector *detector, const int16_t *samples, size_t count, size_t *used);

/* The last detection. KWS_OK, KWS_NULL, KWS_NOT_INITIALISED or KWS_NO_RESULT. */
kws_status kws_result(const kws_detector *detector, kws_detection *detection);

/* Forget all audio so far, as after kws_init; the gate stays as it is set.
 * KWS_OK, KWS_NULL or KWS_NOT_INITIALISED. */
kws_status kws_reset(kws_detector *detector);

/* Let the network rest while no hop of 10 ms is louder than `level`, the mean of |sample| in
 * [0, 32767]; 0, as after kws_init, never lets it rest.
 * KWS_OK, KWS_NULL, KWS_NOT_INITIALISED or KWS_OUT_OF_RANGE. */
kws_status kws_set_gate(kws_detector *detector, int level);

#endif
