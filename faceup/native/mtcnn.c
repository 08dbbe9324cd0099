/* The networks of MTCNN on the CPU: convolutions, PReLUs and pools on features whose channels lie together.

   3 x 3 convolutions of many channels are Winograd's; the others are plain products, whose left side is the features
   as they lie: the `size * channels` numbers under a row of a kernel are neighbours. Channels come in panels of
   sixteen, the last filled up with zeros; pools drop what was filled up. `faceup.networks.mtcnn_native` writes the
   weights in the order in which they are taken here. */

#include <string.h>

#include "base.h"
#include "team.h"
#include "vectors.h"
#include "winograd.h"

/* Tiles of a convolution, and crops of a matrix product, that are worked on at once. */
enum { TILES = 12, CROPS = 12 };
/* A store of the last vector of a pixel may go so far beyond it. */
enum { SLACK = PANEL };
/* Pixels of the pictures that are worth a thread of their own. */
enum { PIXELS_A_THREAD = 1 << 13 };
enum { PNET, RNET, ONET };
enum { PNET_OUT = 5, RNET_OUT = 5, ONET_OUT = 15 };

/* Features (height, width, channels), rows `row` floats apart. */
typedef struct {
    float *data;
    int height, width, channels;
    ptrdiff_t row;
} Map;

/* A convolution or matrix product of `outputs` channels, a multiple of PANEL, and the slopes of the PReLU behind it. */
typedef struct {
    const float *kernels, *bias, *slopes;
    int outputs;
} Layer;

static Layer take_layer(const float **weights, int depth, int outputs, int bent)
{
    Layer layer = {.outputs = outputs};
    layer.kernels = take(weights, (size_t)depth * outputs);
    layer.bias = take(weights, outputs);
    if (bent)
        layer.slopes = take(weights, outputs);
    return layer;
}

static float *take_scratch(float **scratch, size_t count)
{
    float *here = *scratch;
    *scratch += count + SLACK;
    return here;
}

static Map take_map(float **scratch, int height, int width, int channels)
{
    ptrdiff_t row = (ptrdiff_t)width * channels;
    return (Map){take_scratch(scratch, row * height), height, width, channels, row};
}

/* A map that Winograd's convolution reads: zeros fill its last tiles. */
static Map take_whole_tiles(float **scratch, int height, int width, int channels)
{
    int rows = (height - 2 + TILE - 1) / TILE * TILE + 2, columns = (width - 2 + TILE - 1) / TILE * TILE + 2;
    Map map = take_map(scratch, rows, columns, channels);
    memset(map.data, 0, (map.row * rows + SLACK) * sizeof(float));
    map.height = height;
    map.width = width;
    return map;
}

INLINE floats prelu(floats values, floats slopes)
{
    floats above = positive(values);
    return above + slopes * (values - above);
}

/* A row of a convolution without padding, after its PReLU; `from` is the first of the rows under the kernel. */
INLINE void convolve_row(const float *from, ptrdiff_t row, int channels, int size, const Layer *layer, int width,
                         float *to)
{
    int depth = size * channels;
    for (int n = 0; n < layer->outputs; n += PANEL) {
        const float *panel = layer->kernels + (size_t)n * size * depth;
        for (int x = 0; x < width; x += ROWS) {
#define SOME_PIXELS(count)                                                                                             \
    {                                                                                                                  \
        floats sums[ROWS][PARTS];                                                                                      \
        for (int i = 0; i < count; i++)                                                                                \
            for (int part = 0; part < PARTS; part++)                                                                   \
                sums[i][part] = load(layer->bias + n + part * LANES);                                                  \
        for (int k = 0; k < size; k++)                                                                                 \
            add_product(count, from + k * row + x * channels, channels, panel + k * depth * PANEL, depth, sums);       \
        for (int i = 0; i < count; i++)                                                                                \
            for (int part = 0; part < PARTS; part++)                                                                   \
                store(to + (ptrdiff_t)(x + i) * layer->outputs + n + part * LANES,                                     \
                      prelu(sums[i][part], load(layer->slopes + n + part * LANES)));                                   \
    }
            WITH_CONSTANT(width - x, SOME_PIXELS)
#undef SOME_PIXELS
        }
    }
}

INLINE void convolve(const Map *from, int size, const Layer *layer, Map *to)
{
    for (int y = 0; y < to->height; y++)
        convolve_row(from->data + y * from->row, from->row, from->channels, size, layer, to->width,
                     to->data + y * to->row);
}

static int pooled_length(int length, int size) { return (length - size + 1) / 2 + 1; }

/* A row of a max pool of step 2 whose last windows may be cut off; `rows` are those under the window. */
INLINE void pool_row(const float *const *rows, int count, int size, int width, int step, int channels, float *to)
{
    for (int x = 0; x < pooled_length(width, size); x++) {
        int wide = least(size, width - 2 * x);
        for (int k = 0; k < channels; k += LANES) {
            floats best = load(rows[0] + 2 * x * step + k);
            for (int i = 0; i < count; i++)
                for (int j = 0; j < wide; j++)
                    best = larger(best, load(rows[i] + (2 * x + j) * step + k));
            store(to + x * channels + k, best);
        }
    }
}

INLINE void pool(const Map *from, int size, Map *to)
{
    for (int y = 0; y < to->height; y++) {
        const float *rows[3];
        int count = least(size, from->height - 2 * y);
        for (int i = 0; i < count; i++)
            rows[i] = from->data + (2 * y + i) * from->row;
        pool_row(rows, count, size, from->width, from->channels, to->channels, to->data + y * to->row);
    }
}

/* A 3 x 3 convolution and a pool, of which no more rows than the pool needs are held. */
INLINE void convolve_and_pool(const Map *from, const Layer *layer, int size, Map *to, float *held)
{
    int height = from->height - 2, width = from->width - 2, done = 0;
    size_t row = (size_t)width * layer->outputs;
    for (int y = 0; y < to->height; y++) {
        const float *rows[3];
        int count = least(size, height - 2 * y);
        for (; done < 2 * y + count; done++)
            convolve_row(from->data + done * from->row, from->row, from->channels, 3, layer, width,
                         held + done % 4 * row);
        for (int i = 0; i < count; i++)
            rows[i] = held + (2 * y + i) % 4 * row;
        pool_row(rows, count, size, width, layer->outputs, to->channels, to->data + y * to->row);
    }
}

/* The four rows of a row of tiles of a 3 x 3 convolution by Winograd, after its PReLU. */
INLINE void convolve_tiles(const Map *from, const Layer *layer, int y, int width, float *to, ptrdiff_t row,
                           float *patches, float *products)
{
    int depth = from->channels, outputs = layer->outputs, across = (width + TILE - 1) / TILE;
    for (int first = 0; first < across; first += TILES) {
        int count = least(TILES, across - first);
        for (int t = 0; t < count; t++)
            transform_patch(from->data + y * from->row + (ptrdiff_t)(first + t) * TILE * depth, from->row, depth, depth,
                            patches + (size_t)t * POSITIONS * depth);
        multiply_tiles(count, patches, layer->kernels, layer->bias, depth, outputs, products);
        for (int t = 0; t < count; t++)
            for (int k = 0; k < outputs; k += LANES) {
                floats results[TILE][TILE], slopes = load(layer->slopes + k);
                results_of_tile(products + (size_t)t * POSITIONS * outputs + k, outputs, results);
                for (int i = 0; i < TILE; i++)
                    for (int j = 0; j < TILE; j++)
                        store(to + i * row + ((ptrdiff_t)(first + t) * TILE + j) * outputs + k,
                              prelu(results[i][j], slopes));
            }
    }
}

static size_t patches_size(int depth) { return (size_t)TILES * POSITIONS * depth; }

/* A picture's planes as pixels. */
static void interleave(const float *planes, int first, int end, int height, int width, float *pixels)
{
    size_t plane = (size_t)height * width;
    const float *at = planes + (size_t)first * width;
    for (size_t i = 0; i < (size_t)(end - first) * width; i++)
        for (int c = 0; c < 3; c++)
            pixels[3 * i + c] = at[c * plane + i];
}

typedef struct {
    int network;
    const float *weights, *pictures;
    int count, height, width;
    float *result, *scratch;
    int threads, high;   /* rows of P-Net's result that are made together */
    size_t scratch_size; /* of one thread */
} Task;

static int pnet_length(int length) { return pooled_length(length - 2, 2) - 4; }

/* P-Net, on the rows of the result from `first` to `end`. */
FAST static void pnet_rows(const Task *task, const float *planes, int first, int end, float *result, float *scratch)
{
    const float *weights = task->weights;
    Layer one = take_layer(&weights, 27, 16, 1), two = take_layer(&weights, 90, 16, 1);
    Layer three = take_layer(&weights, POSITIONS * 16, 32, 1), heads = take_layer(&weights, 32, 16, 0);
    int height = pnet_length(task->height), width = pnet_length(task->width);
    int from = 2 * first, rows = least(task->height, 2 * (end + 4) + 2) - from;

    Map pixels = take_map(&scratch, rows, task->width, 3);
    interleave(planes, from, from + rows, task->height, task->width, pixels.data);
    float *held = take_scratch(&scratch, (size_t)4 * task->width * 16);
    Map pooled = take_map(&scratch, end - first + 4, width + 4, 10);
    convolve_and_pool(&pixels, &one, 2, &pooled, held);
    Map second = take_whole_tiles(&scratch, end - first + 2, width + 2, 16);
    Map seen = second;
    convolve(&pooled, 3, &two, &seen);
    float *patches = take_scratch(&scratch, patches_size(16)), *products = take_scratch(&scratch, patches_size(32));
    ptrdiff_t row = (ptrdiff_t)(width + TILE) * 32;
    float *features = take_scratch(&scratch, TILE * row), *found = take_scratch(&scratch, (size_t)(width + TILE) * 16);
    for (int y = first; y < end; y += TILE) {
        convolve_tiles(&second, &three, y - first, width, features, row, patches, products);
        for (int i = 0; i < least(TILE, end - y); i++) {
            multiply(width, features + i * row, 32, heads.kernels, 32, 16, (Finish){.bias = heads.bias}, found, 16);
            for (int c = 0; c < PNET_OUT; c++)
                for (int x = 0; x < width; x++)
                    result[((ptrdiff_t)c * height + y + i) * width + x] = found[x * 16 + c];
        }
    }
}

static void pnet(Team *team, int rank, void *argument)
{
    const Task *task = argument;
    int height = pnet_length(task->height), width = pnet_length(task->width);
    int bands = (height + task->high - 1) / task->high;
    for (int i = rank; i < task->count * bands; i += team->count) {
        int picture = i / bands, first = i % bands * task->high;
        pnet_rows(task, task->pictures + (size_t)picture * 3 * task->height * task->width, first,
                  least(first + task->high, height), task->result + (size_t)picture * PNET_OUT * height * width,
                  task->scratch + rank * task->scratch_size);
    }
}

/* What R-Net and O-Net end in: products of the features of some crops, with a PReLU between them. */
INLINE void finish_crops(int count, const float *features, int depth, const Layer *dense, const Layer *heads,
                         int outputs, float *result, float *scratch)
{
    int hidden = dense->outputs;
    float *found = scratch + CROPS * hidden;
    multiply(count, features, depth, dense->kernels, depth, hidden, (Finish){.bias = dense->bias}, scratch, hidden);
    for (int i = 0; i < count; i++)
        for (int k = 0; k < hidden; k += LANES)
            store(scratch + i * hidden + k, prelu(load(scratch + i * hidden + k), load(dense->slopes + k)));
    multiply(count, scratch, hidden, heads->kernels, hidden, 16, (Finish){.bias = heads->bias}, found, 16);
    for (int i = 0; i < count; i++)
        memcpy(result + i * outputs, found + i * 16, outputs * sizeof(float));
}

enum { RNET_FLAT = 3 * 3 * 64, RNET_HIDDEN = 128 };

FAST static void rnet_crops(const Task *task, int first, int end, float *scratch)
{
    const float *weights = task->weights;
    Layer one = take_layer(&weights, 27, 32, 1), two = take_layer(&weights, 9 * 28, 48, 1);
    Layer three = take_layer(&weights, 4 * 48, 64, 1), dense = take_layer(&weights, RNET_FLAT, RNET_HIDDEN, 1);
    Layer heads = take_layer(&weights, RNET_HIDDEN, 16, 0);
    Map pixels = take_map(&scratch, 24, 24, 3), small = take_map(&scratch, 11, 11, 28);
    Map second = take_map(&scratch, 9, 9, 48), pooled = take_map(&scratch, 4, 4, 48);
    float *held = take_scratch(&scratch, 4 * 22 * 32), *flat = take_scratch(&scratch, CROPS * RNET_FLAT);
    float *last = take_scratch(&scratch, CROPS * (RNET_HIDDEN + 16));
    for (; first < end; first += CROPS) {
        int count = least(CROPS, end - first);
        for (int i = 0; i < count; i++) {
            interleave(task->pictures + (size_t)(first + i) * 3 * 24 * 24, 0, 24, 24, 24, pixels.data);
            convolve_and_pool(&pixels, &one, 3, &small, held);
            convolve(&small, 3, &two, &second);
            pool(&second, 3, &pooled);
            Map third = {flat + i * RNET_FLAT, 3, 3, 64, 3 * 64};
            convolve(&pooled, 2, &three, &third);
        }
        finish_crops(count, flat, RNET_FLAT, &dense, &heads, RNET_OUT, task->result + (size_t)first * RNET_OUT, last);
    }
}

enum { ONET_FLAT = 3 * 3 * 128, ONET_HIDDEN = 256 };

FAST static void onet_crops(const Task *task, int first, int end, float *scratch)
{
    const float *weights = task->weights;
    Layer one = take_layer(&weights, 27, 32, 1), two = take_layer(&weights, POSITIONS * 32, 64, 1);
    Layer three = take_layer(&weights, POSITIONS * 64, 64, 1), four = take_layer(&weights, 4 * 64, 128, 1);
    Layer dense = take_layer(&weights, ONET_FLAT, ONET_HIDDEN, 1), heads = take_layer(&weights, ONET_HIDDEN, 16, 0);
    Map pixels = take_map(&scratch, 48, 48, 3), small = take_whole_tiles(&scratch, 23, 23, 32);
    /* Whole tiles are stored, so there is room for 24 x 24. */
    Map second = take_map(&scratch, 24, 24, 64), pooled = take_whole_tiles(&scratch, 10, 10, 64);
    Map third = take_map(&scratch, 8, 8, 64), fourth = take_map(&scratch, 4, 4, 64);
    second.height = second.width = 21;
    float *held = take_scratch(&scratch, 4 * 46 * 32), *flat = take_scratch(&scratch, CROPS * ONET_FLAT);
    float *patches = take_scratch(&scratch, patches_size(64)), *products = take_scratch(&scratch, patches_size(64));
    float *last = take_scratch(&scratch, CROPS * (ONET_HIDDEN + 16));
    for (; first < end; first += CROPS) {
        int count = least(CROPS, end - first);
        for (int i = 0; i < count; i++) {
            interleave(task->pictures + (size_t)(first + i) * 3 * 48 * 48, 0, 48, 48, 48, pixels.data);
            convolve_and_pool(&pixels, &one, 3, &small, held);
            for (int y = 0; y < 21; y += TILE)
                convolve_tiles(&small, &two, y, 21, second.data + y * second.row, second.row, patches, products);
            pool(&second, 3, &pooled);
            for (int y = 0; y < 8; y += TILE)
                convolve_tiles(&pooled, &three, y, 8, third.data + y * third.row, third.row, patches, products);
            pool(&third, 2, &fourth);
            Map out = {flat + i * ONET_FLAT, 3, 3, 128, 3 * 128};
            convolve(&fourth, 2, &four, &out);
        }
        finish_crops(count, flat, ONET_FLAT, &dense, &heads, ONET_OUT, task->result + (size_t)first * ONET_OUT, last);
    }
}

/* R-Net and O-Net: every thread has a share of the crops. */
static void crops(Team *team, int rank, void *argument)
{
    const Task *task = argument;
    int first = share(task->count, rank, team->count), end = share(task->count, rank + 1, team->count);
    float *scratch = task->scratch + rank * task->scratch_size;
    if (task->network == RNET)
        rnet_crops(task, first, end, scratch);
    else
        onet_crops(task, first, end, scratch);
}

/* Memory of one thread, in floats: more than the maps of P-Net take that makes so many rows of such width, or those of
   R-Net and O-Net. */
static size_t pnet_scratch(int high, int width)
{
    size_t line = width + 2 * TILE, rows = high + 2 * TILE;
    return (3 * 2 * rows + 4 * 16 + (10 + 16) * rows / 2 + TILE * 32 + 16) * line + patches_size(16) +
           patches_size(32) + 8 * SLACK;
}

enum {
    CROPS_SCRATCH = 48 * 48 * 3 + 26 * 26 * 32 + 24 * 24 * 64 + 10 * 10 * 64 + 8 * 8 * 64 + 4 * 4 * 64 + 4 * 46 * 32 +
                    CROPS * (ONET_FLAT + ONET_HIDDEN + 16) + 2 * TILES * POSITIONS * 64 + 16 * SLACK
};

static Task plan(int network, int count, int height, int width, int threads)
{
    Task task = {.network = network, .count = count, .height = height, .width = width, .scratch_size = CROPS_SCRATCH};
    int64_t worth = 1 + (int64_t)count * height * width / PIXELS_A_THREAD;
    task.threads = (int)(worth < threads_of(threads) ? worth : threads_of(threads));
    if (network == PNET) {
        /* A few pictures are cut into bands of whole tiles, one for each thread. */
        int bands = count < task.threads ? task.threads : 1;
        task.high = ((pnet_length(height) + bands - 1) / bands + TILE - 1) / TILE * TILE;
        task.scratch_size = pnet_scratch(task.high, width);
    }
    return task;
}

/* Floats of scratch memory that `faceup_mtcnn` needs. */
PUBLIC size_t faceup_mtcnn_scratch(int network, int count, int height, int width, int threads)
{
    Task task = plan(network, count, height, width, threads);
    return task.scratch_size * task.threads;
}

/* Run P-Net (0), R-Net (1) or O-Net (2), in the order of `faceup.native.mtcnn.NETWORKS`.

   `pictures` is (count, 3, height, width), RGB 0..255, 12 x 12 pixels or more for P-Net, 24 x 24 for R-Net, 48 x 48 for
   O-Net. `result` gets (count, 5, h, w), (count, 5) or (count, 15). It does not depend on the number of threads. */
PUBLIC void faceup_mtcnn(int network, const float *weights, const float *pictures, int count, int height, int width,
                         float *result, float *scratch, int threads)
{
    Task task = plan(network, count, height, width, threads);
    task.weights = weights;
    task.pictures = pictures;
    task.result = result;
    task.scratch = scratch;
    run_team(task.threads, network == PNET ? pnet : crops, &task);
}
