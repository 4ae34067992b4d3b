/* Lets the network rest in silence, and catches up on the audio just before it wakes. */
#ifndef KWS_GATE_H
#define KWS_GATE_H

#include <stdint.h>

#include "model.h"

#define KWS_STEP_FEATURES (KWS_STRIDE * KWS_BANDS)

typedef struct {
    int level;           /* mean |sample| of a hop above which there is sound; 0: always */
    uint32_t open_steps; /* how long the gate stays open without another sound */
    uint64_t steps;      /* steps put in since the start */
    uint16_t waiting;    /* the latest of them, which the network has not seen */
    uint16_t next;       /* where the next step is put */
    int8_t features[KWS_PREROLL_STEPS][KWS_STEP_FEATURES];
} kws_gate;

/* Forget all steps; the level stays. */
void kws_gate_reset(kws_gate *gate);

/* Note the samples of one hop. */
void kws_gate_update(kws_gate *gate, const int16_t *samples, uint32_t count);

/* Put in the features of one step; where too many wait, the oldest is dropped. */
void kws_gate_put(kws_gate *gate, const int8_t *features);

/* The oldest waiting step, or NULL where none waits or the gate is closed; *step is its number. */
const int8_t *kws_gate_get(kws_gate *gate, uint64_t *step);

#endif
