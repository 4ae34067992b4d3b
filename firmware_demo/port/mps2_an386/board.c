/* Port to Arm's MPS2 with image AN386 as QEMU emulates it: samples from a file of the host's. */
#include <string.h>

#include "port.h"
#include "semihosting.h"
#include "text.h"

/* Timer 0 of the CMSDK counts down at the system clock of 25 MHz. */
#define TIMER ((volatile uint32_t *)0x40000000u)
enum { TIMER_CONTROL, TIMER_VALUE, TIMER_RELOAD };

static int source;

/* The command line is the program's name and the path of raw 16-bit samples. */
int port_start(void)
{
    static char line[256];
    TIMER[TIMER_RELOAD] = UINT32_MAX;
    TIMER[TIMER_VALUE] = UINT32_MAX;
    TIMER[TIMER_CONTROL] = 1;
    if (semihosting_command_line(line, sizeof line) != 0) {
        return -1;
    }
    const char *path = strchr(line, ' ');
    if (path == NULL) {
        semihosting_write("give the path of raw 16 kHz samples as an argument\n");
        return -1;
    }
    source = semihosting_open(path + 1);
    if (source < 0) {
        semihosting_write("cannot open the file of samples\n");
    }
    return source < 0;
}

size_t port_samples(int16_t *samples, size_t count)
{
    return semihosting_read(source, samples, count * sizeof *samples) / sizeof *samples;
}

void port_detected(const kws_detection *detection)
{
    char text[TEXT_DIGITS];
    const uint32_t hundredths = (uint32_t)(detection->end * 100 / KWS_SAMPLE_RATE);
    const uint32_t percent = (uint32_t)(detection->score * 100.0f + 0.5f);
    semihosting_write(text_of(hundredths / 100, text));
    semihosting_write(hundredths % 100 < 10 ? ".0" : ".");
    semihosting_write(text_of(hundredths % 100, text));
    semihosting_write(" s ");
    semihosting_write(detection->keyword);
    semihosting_write(percent < 10 ? " 0.0" : percent < 100 ? " 0." : " 1.0");
    semihosting_write(text_of(percent % 100, text));
    semihosting_write("\n");
}

uint32_t port_ticks(void)
{
    return ~TIMER[TIMER_VALUE];
}
