/* High-water mark of the stack. */
#ifndef STACK_H
#define STACK_H

#include <stdint.h>

/* Fill the unused stack with a pattern. */
void stack_paint(void);

/* Bytes between the top of the stack and the deepest word that was ever written. */
uint32_t stack_used(void);

#endif
