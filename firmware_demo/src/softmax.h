/* Logits to posteriors. */
#ifndef KWS_SOFTMAX_H
#define KWS_SOFTMAX_H

#include <stdint.h>

#include "model.h"

/* logits[KWS_LABELS] -> posteriors[KWS_LABELS], of which -128 stands for 0 and 127 for 255 / 256. */
void kws_softmax(const int8_t *logits, int8_t *posteriors);

#endif
