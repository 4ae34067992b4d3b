/* Stem, residual blocks, mean and classifier, each keeping just the left context that it needs. */
#include "network.h"

#include <string.h>

#include "layers.h"

static void fill(int8_t *rows, uint32_t count, const int8_t *row, uint32_t width)
{
    for (uint32_t i = 0; i < count; i++) {
        memcpy(rows + i * width, row, width);
    }
}

void kws_network_reset(kws_network *network)
{
    memset(network, 0, sizeof *network);
    fill(network->stem, KWS_STEM_KERNEL, kws_silence_features, KWS_BANDS);
    int8_t *ring = network->rings;
    for (uint32_t i = 0; i < KWS_BLOCKS; i++) {
        const kws_block *block = &kws_blocks[i];
        fill(ring, block->depthwise.kernel, block->silence, KWS_CHANNELS);
        ring += block->depthwise.kernel * KWS_CHANNELS;
    }
    fill(network->pool, KWS_POOL, kws_silence_pool, KWS_CHANNELS);
}

/* The row behind `newest` in a ring of so many rows: the oldest, and the next to be written. */
static uint8_t next_row(uint32_t newest, uint32_t rows)
{
    return (uint8_t)(newest + 1 == rows ? 0 : newest + 1);
}

void kws_network_step(kws_network *network, kws_network_scratch *scratch, const int8_t *features,
                      int8_t *logits)
{
    const uint32_t kept = (KWS_STEM_KERNEL - KWS_STRIDE) * KWS_BANDS;
    memmove(network->stem, network->stem + KWS_STRIDE * KWS_BANDS, kept);
    memcpy(network->stem + kept, features, KWS_STRIDE * KWS_BANDS);
    kws_run_dense(&kws_stem, network->stem, scratch->pairs, scratch->steps);

    int8_t *ring = network->rings;
    for (uint32_t i = 0; i < KWS_BLOCKS; i++) {
        const kws_block *block = &kws_blocks[i];
        const uint8_t kernel = block->depthwise.kernel;
        const uint8_t newest = next_row(network->newest[i], kernel);
        network->newest[i] = newest;
        memcpy(ring + newest * KWS_CHANNELS, scratch->steps, KWS_CHANNELS);
        kws_run_depthwise(&block->depthwise, ring, next_row(newest, kernel), scratch->change);
        kws_run_dense(&block->pointwise, scratch->change, scratch->pairs, scratch->mixed);
        kws_run_sum(&block->sum, scratch->steps, scratch->mixed, KWS_CHANNELS, scratch->steps);
        ring += kernel * KWS_CHANNELS;
    }

    network->pool_newest = next_row(network->pool_newest, KWS_POOL);
    memcpy(network->pool + network->pool_newest * KWS_CHANNELS, scratch->steps, KWS_CHANNELS);
    kws_run_mean(network->pool, KWS_POOL, KWS_CHANNELS, scratch->mixed);
    kws_run_dense(&kws_classifier, scratch->mixed, scratch->pairs, logits);
}
