/* Every layer alone, on inputs that the layer before it gave in Python. */
#include <string.h>

#include "check.h"
#include "model.h"
#include "softmax.h"

#define STEPS 24
#define BLOCK_ROW (3 * KWS_CHANNELS) /* depthwise, pointwise, sum */
#define ROW (2 * KWS_CHANNELS + KWS_BLOCKS * BLOCK_ROW + 2 * KWS_LABELS)
#define STEP_FEATURES (KWS_STRIDE * KWS_BANDS)

static int8_t inputs[STEPS][STEP_FEATURES];
static int8_t golden[STEPS][ROW];
static int8_t rows[KWS_RING_ROWS > KWS_POOL ? KWS_RING_ROWS * KWS_CHANNELS
                                            : KWS_POOL * KWS_CHANNELS];
static int32_t pairs[KWS_WIDEST / 2];

static void check_equal(const int8_t *expected, const int8_t *actual, size_t count,
                        const char *what, int step)
{
    check(memcmp(expected, actual, count) == 0, what, step);
}

/* Output `offset` of the layers at a step, or the silence before the first. */
static const int8_t *at(int step, int offset, const int8_t *silence)
{
    return step < 0 ? silence : golden[step] + offset;
}

static void test_stem(int step)
{
    int8_t patch[KWS_STEM_KERNEL][KWS_BANDS], output[KWS_CHANNELS];
    for (int i = 0; i < KWS_STEM_KERNEL; i++) {
        const int row = (step + 1) * KWS_STRIDE - KWS_STEM_KERNEL + i;
        memcpy(patch[i], row < 0 ? kws_silence_features : inputs[0] + row * KWS_BANDS, KWS_BANDS);
    }
    kws_run_dense(&kws_stem, patch[0], pairs, output);
    check_equal(golden[step], output, KWS_CHANNELS, "stem", step);
}

static void test_block(int step, int i)
{
    const kws_block *const block = &kws_blocks[i];
    const int kernel = block->depthwise.kernel;
    const int before = i == 0 ? 0 : KWS_CHANNELS + i * BLOCK_ROW - KWS_CHANNELS;
    const int own = KWS_CHANNELS + i * BLOCK_ROW;
    int8_t output[KWS_CHANNELS];

    const int oldest = step % kernel; /* the ring may begin anywhere */
    for (int tap = 0; tap < kernel; tap++) {
        memcpy(rows + (oldest + tap) % kernel * KWS_CHANNELS,
               at(step - kernel + 1 + tap, before, block->silence), KWS_CHANNELS);
    }
    kws_run_depthwise(&block->depthwise, rows, (uint32_t)oldest, output);
    check_equal(golden[step] + own, output, KWS_CHANNELS, "depthwise", step);

    kws_run_dense(&block->pointwise, golden[step] + own, pairs, output);
    check_equal(golden[step] + own + KWS_CHANNELS, output, KWS_CHANNELS, "pointwise", step);

    kws_run_sum(&block->sum, golden[step] + before, golden[step] + own + KWS_CHANNELS,
                KWS_CHANNELS, output);
    check_equal(golden[step] + own + 2 * KWS_CHANNELS, output, KWS_CHANNELS, "sum", step);
}

static void test_head(int step)
{
    const int last = KWS_BLOCKS * BLOCK_ROW, mean = last + KWS_CHANNELS;
    const int8_t *const logits = golden[step] + mean + KWS_CHANNELS;
    int8_t output[KWS_CHANNELS > KWS_LABEL_ROWS ? KWS_CHANNELS : KWS_LABEL_ROWS];
    for (int i = 0; i < KWS_POOL; i++) {
        memcpy(rows + i * KWS_CHANNELS, at(step - i, last, kws_silence_pool), KWS_CHANNELS);
    }
    kws_run_mean(rows, KWS_POOL, KWS_CHANNELS, output);
    check_equal(golden[step] + mean, output, KWS_CHANNELS, "mean", step);

    kws_run_dense(&kws_classifier, golden[step] + mean, pairs, output);
    check_equal(logits, output, KWS_LABELS, "classifier", step);

    kws_softmax(logits, output);
    check_equal(logits + KWS_LABELS, output, KWS_LABELS, "softmax", step);
}

int main(void)
{
    check(golden_load("layers_in.bin", inputs, sizeof inputs, STEP_FEATURES) == STEPS, "steps", 0);
    check(golden_load("layers.bin", golden, sizeof golden, ROW) == STEPS, "steps", 1);
    for (int step = 0; step < STEPS; step++) {
        test_stem(step);
        for (int i = 0; i < KWS_BLOCKS; i++) {
            test_block(step, i);
        }
        test_head(step);
    }
    return finish("layers");
}
