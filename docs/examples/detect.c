/* C: 16 kHz mono samples on standard input, words on standard output.
 *
 *     cd firmware_demo
 *     cc -std=c99 -O2 -Iinclude -Isrc -Igenerated ../docs/examples/detect.c \
 *         $(ls src/[a-z]*.c generated/[a-z]*.c) -o detect
 *     arecord -q -t raw -f S16_LE -r 16000 -c 1 | ./detect
 */
#include <stdio.h>

#include "kws.h"

#define BLOCK 320 /* samples, 20 ms; any number will do */

static uint64_t memory[KWS_MEMORY_BYTES / 8];

int main(void)
{
    static int16_t samples[BLOCK];
    kws_detector *detector;
    if (kws_init(memory, sizeof memory, &detector) != KWS_OK) {
        return 1;
    }
    for (size_t count; (count = fread(samples, sizeof *samples, BLOCK, stdin)) > 0;) {
        for (size_t begin = 0, used = 0; begin < count; begin += used) {
            if (kws_process(detector, samples + begin, count - begin, &used) == KWS_DETECTED) {
                kws_detection detection;
                kws_result(detector, &detection);
                printf("%6.2f s  %s\n", (double)detection.end / KWS_SAMPLE_RATE, detection.keyword);
                fflush(stdout);
            }
        }
    }
    return 0;
}
