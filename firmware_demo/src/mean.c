/* Average pooling over time; scale and zero point stay what they are. */
#include "layers.h"

static int8_t divided(int32_t sum, int32_t count)
{
    sum += sum > 0 ? count / 2 : -(count / 2); /* to nearest, ties away from zero */
    return (int8_t)(sum / count);
}

void kws_run_mean(const int8_t *rows, uint32_t count, uint32_t channels, int8_t *output)
{
    for (uint32_t channel = 0; channel < channels; channel += 4) {
        const int8_t *value = rows + channel;
        int32_t sum0 = 0, sum1 = 0, sum2 = 0, sum3 = 0;
        for (uint32_t row = count; row > 0; row--) {
            sum0 += value[0];
            sum1 += value[1];
            sum2 += value[2];
            sum3 += value[3];
            value += channels;
        }
        output[channel] = divided(sum0, (int32_t)count);
        output[channel + 1] = divided(sum1, (int32_t)count);
        output[channel + 2] = divided(sum2, (int32_t)count);
        output[channel + 3] = divided(sum3, (int32_t)count);
    }
}
