/* One step of the network: a few rows of features in, one row of logits out. */
#ifndef KWS_NETWORK_H
#define KWS_NETWORK_H

#include "model.h"

/* What the network remembers: of every layer the rows it will need again. */
typedef struct {
    int8_t stem[KWS_STEM_KERNEL * KWS_BANDS]; /* oldest row first */
    int8_t rings[KWS_RING_ROWS * KWS_CHANNELS]; /* of the blocks, one behind the other */
    int8_t pool[KWS_POOL * KWS_CHANNELS];
    uint8_t newest[KWS_BLOCKS]; /* the row of each ring that was written last */
    uint8_t pool_newest;
} kws_network;

typedef struct {
    int32_t pairs[KWS_WIDEST / 2]; /* inputs of the largest matrix, two in a word */
    int8_t steps[KWS_CHANNELS];  /* from layer to layer */
    int8_t change[KWS_CHANNELS]; /* inside a block, after its depthwise layer */
    int8_t mixed[KWS_CHANNELS];  /* and after its pointwise layer */
} kws_network_scratch;

/* As after a long time of digital silence. */
void kws_network_reset(kws_network *network);

/* features[KWS_STRIDE][KWS_BANDS] -> logits[KWS_LABELS]. */
void kws_network_step(kws_network *network, kws_network_scratch *scratch, const int8_t *features,
                      int8_t *logits);

#endif
