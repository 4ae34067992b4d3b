/* Ten minutes of what no microphone should give: silence, full scale, noise. Overflow would trap:
 * this test is built with the checks for undefined behaviour. */
#include "check.h"
#include "kws.h"

#ifndef MINUTES
#define MINUTES 10
#endif

enum { ZEROS, FULL_SCALE, LOWEST, NOISE, BURSTS, KINDS };

static uint64_t memory[KWS_MEMORY_BYTES / 8];
static uint32_t random_state = 1;

static int16_t random_sample(void)
{
    random_state = random_state * 1664525u + 1013904223u; /* Numerical Recipes */
    return (int16_t)((int32_t)(random_state >> 16) - 32768);
}

static int16_t sample_of(int kind, uint32_t n)
{
    switch (kind) {
    case FULL_SCALE:
        return n / 8 % 2 ? INT16_MAX : INT16_MIN; /* a square wave of 1 kHz */
    case LOWEST:
        return INT16_MIN;
    case NOISE:
        return random_sample();
    case BURSTS:
        return n / 1600 % 2 ? random_sample() : 0;
    default:
        return 0;
    }
}

int main(void)
{
    const uint32_t each = MINUTES * 60u * KWS_SAMPLE_RATE / KINDS;
    static int16_t samples[320];
    kws_detector *detector;
    check(kws_init(memory, sizeof memory, &detector) == KWS_OK, "init", 0);
    for (int kind = 0; kind < KINDS; kind++) {
        for (uint32_t n = 0; n < each;) {
            for (uint32_t i = 0; i < 320; i++, n++) {
                samples[i] = sample_of(kind, n);
            }
            size_t used, done = 0;
            while (done < 320) {
                check(kws_process(detector, samples + done, 320 - done, &used) >= 0, "hop", kind);
                done += used;
            }
        }
    }
    report("minutes", MINUTES);
    return finish("endurance");
}
