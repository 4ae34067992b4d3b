/* A port that compiles everywhere, without a microphone: copy it for a new board. README.md says what
 * goes where. */
#include "port.h"

int port_start(void)
{
    /* Clocks, then the microphone's interface (I2S or PDM), then its DMA, last the interrupt. */
    return 0;
}

size_t port_samples(int16_t *samples, size_t count)
{
    /* Sleep until the DMA has filled half of its buffer; copy that half while it fills the other.
     * A board that cannot keep up should count what it loses rather than wait. */
    (void)samples;
    (void)count;
    return 0;
}

void port_detected(const kws_detection *detection)
{
    /* A lamp for detection->label, a line on a serial port, a message on a bus. */
    (void)detection;
}

uint32_t port_ticks(void)
{
    /* DWT->CYCCNT on a Cortex-M3 or better. */
    return 0;
}
