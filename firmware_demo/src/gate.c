#include "gate.h"

#include <stddef.h>
#include <string.h>

void kws_gate_reset(kws_gate *gate)
{
    const int level = gate->level;
    memset(gate, 0, sizeof *gate);
    gate->level = level;
}

void kws_gate_update(kws_gate *gate, const int16_t *samples, uint32_t count)
{
    int32_t sum = 0;
    for (uint32_t i = 0; i < count; i++) {
        sum += samples[i] < 0 ? -samples[i] : samples[i];
    }
    if (sum > gate->level * (int32_t)count) {
        gate->open_steps = KWS_HANGOVER_STEPS;
    }
}

void kws_gate_put(kws_gate *gate, const int8_t *features)
{
    memcpy(gate->features[gate->next], features, KWS_STEP_FEATURES);
    gate->next = (uint16_t)((gate->next + 1) % KWS_PREROLL_STEPS);
    gate->waiting = (uint16_t)(gate->waiting + (gate->waiting < KWS_PREROLL_STEPS));
    gate->steps++;
    gate->open_steps -= gate->open_steps > 0;
}

const int8_t *kws_gate_get(kws_gate *gate, uint64_t *step)
{
    if (gate->waiting == 0 || (gate->level > 0 && gate->open_steps == 0)) {
        return NULL;
    }
    const int oldest = (gate->next + KWS_PREROLL_STEPS - gate->waiting) % KWS_PREROLL_STEPS;
    *step = gate->steps - gate->waiting;
    gate->waiting--;
    return gate->features[oldest];
}
