/* From posteriors and levels to detections, as kws/decision.py does it, in integers. */
#ifndef KWS_DECISION_H
#define KWS_DECISION_H

#include "kws.h"
#include "model.h"

typedef struct {
    uint64_t rows; /* since the stream began */
    uint64_t refractory_until;
    uint64_t onset;             /* rows before the word that was detected last */
    int32_t sums[KWS_KEYWORDS]; /* of the rows in `smoothed` */
    uint16_t up[KWS_KEYWORDS];  /* how many rows up to now were not below kws_released */
    uint16_t low[KWS_KEYWORDS]; /* and how many were */
    uint8_t armed[KWS_KEYWORDS];
    uint8_t smoothed[KWS_SMOOTHED_ROWS][KWS_KEYWORDS];
    uint16_t speech[KWS_HISTORY_ROWS]; /* of each row, other speech */
    uint8_t levels[KWS_HISTORY_ROWS];  /* and its loudest feature, above -128 */
    uint16_t smoothed_next;            /* where the next row is put */
    uint16_t next;                     /* in `speech` and `levels` */
} kws_decision;

void kws_decision_reset(kws_decision *decision);

/* The loudest of the features[KWS_STEP_FEATURES] of one step. */
int8_t kws_loudest(const int8_t *features);

/* Take the next row, posteriors[KWS_LABELS] in 1/256 above -128, and `loudest`, of the step's
 * features. Whether a keyword was spoken, which is then in *detection. */
int kws_decide(kws_decision *decision, const int8_t *posteriors, int8_t loudest,
               kws_detection *detection);

/* Let so many rows pass in which the gate was closed. */
void kws_decision_rest(kws_decision *decision, uint64_t rows);

#endif
