/* All that a detector remembers, and the room in which it computes. */
#ifndef KWS_DETECTOR_H
#define KWS_DETECTOR_H

#include "decision.h"
#include "frontend.h"
#include "gate.h"
#include "network.h"

typedef struct {
    kws_network_scratch network;
    int8_t logits[KWS_LABEL_ROWS];
    int8_t posteriors[KWS_LABELS];
} kws_step_scratch;

struct kws_detector {
    uint32_t mark; /* tells memory that kws_init has prepared from any other */
    uint8_t rows;  /* of `features` that are filled */
    uint8_t detected;
    int8_t features[KWS_STEP_FEATURES]; /* the step that is being collected */
    kws_frontend frontend;
    kws_gate gate;
    kws_network network;
    kws_decision decision;
    kws_detection detection; /* the last one */
    union {
        kws_frontend_scratch frontend;
        kws_step_scratch step;
    } scratch;
};

#endif
