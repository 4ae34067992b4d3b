/* Features of the golden audio: within one step of what Python makes of it, in blocks of any size. */
#include <stdlib.h>

#include "check.h"
#include "frontend.h"

static kws_frontend frontend;
static kws_frontend_scratch scratch;

int main(void)
{
    const int audio = golden_open("audio.bin"), features = golden_open("features.bin");
    int16_t samples[241];
    size_t bytes, block = 1;
    long frames = 0, differing = 0, values = 0;
    kws_frontend_reset(&frontend);
    while ((bytes = golden_read(audio, samples, block * sizeof *samples)) > 0) {
        uint32_t used = 0;
        while (used < bytes / sizeof *samples) {
            const uint32_t rest = (uint32_t)(bytes / sizeof *samples) - used;
            used += kws_frontend_take(&frontend, samples + used, rest);
            if (!kws_frontend_ready(&frontend)) {
                continue;
            }
            int8_t made[KWS_BANDS], expected[KWS_BANDS];
            kws_frontend_make(&frontend, &scratch, made);
            check(golden_read(features, expected, KWS_BANDS) == KWS_BANDS, "frames", frames);
            for (int i = 0; i < KWS_BANDS; i++) {
                check(abs(made[i] - expected[i]) <= 1, "feature", frames * KWS_BANDS + i);
                differing += made[i] != expected[i];
                values++;
            }
            frames++;
        }
        block = (block + 40) % 241 + 1; /* all sizes from 1 to 241, which is prime */
    }
    char more;
    check(golden_read(features, &more, 1) == 0, "frames that C lacks", frames);
    report("features", values);
    report("of them one step away from Python's", differing);
    return finish("front end");
}
