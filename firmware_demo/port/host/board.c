/* Port to a computer: raw 16-bit samples of 16 kHz from standard input, words to standard output. */
#include <stdio.h>
#include <time.h>

#include "port.h"

int port_start(void)
{
    return 0;
}

size_t port_samples(int16_t *samples, size_t count)
{
    return fread(samples, sizeof *samples, count, stdin);
}

void port_detected(const kws_detection *detection)
{
    printf("%.2f s %s %.2f\n", (double)detection->end / KWS_SAMPLE_RATE, detection->keyword,
           (double)detection->score);
    fflush(stdout);
}

uint32_t port_ticks(void)
{
    return (uint32_t)clock();
}
