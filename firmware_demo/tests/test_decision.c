/* Detections from random scores: the same words at the same times as Python's. */
#include <stdlib.h>

#include "check.h"
#include "decision.h"

static kws_decision decision;

int main(void)
{
    const int scores = golden_open("scores.bin"), decided = golden_open("decided.bin");
    int32_t row[2 + KWS_LABELS], expected[4];
    long rows = 0, detections = 0;
    kws_decision_reset(&decision);
    for (; golden_read(scores, row, sizeof row) == sizeof row; rows++) {
        int8_t posteriors[KWS_LABELS];
        for (int i = 0; i < KWS_LABELS; i++) {
            posteriors[i] = (int8_t)row[1 + i];
        }
        kws_decision_rest(&decision, (uint64_t)row[0]);
        kws_detection detection;
        if (!kws_decide(&decision, posteriors, (int8_t)row[1 + KWS_LABELS], &detection)) {
            continue;
        }
        detections++;
        check(golden_read(decided, expected, sizeof expected) == sizeof expected, "extra", rows);
        check(detection.label == expected[0], "label", rows);
        check(labs((long)(detection.score * 65536.0f) - expected[1]) <= 1, "score", rows);
        check((int32_t)detection.start == expected[2], "start", rows);
        check((int32_t)detection.end == expected[3], "end", rows);
    }
    check(golden_read(decided, expected, 1) == 0, "missing detection", rows);
    report("scores", rows);
    report("detections", detections);
    return finish("decision");
}
