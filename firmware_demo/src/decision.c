/* A posterior is a whole number of 256ths, so sums of them are exact, and so is every comparison:
 * thresholds are generated in the same units. */
#include "decision.h"

#include <string.h>

void kws_decision_reset(kws_decision *decision)
{
    memset(decision, 0, sizeof *decision);
    memset(decision->armed, 1, sizeof decision->armed);
}

static void count_up_to(uint16_t *run, int goes_on)
{
    *run = (uint16_t)(!goes_on ? 0 : *run < UINT16_MAX ? *run + 1 : UINT16_MAX);
}

static uint16_t next_of(uint32_t place, uint32_t size)
{
    return (uint16_t)(place + 1 == size ? 0 : place + 1);
}

/* Put one keyword's posterior, in 256ths, into its sum and its runs. */
static void update_score(kws_decision *decision, uint32_t keyword, uint8_t posterior)
{
    uint8_t *const oldest = &decision->smoothed[decision->smoothed_next][keyword];
    decision->sums[keyword] += posterior - *oldest;
    *oldest = posterior;
    const int up = posterior >= kws_released[keyword];
    count_up_to(&decision->up[keyword], up);
    count_up_to(&decision->low[keyword], !up);
    if (decision->low[keyword] >= KWS_REARM_ROWS) {
        decision->armed[keyword] = 1;
    }
}

/* Of other speech, KWS_UNKNOWN_WEIGHT for each 256th of unknown and one for each of a keyword that
 * is not just detected; what is newer than the context waits in the ring. */
static void update_speech(kws_decision *decision, const int8_t *posteriors)
{
    int speech = KWS_UNKNOWN_WEIGHT * (posteriors[KWS_UNKNOWN] - INT8_MIN);
    for (uint32_t i = 0; i < KWS_KEYWORDS; i++) {
        speech += decision->armed[i] ? posteriors[kws_keyword_labels[i]] - INT8_MIN : 0;
    }
    uint16_t *const ring = decision->speech_rows;
    const uint32_t oldest = decision->speech_next;
    const uint32_t entering =
        (oldest + KWS_CONTEXT_BEGIN - KWS_CONTEXT_END) % KWS_CONTEXT_BEGIN;
    /* A row enters the context as KWS_CONTEXT_END newer ones follow it: this one may be the last. */
    decision->speech -= ring[oldest];
    ring[oldest] = (uint16_t)speech;
    decision->speech += ring[entering];
    decision->speech_next = next_of(oldest, KWS_CONTEXT_BEGIN);
}

/* The keyword with the largest sum of those that were spoken, or -1. */
static int spoken_keyword(const kws_decision *decision)
{
    int best = -1;
    for (int i = 0; i < KWS_KEYWORDS; i++) {
        const int64_t sum = decision->sums[i];
        const int64_t needed = kws_thresholds[i] + kws_isolation[i] * decision->speech;
        if (decision->armed[i] && decision->up[i] > 0 && decision->up[i] <= KWS_LONGEST_ROWS &&
            sum * (INT64_C(1) << 32) >= needed && (best < 0 || sum > decision->sums[best])) {
            best = i;
        }
    }
    return best;
}

int kws_decide(kws_decision *decision, const int8_t *posteriors, kws_detection *detection)
{
    update_speech(decision, posteriors);
    for (uint32_t i = 0; i < KWS_KEYWORDS; i++) {
        update_score(decision, i, (uint8_t)(posteriors[kws_keyword_labels[i]] - INT8_MIN));
    }
    decision->smoothed_next = next_of(decision->smoothed_next, KWS_SMOOTHED_ROWS);
    decision->rows++;
    if (decision->rows <= decision->refractory_until) {
        return 0;
    }
    const int best = spoken_keyword(decision);
    if (best < 0) {
        return 0;
    }
    const uint64_t step = KWS_STRIDE * KWS_HOP;
    const uint64_t risen = (decision->rows - decision->up[best]) * step;
    decision->armed[best] = 0;
    decision->speech = 0; /* all of it so far has led to this */
    memset(decision->speech_rows, 0, sizeof decision->speech_rows);
    decision->refractory_until = decision->rows - 1 + KWS_REFRACTORY_ROWS;
    detection->label = kws_keyword_labels[best];
    detection->keyword = kws_labels[detection->label];
    detection->score = (float)decision->sums[best] / (float)(256 * KWS_SMOOTHED_ROWS);
    detection->start = risen > KWS_LONGEST_WORD ? risen - KWS_LONGEST_WORD : 0;
    detection->end = decision->rows * step;
    return 1;
}

void kws_decision_rest(kws_decision *decision, uint64_t rows)
{
    int8_t silence[KWS_LABELS];
    kws_detection none;
    uint64_t told = rows < KWS_HISTORY_ROWS ? rows : KWS_HISTORY_ROWS;
    decision->rows += rows - told;
    memset(silence, INT8_MIN, sizeof silence);
    for (; told > 0; told--) {
        kws_decide(decision, silence, &none);
    }
}
