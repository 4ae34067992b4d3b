/* The front end and one step of the streaming network, for `kws.native`, which checks all shapes.
 *
 * Plain C99 with neither allocation nor state of its own: all memory is the caller's, in the sizes
 * that kws_front_end_floats and kws_network_floats tell. Loops run over lanes of a fixed width,
 * which compilers turn into vectors; for x86 with glibc they do so for three generations of
 * processors, and the loader chooses.
 */

#include "common.h"

#include <math.h>
#include <stdint.h>
#include <string.h>

enum {
    KWS_VERSION = 6, /* of this interface; kws.native refuses another */
    LANES = 8,       /* frames that the front end computes together */
    TILE = 16,       /* channels that the network computes together */
    ROWS = 4,        /* steps that it computes together */
    MOST_BLOCKS = 16
};

/* Of one configuration of the front end. Frames begin `hop` samples apart. */
typedef struct {
    int32_t window;       /* samples of a frame, even, at most fft_size */
    int32_t hop;          /* samples */
    int32_t fft_size;     /* a power of two */
    int32_t bands;        /* mel bands */
    int32_t first, last;  /* bins first to last - 1 are used; 0 <= first < last <= fft_size / 2 + 1 */
    const float *scaled;  /* (window,): the window function over 32768 */
    const float *turns;   /* (fft_size / 2, 2): cosine and sine of -2 pi k / fft_size */
    const int32_t *order; /* (fft_size / 2,): k with its bits reversed */
    const int32_t *gaps;  /* (last - first,): between which edges a bin lies, 0 to bands */
    const float *rising;  /* (last - first,): its weight in the band that rises there, over floor */
    const float *falling; /* likewise, in the band that falls there */
    float *scratch;       /* kws_front_end_floats */
} kws_front_end;

/* Of one network; all sizes at least 1 but for overlap and context, which may be 0. */
typedef struct {
    int32_t bands;    /* numbers in a frame */
    int32_t stride;   /* frames of a step */
    int32_t steps;    /* rows that a call makes */
    int32_t overlap;  /* frames before a step that its stem sees */
    int32_t channels; /* a multiple of TILE; those that the network lacks have weights of 0 */
    int32_t labels;
    int32_t pool;     /* steps that a row averages */
    int32_t blocks;   /* at most MOST_BLOCKS */
    int32_t context[MOST_BLOCKS]; /* steps before a step that a block sees */
    const float *weights; /* in the order in which kws_network_step reads them */
    float *state;         /* changed by each step */
    float *scratch;
} kws_network;

EXPORT int32_t kws_version(void) { return KWS_VERSION; }

EXPORT int32_t kws_front_end_floats(const kws_front_end *front_end) {
    return (front_end->fft_size + 2 * (front_end->bands + 1)) * LANES;
}

/* A complex transform of `size` points, in place and in bit-reversed order on entry, for LANES
 * signals at once; turns[k * skip] is exp(-2 pi i k / size). */
INLINE void transform(float (*RESTRICT real)[LANES], float (*RESTRICT imag)[LANES], int size,
                      const float *RESTRICT turns, int skip) {
    for (int half = 1; half < size; half *= 2) {
        const int apart = size / (2 * half) * skip;
        for (int start = 0; start < size; start += 2 * half) {
            for (int k = 0; k < half; k++) {
                const float c = turns[2 * k * apart], s = turns[2 * k * apart + 1];
                float *RESTRICT ar = real[start + k], *RESTRICT br = real[start + k + half];
                float *RESTRICT ai = imag[start + k], *RESTRICT bi = imag[start + k + half];
                LANE_BY_LANE for (int lane = 0; lane < LANES; lane++) {
                    const float re = br[lane] * c - bi[lane] * s;
                    const float im = br[lane] * s + bi[lane] * c;
                    br[lane] = ar[lane] - re;
                    bi[lane] = ai[lane] - im;
                    ar[lane] += re;
                    ai[lane] += im;
                }
            }
        }
    }
}

/* ln(1 + x) of x >= 0, to an absolute error of about 1e-6: x is an energy over the floor. After
 * logf of the Cephes library (Moshier). */
INLINE float log_of_one_plus(float x) {
    const float y = 1.0f + x;
    int32_t bits;
    memcpy(&bits, &y, sizeof bits);
    /* y = m * 2^e with m in [sqrt(1/2), sqrt(2)) */
    const int32_t e = (bits - 0x3f3504f3) >> 23;
    bits -= e * (1 << 23);
    float m;
    memcpy(&m, &bits, sizeof m);
    m -= 1.0f;
    const float square = m * m;
    float p = 7.0376836292e-2f;
    p = p * m - 1.1514610310e-1f;
    p = p * m + 1.1676998740e-1f;
    p = p * m - 1.2420140846e-1f;
    p = p * m + 1.4249322787e-1f;
    p = p * m - 1.6668057665e-1f;
    p = p * m + 2.0000714765e-1f;
    p = p * m - 2.4999993993e-1f;
    p = p * m + 3.3333331174e-1f;
    p = p * m * square;
    p += (float)e * -2.12194440e-4f;
    p -= 0.5f * square;
    return m + p + (float)e * 0.693359375f;
}

/* Log-mel of LANES frames at most: samples as far as the last frame reaches -> (frames, bands). */
INLINE void few_features(const kws_front_end *front_end, const int16_t *RESTRICT samples,
                         int frames, float *RESTRICT features) {
    const int half = front_end->fft_size / 2, bands = front_end->bands;
    float (*real)[LANES] = (float (*)[LANES])front_end->scratch;
    float (*imag)[LANES] = real + half;
    float (*rising)[LANES] = imag + half;
    float (*falling)[LANES] = rising + bands + 1;
    /* Even samples are the real part and odd ones the imaginary part of a signal half as long. */
    for (int pair = 0; pair < half; pair++) {
        float *RESTRICT even = real[front_end->order[pair]];
        float *RESTRICT odd = imag[front_end->order[pair]];
        if (2 * pair < front_end->window) {
            const float a = front_end->scaled[2 * pair], b = front_end->scaled[2 * pair + 1];
            LANE_BY_LANE for (int lane = 0; lane < LANES; lane++) {
                /* Frames that there are none of are the last one once more. */
                const int frame = lane < frames ? lane : frames - 1;
                const int16_t *two = samples + frame * front_end->hop + 2 * pair;
                even[lane] = two[0] * a;
                odd[lane] = two[1] * b;
            }
        } else {
            memset(even, 0, sizeof real[0]);
            memset(odd, 0, sizeof imag[0]);
        }
    }
    transform(real, imag, half, front_end->turns, 2);
    memset(rising, 0, (size_t)(bands + 1) * sizeof rising[0]);
    memset(falling, 0, (size_t)(bands + 1) * sizeof falling[0]);
    for (int bin = front_end->first; bin < front_end->last; bin++) {
        const int k = bin < half ? bin : 0, mirror = k ? half - k : 0;
        const float c = bin < half ? front_end->turns[2 * bin] : -1.0f;
        const float s = bin < half ? front_end->turns[2 * bin + 1] : 0.0f;
        const float up = front_end->rising[bin - front_end->first];
        const float down = front_end->falling[bin - front_end->first];
        const int gap = front_end->gaps[bin - front_end->first];
        LANE_BY_LANE for (int lane = 0; lane < LANES; lane++) {
            const float er = real[k][lane] + real[mirror][lane];
            const float ei = imag[k][lane] - imag[mirror][lane];
            const float odd_r = imag[k][lane] + imag[mirror][lane];
            const float odd_i = real[mirror][lane] - real[k][lane];
            const float re = er + odd_r * c - odd_i * s;
            const float im = ei + odd_r * s + odd_i * c;
            const float power = 0.25f * (re * re + im * im);
            rising[gap][lane] += power * up;
            falling[gap][lane] += power * down;
        }
    }
    for (int band = 0; band < bands; band++) {
        float logs[LANES];
        LANE_BY_LANE for (int lane = 0; lane < LANES; lane++)
            logs[lane] = log_of_one_plus(rising[band][lane] + falling[band + 1][lane]);
        for (int frame = 0; frame < frames; frame++) features[frame * bands + band] = logs[frame];
    }
}

/* Log-mel of so many frames: samples ((frames - 1) * hop + window,) -> features (frames, bands). */
EXPORT FOR_EACH_PROCESSOR void kws_features(const kws_front_end *front_end, const int16_t *samples,
                                            int32_t frames, float *features) {
    for (int first = 0; first < frames; first += LANES) {
        const int some = frames - first < LANES ? frames - first : LANES;
        few_features(front_end, samples + first * front_end->hop, some,
                     features + first * front_end->bands);
    }
}

INLINE int rounded_up(int steps) { return (steps + ROWS - 1) / ROWS * ROWS; }

/* Numbers of: 0 the weights, 1 the state, 2 the scratch. */
EXPORT int32_t kws_network_floats(const kws_network *net, int32_t what) {
    const int c = net->channels, inputs = (net->overlap + net->stride) * net->bands;
    int weights = (inputs + 1) * c, steps = 0;
    for (int block = 0; block < net->blocks; block++) {
        weights += (net->context[block] + 1) * c + (c + 1) * c;
        steps += net->context[block] + rounded_up(net->steps);
    }
    steps += net->pool - 1 + rounded_up(net->steps);
    if (what == 0) return weights + (c + 1) * net->labels;
    if (what == 1)
        return (net->overlap + rounded_up(net->steps) * net->stride) * net->bands + steps * c;
    return rounded_up(net->steps) * c;
}

/* One tile of a product: rows (ROWS, inputs), `apart` numbers apart, times (inputs, TILE). */
INLINE void multiply(const float *RESTRICT rows, int apart, const float *RESTRICT weights,
                     int inputs, float sums[ROWS][TILE]) {
    float a[TILE], b[TILE], c[TILE], d[TILE];
    for (int j = 0; j < TILE; j++) a[j] = b[j] = c[j] = d[j] = 0.0f;
    for (int i = 0; i < inputs; i++) {
        const float *RESTRICT w = weights + i * TILE;
        const float p = rows[i], q = rows[apart + i];
        const float r = rows[2 * apart + i], s = rows[3 * apart + i];
        for (int j = 0; j < TILE; j++) {
            a[j] += p * w[j];
            b[j] += q * w[j];
            c[j] += r * w[j];
            d[j] += s * w[j];
        }
    }
    memcpy(sums[0], a, sizeof a);
    memcpy(sums[1], b, sizeof b);
    memcpy(sums[2], c, sizeof c);
    memcpy(sums[3], d, sizeof d);
}

/* out = relu(rows * weights + bias [+ old]), for rows (steps rounded up, inputs). */
INLINE void dense(const float *rows, int apart, const float *weights, int inputs,
                  const float *RESTRICT bias, const float *old, int steps, int channels,
                  float *out) {
    for (int first = 0; first < steps; first += ROWS) {
        for (int tile = 0; tile < channels; tile += TILE) {
            float sums[ROWS][TILE];
            multiply(rows + first * apart, apart, weights + tile * inputs, inputs, sums);
            for (int row = 0; row < ROWS; row++) {
                const int at = (first + row) * channels + tile;
                for (int j = 0; j < TILE; j++) {
                    float sum = sums[row][j] + bias[tile + j];
                    if (old) sum += old[at + j];
                    out[at + j] = sum > 0.0f ? sum : 0.0f;
                }
            }
        }
    }
}

/* The next features (steps * stride, bands) -> posteriors (steps, labels).
 *
 * The state is the frames and, for each block and the pool, the steps that they see: those before
 * the new ones, and the new ones, (context + steps rounded up, channels). */
EXPORT FOR_EACH_PROCESSOR void kws_network_step(const kws_network *net, const float *features,
                                                float *posteriors) {
    const int steps = net->steps, padded = rounded_up(steps), channels = net->channels;
    const int step = net->stride * net->bands, overlap = net->overlap * net->bands;
    const float *weights = net->weights;
    float *frames = net->state, *mixed = net->scratch;
    float *seen = frames + overlap + padded * step; /* by the next block */
    int context = net->blocks ? net->context[0] : net->pool - 1;

    memcpy(frames + overlap, features, (size_t)(steps * step) * sizeof *frames);
    const int inputs = overlap + step;
    dense(frames, step, weights, inputs, weights + inputs * channels, NULL, steps, channels,
          seen + context * channels);
    weights += (inputs + 1) * channels;
    memmove(frames, frames + steps * step, (size_t)overlap * sizeof *frames);

    for (int block = 0; block < net->blocks; block++) {
        for (int row = 0; row < steps; row++) {
            float *RESTRICT sum = mixed + row * channels;
            for (int c = 0; c < channels; c++) sum[c] = 0.0f;
            for (int past = 0; past <= context; past++) {
                const float *RESTRICT value = seen + (row + past) * channels;
                const float *RESTRICT weight = weights + past * channels;
                for (int c = 0; c < channels; c++) sum[c] += value[c] * weight[c];
            }
        }
        weights += (context + 1) * channels;
        float *now = seen + context * channels, *after = now + padded * channels;
        const int next = block + 1 < net->blocks ? net->context[block + 1] : net->pool - 1;
        dense(mixed, channels, weights, channels, weights + channels * channels, now, steps,
              channels, after + next * channels);
        weights += (channels + 1) * channels;
        memmove(seen, seen + steps * channels, (size_t)(context * channels) * sizeof *seen);
        seen = after;
        context = next;
    }

    for (int row = 0; row < steps; row++) {
        float *RESTRICT mean = mixed, *RESTRICT scores = posteriors + row * net->labels;
        for (int c = 0; c < channels; c++) mean[c] = 0.0f;
        for (int past = 0; past < net->pool; past++) {
            const float *RESTRICT value = seen + (row + past) * channels;
            for (int c = 0; c < channels; c++) mean[c] += value[c];
        }
        float highest = -INFINITY, total = 0.0f;
        for (int label = 0; label < net->labels; label++) {
            const float *RESTRICT weight = weights + label * channels;
            float parts[TILE] = {0.0f}, score = 0.0f;
            for (int c = 0; c < channels; c += TILE)
                for (int j = 0; j < TILE; j++) parts[j] += mean[c + j] * weight[c + j];
            for (int j = 0; j < TILE; j++) score += parts[j];
            scores[label] = score / (float)net->pool + weights[net->labels * channels + label];
            if (scores[label] > highest) highest = scores[label];
        }
        for (int label = 0; label < net->labels; label++)
            total += scores[label] = expf(scores[label] - highest);
        for (int label = 0; label < net->labels; label++) scores[label] /= total;
    }
    memmove(seen, seen + steps * channels, (size_t)(context * channels) * sizeof *seen);
}
