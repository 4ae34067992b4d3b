/* The whole: golden audio to golden detections, at any block size; and misuse. */
#include <string.h>

#include "check.h"
#include "detector.h"

#define MOST 64

typedef struct {
    int32_t label, score, start, end;
} event;

static uint64_t memory[KWS_MEMORY_BYTES / 8];
static event expected[MOST];
static size_t expected_count;

/* Process the golden audio in blocks of this many samples; the events -> found. How many. */
static size_t process(kws_detector *detector, size_t block, event *found)
{
    static int16_t samples[1000];
    const int audio = golden_open("audio.bin");
    size_t events = 0, bytes;
    while ((bytes = golden_read(audio, samples, block * sizeof *samples)) > 0) {
        size_t count = bytes / sizeof *samples, used;
        for (const int16_t *rest = samples; count > 0; rest += used, count -= used) {
            const kws_status status = kws_process(detector, rest, count, &used);
            check(status >= 0, "status", status);
            check(used <= count && (used == count || status == KWS_DETECTED), "used", (long)used);
            kws_detection detection;
            if (status == KWS_DETECTED && events < MOST) {
                check(kws_result(detector, &detection) == KWS_OK, "result", 0);
                const event seen = {detection.label, (int32_t)(detection.score * 65536.0f),
                                    (int32_t)detection.start, (int32_t)detection.end};
                found[events++] = seen;
            }
        }
    }
    return events;
}

/* Features may differ by a step from Python's, so scores may differ a little and times by a hop. */
static void test_events(kws_detector *detector, size_t block)
{
    event found[MOST];
    const size_t count = process(detector, block, found);
    check(count == expected_count, "number of detections", (long)count);
    for (size_t i = 0; i < count && i < expected_count; i++) {
        const int32_t late = found[i].end - expected[i].end;
        const int32_t hop = KWS_STRIDE * KWS_HOP;
        check(found[i].label == expected[i].label, "label", (long)i);
        check(late <= hop && -late <= hop, "end", late);
    }
}

/* The golden audio, digital silence, and the golden audio once more. */
static size_t process_twice(kws_detector *detector, int gate, event *found)
{
    static const int16_t silence[KWS_SAMPLE_RATE];
    size_t used;
    check(kws_reset(detector) == KWS_OK && kws_set_gate(detector, gate) == KWS_OK, "gate", gate);
    const size_t count = process(detector, 160, found);
    for (int second = 0; second < 3; second++) {
        check(kws_process(detector, silence, KWS_SAMPLE_RATE, &used) == KWS_OK, "silence", second);
    }
    const int rests = detector->gate.waiting == KWS_PREROLL_STEPS;
    check(rests == (gate > 0), "the network rests in silence with the gate only", gate);
    return count + process(detector, 160, found + count);
}

/* The network rests through the silence and loses nothing by it. */
static void test_gate(kws_detector *detector)
{
    static event always[2 * MOST], gated[2 * MOST];
    const size_t count = process_twice(detector, 0, always);
    check(process_twice(detector, 5, gated) == count, "detections with the gate", (long)count);
    for (size_t i = 0; i < count; i++) {
        const int32_t late = gated[i].end - always[i].end, hop = KWS_STRIDE * KWS_HOP;
        check(gated[i].label == always[i].label, "label with the gate", (long)i);
        check(late <= hop && -late <= hop, "end with the gate", late);
    }
}

static void test_misuse(void)
{
    static uint64_t other[KWS_MEMORY_BYTES / 8];
    kws_detector *detector, *const never = (kws_detector *)(void *)other;
    kws_detection detection;
    int16_t sample = 0;
    size_t used = 7;
    check(kws_init(NULL, sizeof memory, &detector) == KWS_NULL, "no memory", 0);
    check(kws_init(memory, sizeof memory, NULL) == KWS_NULL, "no handle", 0);
    check(kws_init(memory, sizeof memory - 1, &detector) == KWS_TOO_SMALL, "small", 0);
    check(detector == NULL, "no detector without memory", 0);
    check(kws_init((char *)memory + 4, sizeof memory, &detector) == KWS_MISALIGNED, "align", 0);

    check(kws_process(never, &sample, 1, &used) == KWS_NOT_INITIALISED, "process first", 0);
    check(used == 0, "nothing used", (long)used);
    check(kws_reset(never) == KWS_NOT_INITIALISED, "reset first", 0);
    check(kws_result(never, &detection) == KWS_NOT_INITIALISED, "result first", 0);
    check(kws_set_gate(never, 1) == KWS_NOT_INITIALISED, "gate first", 0);
    check(kws_process(NULL, &sample, 1, &used) == KWS_NULL, "no detector", 0);
    check(kws_reset(NULL) == KWS_NULL, "no detector", 1);
    check(kws_result(NULL, &detection) == KWS_NULL, "no detector", 2);
    check(kws_set_gate(NULL, 1) == KWS_NULL, "no detector", 3);

    check(kws_init(memory, sizeof memory, &detector) == KWS_OK, "init", 0);
    check(kws_process(detector, NULL, 1, &used) == KWS_NULL, "no samples", 0);
    check(kws_process(detector, &sample, 1, NULL) == KWS_NULL, "no used", 0);
    check(kws_process(detector, NULL, 0, &used) == KWS_OK && used == 0, "zero samples", 0);
    check(kws_result(detector, &detection) == KWS_NO_RESULT, "no result yet", 0);
    check(kws_result(detector, NULL) == KWS_NULL, "no room for a result", 0);
    check(kws_set_gate(detector, -1) == KWS_OUT_OF_RANGE, "gate", -1);
    check(kws_set_gate(detector, 32768) == KWS_OUT_OF_RANGE, "gate", 32768);
    memset(memory, 0, 8);
    check(kws_process(detector, &sample, 1, &used) == KWS_NOT_INITIALISED, "overwritten", 0);
}

int main(void)
{
    static const size_t blocks[] = {160, 1, 37, 320, 1000};
    kws_detector *detector;
    expected_count = golden_load("detections.bin", expected, sizeof expected, sizeof *expected);
    test_misuse();
    check(kws_init(memory, sizeof memory, &detector) == KWS_OK, "init", 1);
    for (size_t i = 0; i < sizeof blocks / sizeof *blocks; i++) {
        check(kws_reset(detector) == KWS_OK, "reset", (long)i);
        test_events(detector, blocks[i]);
    }
    test_gate(detector);
    report("detections", (long)expected_count);
    return finish("detector");
}
