/* Posteriors of the golden features, bit for bit, and again after a reset. */
#include <string.h>

#include "check.h"
#include "network.h"
#include "softmax.h"

static kws_network network;
static kws_network_scratch scratch;

static long run_all(void)
{
    const int features = golden_open("features.bin"), posteriors = golden_open("posteriors.bin");
    int8_t step[KWS_STRIDE * KWS_BANDS], expected[KWS_LABELS];
    long steps = 0;
    kws_network_reset(&network);
    while (golden_read(features, step, sizeof step) == sizeof step) {
        int8_t logits[KWS_LABEL_ROWS], made[KWS_LABELS];
        kws_network_step(&network, &scratch, step, logits);
        kws_softmax(logits, made);
        check(golden_read(posteriors, expected, sizeof expected) == sizeof expected, "row", steps);
        check(memcmp(made, expected, sizeof made) == 0, "posteriors", steps);
        steps++;
    }
    return steps;
}

int main(void)
{
    const long steps = run_all();
    check(run_all() == steps, "steps after a reset", steps);
    report("steps", steps);
    return finish("network");
}
