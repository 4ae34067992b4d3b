/* Average pooling over time; scale and zero point stay what they are. */
#include "layers.h"

void kws_run_mean(const int8_t *rows, uint32_t count, uint32_t channels, int8_t *output)
{
    const int32_t divisor = (int32_t)count;
    for (uint32_t channel = 0; channel < channels; channel++) {
        const int8_t *value = rows + channel;
        int32_t sum = 0;
        for (uint32_t row = count; row > 0; row--) {
            sum += *value;
            value += channels;
        }
        /* To nearest, ties away from zero. */
        sum += sum > 0 ? divisor / 2 : -(divisor / 2);
        output[channel] = (int8_t)(sum / divisor);
    }
}
