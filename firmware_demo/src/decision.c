/* A posterior is a whole number of 256ths, so sums of them are exact, and so is every comparison:
 * thresholds are generated in the same units. */
#include "decision.h"

#include <string.h>

void kws_decision_reset(kws_decision *decision)
{
    memset(decision, 0, sizeof *decision);
    memset(decision->armed, 1, sizeof decision->armed);
    memset(decision->levels, kws_silence_features[0] - INT8_MIN, sizeof decision->levels);
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
 * is not just detected; and the level. */
static void update_speech(kws_decision *decision, const int8_t *posteriors, int8_t loudest)
{
    int speech = KWS_UNKNOWN_WEIGHT * (posteriors[KWS_UNKNOWN] - INT8_MIN);
    for (uint32_t i = 0; i < KWS_KEYWORDS; i++) {
        speech += decision->armed[i] ? posteriors[kws_keyword_labels[i]] - INT8_MIN : 0;
    }
    decision->speech[decision->next] = (uint16_t)speech;
    decision->levels[decision->next] = (uint8_t)(loudest - INT8_MIN);
    decision->next = next_of(decision->next, KWS_HISTORY_ROWS);
}

/* Where the row lies that is so many rows older than the newest, less than KWS_HISTORY_ROWS. */
static uint32_t place_of(const kws_decision *decision, uint32_t age)
{
    return ((uint32_t)decision->next + KWS_HISTORY_ROWS - 1 - age) % KWS_HISTORY_ROWS;
}

/* The highest level of `count` rows, the newest of them `age` rows old. */
static int loudest_of(const kws_decision *decision, uint32_t age, uint32_t count)
{
    int loudest = 0;
    for (uint32_t i = age; i < age + count; i++) {
        const int level = decision->levels[place_of(decision, i)];
        loudest = level > loudest ? level : loudest;
    }
    return loudest;
}

/* Other speech in the context, each row by how loud it was against the word, times 65536. */
static int64_t context_speech(const kws_decision *decision)
{
    const int word = loudest_of(decision, 0, KWS_CONTEXT_END);
    int64_t speech = 0;
    for (uint32_t age = KWS_CONTEXT_END; age < KWS_CONTEXT_BEGIN; age++) {
        const int below = word - loudest_of(decision, age, KWS_LEVEL_ROWS);
        const int32_t weight = KWS_WEIGHT_AT_WORD - KWS_WEIGHT_STEP * (int32_t)below;
        const int64_t row = decision->speech[place_of(decision, age)];
        speech += row * (weight < 0 ? 0 : weight > 65536 ? 65536 : weight);
    }
    return speech;
}

/* From the row of age `first` on, the age of the first of KWS_RUN_ROWS newer and newer ones that lie
 * at most `most` below `loudest`, or, with `faint`, further below; -1 where there are none. */
static int run_of(const kws_decision *decision, int first, int loudest, int most, int faint)
{
    int run = 0;
    for (int age = first; age >= 0; age--) {
        const int below = loudest - decision->levels[place_of(decision, (uint32_t)age)];
        run = (below <= most) != faint ? run + 1 : 0;
        if (run == KWS_RUN_ROWS) {
            return age + KWS_RUN_ROWS - 1;
        }
    }
    return -1;
}

/* Arm the keywords of a word that was said once more while its posterior stayed up: by the levels it
 * ended at least KWS_HELD_ROWS ago, and another began. */
static void arm_repeated(kws_decision *decision)
{
    const uint64_t since = decision->rows - decision->onset;
    const int first = (int)(since < KWS_HISTORY_ROWS ? since : KWS_HISTORY_ROWS) - 1;
    if (KWS_HELD_ROWS == 0 || first + 1 < KWS_HELD_ROWS) {
        return;
    }
    const int loudest = loudest_of(decision, 0, (uint32_t)first + 1);
    const int word = run_of(decision, first, loudest, KWS_ONSET_LEVEL, 0);
    int pause = run_of(decision, word, loudest, KWS_PAUSE_LEVEL, 1);
    int onset = run_of(decision, pause, loudest, KWS_ONSET_LEVEL, 0);
    while (onset >= 0 && word - onset < KWS_APART_ROWS) { /* it is part of the same word */
        pause = run_of(decision, onset, loudest, KWS_PAUSE_LEVEL, 1);
        onset = run_of(decision, pause, loudest, KWS_ONSET_LEVEL, 0);
    }
    if (pause + 1 < KWS_HELD_ROWS || onset < KWS_RISE_ROWS) {
        return;
    }
    for (uint32_t i = 0; i < KWS_KEYWORDS; i++) {
        if (!decision->armed[i]) {
            decision->armed[i] = 1;
            decision->up[i] = (uint16_t)(onset + 1 - KWS_RISE_ROWS);
        }
    }
}

/* The keyword with the largest sum of those that were spoken, or -1. */
static int spoken_keyword(const kws_decision *decision)
{
    int best = -1;
    int64_t speech = -1;
    for (int i = 0; i < KWS_KEYWORDS; i++) {
        const int64_t sum = decision->sums[i] * (INT64_C(1) << 32);
        if (!decision->armed[i] || decision->up[i] == 0 || decision->up[i] > KWS_LONGEST_ROWS ||
            sum < kws_thresholds[i] || (best >= 0 && decision->sums[i] <= decision->sums[best])) {
            continue;
        }
        if (speech < 0) { /* as rarely as that it is needed */
            speech = context_speech(decision);
        }
        if (sum >= kws_thresholds[i] + kws_isolation[i] * speech / 65536) {
            best = i;
        }
    }
    return best;
}

int8_t kws_loudest(const int8_t *features)
{
    int8_t loudest = features[0];
    for (uint32_t i = 1; i < KWS_STRIDE * KWS_BANDS; i++) {
        loudest = features[i] > loudest ? features[i] : loudest;
    }
    return loudest;
}

int kws_decide(kws_decision *decision, const int8_t *posteriors, int8_t loudest,
               kws_detection *detection)
{
    update_speech(decision, posteriors, loudest);
    decision->rows++;
    int armed = 1;
    for (uint32_t i = 0; i < KWS_KEYWORDS; i++) {
        update_score(decision, i, (uint8_t)(posteriors[kws_keyword_labels[i]] - INT8_MIN));
        armed &= decision->armed[i];
    }
    decision->smoothed_next = next_of(decision->smoothed_next, KWS_SMOOTHED_ROWS);
    if (!armed) {
        arm_repeated(decision);
    }
    if (decision->rows <= decision->refractory_until) {
        return 0;
    }
    const int best = spoken_keyword(decision);
    if (best < 0) {
        return 0;
    }
    const uint64_t step = KWS_STRIDE * KWS_HOP;
    const uint64_t before = decision->rows - decision->up[best];
    const uint64_t risen = before * step;
    decision->armed[best] = 0;
    decision->onset = before > KWS_RISE_ROWS ? before - KWS_RISE_ROWS : 0;
    memset(decision->speech, 0, sizeof decision->speech); /* all of it so far has led to this */
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
        kws_decide(decision, silence, kws_silence_features[0], &none);
    }
}
