/* From posteriors to detections, as kws/decision.py does it. */
#ifndef KWS_DECISION_H
#define KWS_DECISION_H

#include "kws.h"
#include "model.h"

typedef struct {
    float recent[KWS_SMOOTHED_SCORES][KWS_KEYWORDS];
    int64_t recent_ends[KWS_SMOOTHED_SCORES];
    uint8_t next; /* where the next scores are put */
    uint8_t armed[KWS_KEYWORDS];
    int64_t last_end;
    int64_t deaf_until;
} kws_decision;

void kws_decision_reset(kws_decision *decision);

/* Take the posteriors[KWS_LABELS], in 1/256 above -128, of the samples from start to end of the stream; start is negative
 * where the window reaches back before the stream began. Whether a keyword was spoken, which is
 * then in *detection. */
int kws_decide(kws_decision *decision, const int8_t *posteriors, int64_t start, int64_t end,
               kws_detection *detection);

#endif
