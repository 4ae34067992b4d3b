/* The demonstration: spots keywords in the board's audio. The same file on every board. */
#include "port.h"

#define BLOCK 160 /* samples that are read at once; any number will do */

static uint64_t memory[KWS_MEMORY_BYTES / 8];

static void process(kws_detector *detector, const int16_t *samples, size_t count)
{
    while (count > 0) {
        size_t used;
        if (kws_process(detector, samples, count, &used) == KWS_DETECTED) {
            kws_detection detection;
            kws_result(detector, &detection);
            port_detected(&detection);
        }
        samples += used;
        count -= used;
    }
}

int main(void)
{
    static int16_t samples[BLOCK];
    kws_detector *detector;
    if (kws_init(memory, sizeof memory, &detector) != KWS_OK || port_start() != 0) {
        return 1;
    }
    for (size_t count; (count = port_samples(samples, BLOCK)) > 0;) {
        process(detector, samples, count);
    }
    return 0;
}
