#include "text.h"

const char *text_of(uint32_t value, char text[TEXT_DIGITS])
{
    char *digit = text + TEXT_DIGITS - 1;
    *digit = '\0';
    do {
        *--digit = (char)('0' + value % 10);
        value /= 10;
    } while (value > 0);
    return digit;
}
