/* Networks of whole windows whose values are stored in 8 bits, for `kws.native.int8`.
 *
 * A network is a list of layers. What goes from one to the next are unsigned integers (rows,
 * columns, channels) of the caller's scratch memory; a column is one pixel of an image, and what
 * has no second axis has one column. Sums of products are integers, which are rounded to 8 bits
 * again as ONNX Runtime rounds them: (sum + bias) * factor in float, to the nearest, halves to even.
 *
 * All offsets, sizes and contents of layers are those that kws.native.int8 has checked; scratch
 * memory has SLACK bytes after each value, which kernels may read. x86 processors have several
 * ways to multiply, of which the caller takes one: the weights are packed for it.
 */

#include "multiply.h"

#include <math.h>
#include <string.h>

enum { QUANTISE, IMAGES, CONVOLVE, DEPTHWISE, ADD, POOL, CLASSIFY }; /* kinds of layers */

typedef struct {
    int32_t kind;
    int32_t from;       /* bytes from the beginning of the scratch; floats of the features */
    int32_t other;      /* of ADD: where its second value is */
    int32_t to;         /* where the result goes; floats of the posteriors */
    int32_t pitch;      /* bytes, or floats, from one row of what comes in to the next */
    int32_t channels;   /* of what comes in */
    int32_t rows, columns, outputs; /* of the result */
    int32_t edge;       /* columns that the result has more on either side */
    int32_t edge_value; /* what they hold */
    int32_t height;     /* rows of the kernel, of the pool, or over which CLASSIFY averages */
    int32_t run;        /* bytes of a row of the kernel, a multiple of 4; columns of the pool */
    int32_t step;       /* rows of what comes in from one of the result to the next */
    int32_t zero;       /* the integer that stands for 0 in the result, before the table */
    int32_t before;     /* of CLASSIFY: likewise in what comes in */
    int32_t table_apart; /* bytes from one output's table to the next */
    int32_t bent;        /* whether a result above 0 is multiplied by rise, and one below by fall */
    int32_t bent_zero;   /* the integer that then stands for 0 */
    float rise, fall;    /* 0 < fall <= rise */
    float scale, other_scale, offset; /* of QUANTISE, IMAGES, ADD and CLASSIFY */
    const int8_t *weights;  /* tiles of (height, run, TILE); of DEPTHWISE (height, outputs) */
    const int32_t *bias;    /* (outputs,), zero points of what comes in included */
    const float *factors;   /* (outputs,) */
    const uint8_t *table;   /* (256,) or (outputs, 256), what takes the place of a result; or none */
    const float *floats;    /* IMAGES: tiles of (channels, TILE); CLASSIFY: (channels, outputs) */
    const float *constants; /* what is added to their products */
} kws_layer; /* weights, bias, factors of all but CLASSIFY have whole tiles of outputs */

INLINE void copy(const uint8_t *from, int bytes, uint8_t *to) {
    int i = 0;
    for (; i + 8 <= bytes; i += 8) memcpy(to + i, from + i, 8);
    for (; i < bytes; i++) to[i] = from[i];
}

/* Some outputs of the result, as many as there are of `width`, out of sums: from `first` on. */
INLINE void settle(const kws_layer *layer, const int32_t *RESTRICT sums, int first, int width,
                   uint8_t *to) {
    uint8_t values[MOST_TILES * TILE];
    const int32_t *RESTRICT bias = layer->bias + first;
    const float *RESTRICT factors = layer->factors + first;
    const int left = layer->outputs - first, some = left < width ? left : width;
    const int zero = layer->zero, bent_zero = layer->bent_zero;
    if (layer->bent) {
        const float rise = layer->rise, fall = layer->fall;
        for (int j = 0; j < width; j++) {
            const float value = rounded((float)(sums[j] + bias[j]) * factors[j], zero);
            const float risen = value * rise, fallen = value * fall;
            values[j] = stored(risen > fallen ? risen : fallen, bent_zero);
        }
    } else {
        for (int j = 0; j < width; j++)
            values[j] = stored((float)(sums[j] + bias[j]) * factors[j], zero);
    }
    if (layer->table) {
        const int apart = layer->table_apart;
        const uint8_t *table = layer->table + first * apart;
        for (int j = 0; j < some; j++) to[j] = table[j * apart + values[j]];
        return;
    }
    copy(values, some, to);
}

INLINE int row_bytes(const kws_layer *layer) {
    return (layer->columns + 2 * layer->edge) * layer->outputs;
}

static void fill_edges(const kws_layer *layer, uint8_t *to) {
    const size_t bytes = (size_t)(layer->edge * layer->outputs);
    for (int row = 0; row < layer->rows && bytes; row++, to += row_bytes(layer)) {
        memset(to, layer->edge_value, bytes);
        memset(to + row_bytes(layer) - bytes, layer->edge_value, bytes);
    }
}

INLINE void quantise(const kws_layer *layer, const float *RESTRICT from, uint8_t *RESTRICT to) {
    const float scale = layer->scale;
    const int numbers = layer->rows * layer->outputs, zero = layer->zero;
    for (int i = 0; i < numbers; i++) to[i] = stored(from[i] / scale, zero);
}

/* Each row times a matrix, with as many numbers as a row of the result has. */
INLINE void make_images(const kws_layer *layer, const float *features, uint8_t *to) {
    const int numbers = layer->columns * layer->outputs, inputs = layer->channels;
    const float scale = layer->scale;
    const int zero = layer->zero;
    for (int row = 0; row < layer->rows; row++) {
        const float *from = features + row * layer->pitch, *RESTRICT w = layer->floats;
        uint8_t *const start = to + row * row_bytes(layer) + layer->edge * layer->outputs;
        for (int first = 0; first < numbers; first += TILE) {
            const float *RESTRICT constants = layer->constants + first;
            float sums[TILE] = {0.0f};
            uint8_t values[TILE];
            for (int i = 0; i < inputs; i++, w += TILE)
                LANE_BY_LANE for (int j = 0; j < TILE; j++) sums[j] += from[i] * w[j];
            LANE_BY_LANE for (int j = 0; j < TILE; j++)
                values[j] = stored((sums[j] + constants[j]) / scale, zero);
            copy(values, numbers - first < TILE ? numbers - first : TILE, start + first);
        }
    }
}

INLINE void convolve(const kws_layer *layer, int arithmetic, const uint8_t *from, uint8_t *to) {
    int32_t sums[MOST_ROWS * MOST_TILES * TILE];
    const uint8_t *pixels[MOST_ROWS];
    const kws_way *const way = kws_ways + arithmetic;
    const int all = layer->rows * layer->columns, at_once = way->rows;
    const int tiles = (layer->outputs + TILE - 1) / TILE;
    const int tile_bytes = layer->height * layer->run * TILE;
    int some;
    for (int tile = 0; tile < tiles; tile += some) {
        some = tiles - tile == 4 ? 2 : tiles - tile < MOST_TILES ? tiles - tile : MOST_TILES;
        for (int first = 0; first < all; first += at_once) {
            uint8_t *places[MOST_ROWS];
            for (int r = 0; r < at_once; r++) {
                /* Pixels that there are none of are the last one once more. */
                const int pixel = first + r < all ? first + r : all - 1;
                const int y = pixel / layer->columns, x = pixel % layer->columns;
                pixels[r] = from + y * layer->step * layer->pitch + x * layer->channels;
                places[r] = to + y * row_bytes(layer) + (layer->edge + x) * layer->outputs;
            }
            way->run(pixels, layer->height, layer->pitch, layer->run,
                     layer->weights + tile * tile_bytes, some, sums);
            for (int r = 0; r < at_once && first + r < all; r++)
                settle(layer, sums + r * some * TILE, tile * TILE, some * TILE,
                       places[r] + tile * TILE);
        }
    }
}

INLINE void convolve_depthwise(const kws_layer *layer, const uint8_t *from, uint8_t *to) {
    const int padded = (layer->outputs + TILE - 1) / TILE * TILE, height = layer->height;
    const int pitch = layer->pitch;
    for (int row = 0; row < layer->rows; row++) {
        int width;
        for (int first = 0; first < padded; first += width) {
            int32_t sums[MOST_TILES * TILE];
            width = padded - first < MOST_TILES * TILE ? padded - first : MOST_TILES * TILE;
            for (int j = 0; j < width; j++) sums[j] = 0;
            for (int k = 0; k < height; k++) {
                const uint8_t *RESTRICT x = from + (row + k) * pitch + first;
                const int8_t *RESTRICT w = layer->weights + k * padded + first;
                for (int j = 0; j < width; j++) sums[j] += (int16_t)(x[j] * w[j]);
            }
            settle(layer, sums, first, width, to + row * layer->outputs + first);
        }
    }
}

INLINE void add(const kws_layer *layer, const uint8_t *RESTRICT a, const uint8_t *RESTRICT b,
                uint8_t *RESTRICT to) {
    const float a_scale = layer->scale, b_scale = layer->other_scale, offset = layer->offset;
    const int numbers = layer->rows * layer->outputs;
    for (int i = 0; i < numbers; i++)
        to[i] = stored((float)a[i] * a_scale + ((float)b[i] * b_scale + offset), 0);
}

INLINE void pool(const kws_layer *layer, const uint8_t *from, uint8_t *to) {
    const int channels = layer->outputs, columns = layer->columns, width = layer->run;
    for (int y = 0; y < layer->rows; y++) {
        for (int x = 0; x < columns; x++) {
            uint8_t *RESTRICT most = to + y * row_bytes(layer) + (layer->edge + x) * channels;
            for (int c = 0; c < channels; c++) most[c] = 0;
            for (int k = 0; k < layer->height; k++) {
                for (int l = 0; l < width; l++) {
                    const uint8_t *RESTRICT value = from + (y * layer->height + k) * layer->pitch +
                                                    (x * width + l) * channels;
                    for (int c = 0; c < channels; c++)
                        most[c] = value[c] > most[c] ? value[c] : most[c];
                }
            }
        }
    }
}

INLINE void classify(const kws_layer *layer, const uint8_t *from, float *RESTRICT scores) {
    const int labels = layer->outputs, height = layer->height;
    for (int label = 0; label < labels; label++) scores[label] = layer->constants[label];
    for (int c = 0; c < layer->channels; c++) {
        int32_t sum = 0;
        for (int row = 0; row < height; row++) sum += from[row * layer->pitch + c] - layer->before;
        const float mean = (float)sum * layer->scale / (float)height;
        for (int label = 0; label < labels; label++)
            scores[label] += mean * layer->floats[c * labels + label];
    }
    float highest = -INFINITY, total = 0.0f;
    for (int label = 0; label < labels; label++)
        if (scores[label] > highest) highest = scores[label];
    for (int label = 0; label < labels; label++)
        total += scores[label] = expf(scores[label] - highest);
    for (int label = 0; label < labels; label++) scores[label] /= total;
}

/* Features of one window -> posteriors, where each CLASSIFY puts its own. */
EXPORT FOR_EACH_PROCESSOR void kws_window_run(const kws_layer *layers, int32_t count,
                                              int32_t arithmetic, const float *features,
                                              uint8_t *scratch, float *posteriors) {
    for (const kws_layer *layer = layers; layer < layers + count; layer++) {
        const uint8_t *from = scratch + layer->from;
        uint8_t *to = scratch + layer->to;
        switch (layer->kind) {
        case QUANTISE: quantise(layer, features + layer->from, to); break;
        case IMAGES: make_images(layer, features + layer->from, to); break;
        case CONVOLVE: convolve(layer, arithmetic, from, to); break;
        case DEPTHWISE: convolve_depthwise(layer, from, to); break;
        case ADD: add(layer, from, scratch + layer->other, to); break;
        case POOL: pool(layer, from, to); break;
        default: classify(layer, from, posteriors + layer->to); continue;
        }
        fill_edges(layer, to);
    }
}
