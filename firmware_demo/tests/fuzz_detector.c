/* Entry of libFuzzer: any bytes as calls of the public functions, with any samples, under the
 * sanitisers. What the header promises of each call is held; a breach stops the program. */
#include <stdlib.h>
#include <string.h>

#include "kws.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint64_t memory[KWS_MEMORY_BYTES / 8 + 1];
static int16_t block[4096];

static void hold(int promise)
{
    if (!promise) {
        abort();
    }
}

static void check_result(const kws_detector *detector, uint64_t taken)
{
    kws_detection found;
    hold(kws_result(detector, &found) == KWS_OK);
    hold(found.keyword != NULL && found.label < KWS_LABELS);
    hold(found.score >= 0.0f && found.score <= 1.0f);
    hold(found.start <= found.end && found.end <= taken);
}

/* Process the block in one call after the other; returns how many samples were taken. */
static uint64_t process(kws_detector *detector, size_t count, uint64_t before)
{
    size_t done = 0;
    while (done < count) {
        size_t used = 0;
        kws_status status = kws_process(detector, block + done, count - done, &used);
        hold(used <= count - done);
        done += used;
        if (status == KWS_DETECTED) {
            check_result(detector, before + done);
        } else {
            hold(status == KWS_OK && done == count);
        }
    }
    return done;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    kws_detector *detector;
    uint64_t taken = 0;
    size_t at = 0;
    hold(kws_init(memory, sizeof memory, &detector) == KWS_OK);
    while (at + 4 <= size) {
        unsigned what = data[at] % 8;
        size_t length = (size_t)data[at + 1] | (size_t)(data[at + 2] & 15) << 8;
        int number = (int8_t)data[at + 3];
        at += 4;
        if (what == 0) {
            hold(kws_reset(detector) == KWS_OK);
            taken = 0;
        } else if (what == 1) {
            int level = number * 300;
            kws_status expected = level < 0 || level > 32767 ? KWS_OUT_OF_RANGE : KWS_OK;
            hold(kws_set_gate(detector, level) == expected);
        } else if (what == 2) { /* samples that the input itself holds, as they stand there */
            size_t count = (size - at) / 2 < length ? (size - at) / 2 : length;
            memcpy(block, data + at, 2 * count);
            at += 2 * count;
            taken += process(detector, count, taken);
        } else { /* a tone of edges: constant, alternating, or a saw */
            for (size_t i = 0; i < length; i++) {
                long value = (long)number * 256 * (what == 4 && i % 2 ? -1 : 1);
                value += what >= 5 ? (long)(i * (what - 4) * 97 % 4096) - 2048 : 0;
                block[i] = (int16_t)(value < -32768 ? -32768 : value > 32767 ? 32767 : value);
            }
            taken += process(detector, length, taken);
        }
    }
    return 0;
}
