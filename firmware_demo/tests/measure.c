/* What each stage costs, in instructions on the golden audio: lines of "name value". The emulator
 * must run with -icount shift=7, so that an instruction takes 128 ns of the 25 MHz timer's time. */
#include <string.h>

#include "check.h"
#include "detector.h"
#include "fixed_spectrum.h"
#include "machine.h"
#include "port.h"
#include "semihosting.h"
#include "softmax.h"
#include "stack.h"

#define TICK_NS 40
#define INSTRUCTION_NS 128
#define GATE 10 /* quieter than the noise of the golden audio */

typedef struct {
    uint64_t ticks;
    uint32_t most;
    uint32_t runs;
} meter;

static kws_frontend frontend;
static kws_network network;
static kws_decision decision;
static union {
    kws_frontend_scratch frontend;
    kws_step_scratch step;
} scratch;
static uint64_t memory[KWS_MEMORY_BYTES / 8];
static uint32_t empty; /* ticks that reading the timer takes */

static void add(meter *to, uint32_t since)
{
    const uint32_t ticks = port_ticks() - since - empty;
    to->ticks += ticks;
    to->runs++;
    to->most = ticks > to->most ? ticks : to->most;
}

static long mean_of(const meter *of)
{
    return (long)(of->ticks * TICK_NS / INSTRUCTION_NS / of->runs);
}

static long most_of(const meter *of)
{
    return (long)((uint64_t)of->most * TICK_NS / INSTRUCTION_NS);
}

/* Front end, network and decision one after the other, as src/kws.c wires them. */
static void measure_stages(void)
{
    static int16_t samples[KWS_HOP];
    static int8_t features[KWS_STRIDE][KWS_BANDS];
    meter make = {0}, step = {0}, softmax = {0}, decide = {0};
    const int audio = golden_open("audio.bin");
    uint32_t row = 0;
    while (golden_read(audio, samples, sizeof samples) == sizeof samples) {
        kws_frontend_take(&frontend, samples, KWS_HOP);
        if (!kws_frontend_ready(&frontend)) {
            continue;
        }
        uint32_t start = port_ticks();
        kws_frontend_make(&frontend, &scratch.frontend, features[row]);
        add(&make, start);
        if (++row < KWS_STRIDE) {
            continue;
        }
        row = 0;
        start = port_ticks();
        kws_network_step(&network, &scratch.step.network, features[0], scratch.step.logits);
        add(&step, start);
        start = port_ticks();
        kws_softmax(scratch.step.logits, scratch.step.posteriors);
        add(&softmax, start);
        kws_detection detection;
        start = port_ticks();
        kws_decide(&decision, scratch.step.posteriors, kws_loudest(features[0]), &detection);
        add(&decide, start);
    }
    report("frontend_step", mean_of(&make) * KWS_STRIDE);
    report("network_step", mean_of(&step));
    report("softmax_step", mean_of(&softmax));
    report("decision_step", mean_of(&decide));
}

/* The kinds of layer, on whatever the stages have left in their buffers. */
static void measure_layers(void)
{
    kws_network_scratch *const s = &scratch.step.network;
    meter stem = {0}, depthwise = {0}, pointwise = {0}, sum = {0}, mean = {0}, classifier = {0};
    uint32_t start = port_ticks();
    kws_run_dense(&kws_stem, network.stem, s->pairs, s->steps);
    add(&stem, start);
    const int8_t *ring = network.rings;
    for (uint32_t i = 0; i < KWS_BLOCKS; i++) {
        const kws_block *const block = &kws_blocks[i];
        start = port_ticks();
        kws_run_depthwise(&block->depthwise, ring, 1, s->change);
        add(&depthwise, start);
        start = port_ticks();
        kws_run_dense(&block->pointwise, s->change, s->pairs, s->mixed);
        add(&pointwise, start);
        start = port_ticks();
        kws_run_sum(&block->sum, s->steps, s->mixed, KWS_CHANNELS, s->steps);
        add(&sum, start);
        ring += block->depthwise.kernel * KWS_CHANNELS;
    }
    start = port_ticks();
    kws_run_mean(network.pool, KWS_POOL, KWS_CHANNELS, s->mixed);
    add(&mean, start);
    start = port_ticks();
    kws_run_dense(&kws_classifier, s->mixed, s->pairs, scratch.step.logits);
    add(&classifier, start);
    report("stem_step", mean_of(&stem));
    report("depthwise_step", mean_of(&depthwise) * KWS_BLOCKS);
    report("pointwise_step", mean_of(&pointwise) * KWS_BLOCKS);
    report("sum_step", mean_of(&sum) * KWS_BLOCKS);
    report("mean_step", mean_of(&mean));
    report("classifier_step", mean_of(&classifier));
    report("stem_macs", (long)kws_stem.inputs * kws_stem.outputs);
    report("pointwise_macs", (long)KWS_BLOCKS * KWS_CHANNELS * KWS_CHANNELS);
    report("depthwise_macs", (long)KWS_RING_ROWS * KWS_CHANNELS);
    report("macs", KWS_MACS);
}

/* The spectrum of a frame of noise, and the same in fixed point. */
static void measure_spectra(void)
{
    static fixed_complex fixed[KWS_FFT_HALF];
    static uint64_t fixed_power[KWS_FFT_HALF];
    kws_complex *const data = scratch.frontend.spectrum;
    uint32_t noise = 1;
    for (uint32_t n = 0; n < KWS_FFT_HALF; n++) {
        noise = noise * 1664525u + 1013904223u;
        fixed[n].re = (int32_t)(noise >> 17) * (1 << 10);
        fixed[n].im = (int32_t)(noise >> 18) * (1 << 10);
        data[n].re = (float)fixed[n].re;
        data[n].im = (float)fixed[n].im;
    }
    fixed_start();
    meter single = {0}, integer = {0};
    uint32_t start = port_ticks();
    kws_power_spectrum(data, scratch.frontend.power);
    add(&single, start);
    start = port_ticks();
    fixed_power_spectrum(fixed, fixed_power);
    add(&integer, start);
    for (uint32_t k = 1; k < KWS_FFT_HALF; k++) {
        const float power = scratch.frontend.power[k] / FIXED_SCALE;
        const float gap = power - (float)fixed_power[k];
        check((gap < 0.0f ? -gap : gap) <= 1e-3f * power + 1e6f, "fixed-point power", (long)k);
    }
    report("float_spectrum", mean_of(&single));
    report("fixed_spectrum", mean_of(&integer));
}

/* Instructions of kws_process for each step of the golden audio, silent before sample `begin`. */
static meter measure_whole(int gate, uint32_t begin)
{
    static int16_t samples[KWS_STRIDE * KWS_HOP];
    const int audio = golden_open("audio.bin");
    meter whole = {0};
    kws_detector *detector;
    kws_init(memory, sizeof memory, &detector);
    kws_set_gate(detector, gate);
    for (uint32_t position = 0; golden_read(audio, samples, sizeof samples) == sizeof samples;
         position += KWS_STRIDE * KWS_HOP) {
        if (position < begin) {
            memset(samples, 0, sizeof samples);
        }
        size_t used = 0;
        const uint32_t start = port_ticks();
        for (size_t done = 0; done < KWS_STRIDE * KWS_HOP; done += used) {
            kws_process(detector, samples + done, KWS_STRIDE * KWS_HOP - done, &used);
        }
        add(&whole, start);
    }
    return whole;
}

int main(void)
{
    port_start();
    const uint32_t start = port_ticks();
    empty = port_ticks() - start;
    kws_frontend_reset(&frontend);
    kws_network_reset(&network);
    kws_decision_reset(&decision);
    measure_stages();
    measure_layers();
    measure_spectra();
    stack_paint();
    const meter listening = measure_whole(0, 0);
    report("stack_bytes", (long)stack_used());
    report("listening_step", mean_of(&listening));
    const meter opening = measure_whole(GATE, 2 * KWS_SAMPLE_RATE);
    report("opening_step_most", most_of(&opening));
    const meter silence = measure_whole(GATE, UINT32_MAX);
    report("silence_step", mean_of(&silence));
    report("detector_bytes", (long)sizeof(struct kws_detector));
    report("scratch_bytes", (long)sizeof(scratch));
    return finish("measured");
}
