/* Numbers as text, without the C library's formatted output. */
#ifndef TEXT_H
#define TEXT_H

#include <stdint.h>

#define TEXT_DIGITS 11 /* of a 32-bit number, with the end of the string */

/* Where in `text` the decimal digits of `value` begin. */
const char *text_of(uint32_t value, char text[TEXT_DIGITS]);

#endif
