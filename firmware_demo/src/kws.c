/* Wires the stages: samples -> features -> gate -> network -> decision. */
#include "kws.h"

#include <string.h>

#include "detector.h"
#include "softmax.h"

#define MARK 0x4B575321u

/* At most so many steps are computed at once when the gate opens, so that catching up on what was
 * catch-up does not hold up the audio: the work of a step is a fraction of its 20 ms. */
#define STEPS_AT_ONCE 3

/* A compile-time check that the generated size holds. */
typedef char kws_memory_suffices[sizeof(struct kws_detector) <= KWS_MEMORY_BYTES ? 1 : -1];

static kws_status check(const kws_detector *detector)
{
    if (detector == NULL) {
        return KWS_NULL;
    }
    if ((uintptr_t)detector % 8 != 0) {
        return KWS_MISALIGNED;
    }
    return detector->mark == MARK ? KWS_OK : KWS_NOT_INITIALISED;
}

/* Where the features of the next frame go. */
static int8_t *next_row(kws_detector *detector)
{
    return detector->features + detector->rows * KWS_BANDS;
}

/* Count the row that was put there; whether it made a step complete, which the gate then has. */
static int row_completes_step(kws_detector *detector)
{
    if (++detector->rows < KWS_STRIDE) {
        return 0;
    }
    detector->rows = 0;
    kws_gate_put(&detector->gate, detector->features);
    return 1;
}

kws_status kws_init(void *memory, size_t bytes, kws_detector **detector)
{
    if (detector == NULL) {
        return KWS_NULL;
    }
    *detector = NULL;
    if (memory == NULL) {
        return KWS_NULL;
    }
    if (bytes < KWS_MEMORY_BYTES) {
        return KWS_TOO_SMALL;
    }
    if ((uintptr_t)memory % 8 != 0) {
        return KWS_MISALIGNED;
    }
    *detector = memory;
    (*detector)->mark = MARK;
    (*detector)->gate.level = 0;
    return kws_reset(*detector);
}

kws_status kws_reset(kws_detector *detector)
{
    const kws_status status = check(detector);
    if (status != KWS_OK) {
        return status;
    }
    detector->rows = 0;
    detector->detected = 0;
    kws_frontend_reset(&detector->frontend);
    kws_gate_reset(&detector->gate);
    kws_network_reset(&detector->network);
    kws_decision_reset(&detector->decision);
    for (int i = 0; i < KWS_LEAD_FRAMES; i++) { /* those that would end before the first one does */
        memcpy(next_row(detector), kws_silence_features, KWS_BANDS);
        row_completes_step(detector);
    }
    return KWS_OK;
}

kws_status kws_set_gate(kws_detector *detector, int level)
{
    const kws_status status = check(detector);
    if (status != KWS_OK) {
        return status;
    }
    if (level < 0 || level > INT16_MAX) {
        return KWS_OUT_OF_RANGE;
    }
    detector->gate.level = level;
    return KWS_OK;
}

/* Run the network on one step; whether a keyword was spotted. */
static int run_step(kws_detector *detector, const int8_t *features, uint64_t step)
{
    kws_step_scratch *const scratch = &detector->scratch.step;
    const uint64_t rested = step - detector->decision.rows;
    if (rested > 0) { /* the gate was closed: what came before it is no context */
        kws_network_reset(&detector->network);
        kws_decision_rest(&detector->decision, rested);
    }
    kws_network_step(&detector->network, &scratch->network, features, scratch->logits);
    kws_softmax(scratch->logits, scratch->posteriors);
    return kws_decide(&detector->decision, scratch->posteriors, kws_loudest(features),
                      &detector->detection);
}

/* Process the complete frame; whether a keyword was spotted. */
static int run_frame(kws_detector *detector)
{
    const int16_t *const newest = detector->frontend.samples + KWS_WINDOW - KWS_HOP;
    kws_gate_update(&detector->gate, newest, KWS_HOP);
    kws_frontend_make(&detector->frontend, &detector->scratch.frontend, next_row(detector));
    if (!row_completes_step(detector)) {
        return 0;
    }
    for (int i = 0; i < STEPS_AT_ONCE; i++) {
        uint64_t step;
        const int8_t *const features = kws_gate_get(&detector->gate, &step);
        if (features == NULL) {
            break;
        }
        if (run_step(detector, features, step)) {
            return 1;
        }
    }
    return 0;
}

kws_status kws_process(kws_detector *detector, const int16_t *samples, size_t count, size_t *used)
{
    if (used == NULL) {
        return KWS_NULL;
    }
    *used = 0;
    const kws_status status = check(detector);
    if (status != KWS_OK) {
        return status;
    }
    if (samples == NULL && count > 0) {
        return KWS_NULL;
    }
    while (*used < count) {
        const size_t rest = count - *used;
        const uint32_t offered = rest < KWS_WINDOW ? (uint32_t)rest : KWS_WINDOW;
        *used += kws_frontend_take(&detector->frontend, samples + *used, offered);
        if (kws_frontend_ready(&detector->frontend) && run_frame(detector)) {
            detector->detected = 1;
            return KWS_DETECTED;
        }
    }
    return KWS_OK;
}

kws_status kws_result(const kws_detector *detector, kws_detection *detection)
{
    const kws_status status = check(detector);
    if (status != KWS_OK) {
        return status;
    }
    if (detection == NULL) {
        return KWS_NULL;
    }
    if (!detector->detected) {
        return KWS_NO_RESULT;
    }
    *detection = detector->detection;
    return KWS_OK;
}
