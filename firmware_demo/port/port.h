/* What a board supplies; port/stub/board.c is a beginning, README.md a guide. */
#ifndef KWS_PORT_H
#define KWS_PORT_H

#include "kws.h"

/* Start clocks, microphone and output. 0, or anything else where that failed. */
int port_start(void);

/* Wait for samples of KWS_SAMPLE_RATE and copy at most `count` of them. How many; 0 ends the
 * program (a microphone never does that). */
size_t port_samples(int16_t *samples, size_t count);

/* A word was spotted. */
void port_detected(const kws_detection *detection);

/* A counter that runs at the board's own rate and wraps at 2^32, for measuring. */
uint32_t port_ticks(void);

#endif
