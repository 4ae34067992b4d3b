/* From posteriors to detections, as kws/decision.py does it, in integers. */
#ifndef KWS_DECISION_H
#define KWS_DECISION_H

#include "kws.h"
#include "model.h"

typedef struct {
    uint64_t rows; /* since the stream began */
    uint64_t refractory_until;
    int32_t sums[KWS_KEYWORDS]; /* of the rows in `smoothed` */
    int32_t speech;             /* the sum of the rows in `speech_rows` that lie in the context */
    uint16_t up[KWS_KEYWORDS];  /* how many rows up to now were not below kws_released */
    uint16_t low[KWS_KEYWORDS]; /* and how many were */
    uint8_t armed[KWS_KEYWORDS];
    uint8_t smoothed[KWS_SMOOTHED_ROWS][KWS_KEYWORDS];
    uint16_t speech_rows[KWS_CONTEXT_BEGIN]; /* of other speech */
    uint16_t smoothed_next; /* where the next row is put */
    uint16_t speech_next;
} kws_decision;

void kws_decision_reset(kws_decision *decision);

/* Take the next row, posteriors[KWS_LABELS] in 1/256 above -128. Whether a keyword was spoken,
 * which is then in *detection. */
int kws_decide(kws_decision *decision, const int8_t *posteriors, kws_detection *detection);

/* Let so many rows pass in which the gate was closed. */
void kws_decision_rest(kws_decision *decision, uint64_t rows);

#endif
