#include "decision.h"

#include <string.h>

void kws_decision_reset(kws_decision *decision)
{
    memset(decision, 0, sizeof *decision);
    memset(decision->armed, 1, sizeof decision->armed);
    for (uint32_t i = 0; i < KWS_SMOOTHED_SCORES; i++) {
        decision->recent_ends[i] = INT64_MIN / 2;
    }
}

/* The mean of a keyword's scores over the smoothing time; what was not scored counts as zero. */
static float smoothed(const kws_decision *decision, uint32_t keyword, int64_t end)
{
    float sum = 0.0f;
    for (uint32_t i = 0; i < KWS_SMOOTHED_SCORES; i++) {
        const uint32_t oldest_first = (decision->next + i) % KWS_SMOOTHED_SCORES;
        if (decision->recent_ends[oldest_first] > end - KWS_SMOOTHING) {
            sum += decision->recent[oldest_first][keyword];
        }
    }
    return sum / (float)KWS_SMOOTHED_SCORES;
}

int kws_decide(kws_decision *decision, const int8_t *posteriors, int64_t start, int64_t end,
               kws_detection *detection)
{
    if (start >= decision->last_end) { /* no audio in common with what was scored last */
        memset(decision->armed, 1, sizeof decision->armed);
    }
    decision->last_end = end;
    for (uint32_t i = 0; i < KWS_KEYWORDS; i++) {
        const int32_t stored = posteriors[kws_keyword_labels[i]];
        decision->recent[decision->next][i] = (float)(stored - INT8_MIN) / 256.0f;
    }
    decision->recent_ends[decision->next] = end;
    decision->next = (uint8_t)((decision->next + 1) % KWS_SMOOTHED_SCORES);

    int best = -1;
    float best_score = -1.0f;
    for (uint32_t i = 0; i < KWS_KEYWORDS; i++) {
        const float score = smoothed(decision, i, end);
        if (decision->armed[i] && score >= kws_thresholds[i]) {
            decision->armed[i] = 0;
            if (score > best_score) {
                best = (int)i;
                best_score = score;
            }
        }
        if (score < kws_releases[i]) {
            decision->armed[i] = 1;
        }
    }
    if (best < 0 || end < decision->deaf_until) {
        return 0;
    }
    decision->deaf_until = end + KWS_REFRACTORY;
    detection->label = kws_keyword_labels[best];
    detection->keyword = kws_labels[detection->label];
    detection->score = best_score;
    detection->start = (uint64_t)(start > 0 ? start : 0);
    detection->end = (uint64_t)end;
    return 1;
}
