/* SISN on the CPU, with the whole block of a split attention in a few passes over features that stay in the cache.

   What makes it quick: 3 x 3 convolutions by Winograd's F(4, 3); the features of a pixel lie together, so that every
   vector is channels; splits are weighed, summed, multiplied by the next two 1 x 1 convolutions and added to the
   block's input pixel by pixel; and the tail, which has no nonlinearity, is one 5 x 5 convolution on the LR features.

   A map of features is (height, width, channels) with a border of zeros: two pixels above and left, and below and right
   two more than what fills the last tile. `faceup.networks.sisn_native` writes the weights in the order of `run`. */

#include <math.h>
#include <string.h>

#include "base.h"
#include "team.h"
#include "vectors.h"
#include "winograd.h"

enum { BORDER = 2, KINDS = 5, REACH = 5, HEAD_DEPTH = 27, HEAD_STEP = 28 };
/* Tiles and pixels that a thread takes at a time: what they need fits into 512 KiB of second-level cache. */
enum { TILES = 12, PIXELS = 18 };

/* Must be the order of `faceup.networks.sisn_native.Shape`. */
typedef struct {
    int32_t groups, blocks, channels, splits;
    int32_t hidden;  /* of the split attention, a multiple of PANEL */
    int32_t outputs; /* numbers of an LR pixel in the result, a multiple of PANEL */
} Shape;

typedef struct {
    const Shape *shape;
    const float *weights, *picture;
    int height, width;
    float *result, *scratch;
} Task;

/* What one thread knows: the pictures of features are everybody's, the last four buffers its own. */
typedef struct {
    Team *team;
    Shape shape;
    int height, width, across, tiles;
    int first_tile, end_tile, first_row, end_row;
    ptrdiff_t row;
    size_t plane; /* floats of a split, whole tiles */
    float *coarse, *group, *chain, *squeezed, *structure;
    float *splits, *sums;
    float *patches, *products, *weighed, *attention;
} Worker;

/* The weights of an ISAB. */
typedef struct {
    const float *enter, *enter_bias, *convolution, *convolution_bias;
    const float *first, *first_bias, *second, *second_bias;
    const float *leave, *leave_bias;
} Block;

static float *pixel(const Worker *w, float *map, int y, int x)
{
    return map + (y + BORDER) * w->row + (ptrdiff_t)(x + BORDER) * w->shape.channels;
}

/* Products of some tiles, from `depth` channels of a map to all channels, in Winograd's form, bias included. */
INLINE void products_of_tiles(Worker *w, int first, int count, float *map, int channel, int depth, const float *kernels,
                              const float *bias)
{
    int c = w->shape.channels;
    for (int t = 0; t < count; t++) {
        int y = TILE * ((first + t) / w->across), x = TILE * ((first + t) % w->across);
        transform_patch(pixel(w, map, y - 1, x - 1) + channel, w->row, c, depth,
                        w->patches + (size_t)t * POSITIONS * depth);
    }
    multiply_tiles(count, w->patches, kernels, bias, depth, c, w->products);
}

/* The splits of the squeezed features, after ReLU, and for every tile the sum over its pixels and all splits. */
FAST static void split(Worker *w, const Block *block)
{
    int c = w->shape.channels, depth = c / w->shape.splits;
    ptrdiff_t row = (ptrdiff_t)TILE * w->across * c;
    for (int s = 0; s < w->shape.splits; s++)
        for (int first = w->first_tile; first < w->end_tile; first += TILES) {
            int count = least(TILES, w->end_tile - first);
            products_of_tiles(w, first, count, w->squeezed, s * depth, depth,
                              block->convolution + (size_t)s * POSITIONS * depth * c, block->convolution_bias + s * c);
            for (int t = 0; t < count; t++) {
                int y = TILE * ((first + t) / w->across), x = TILE * ((first + t) % w->across);
                int high = w->height - y, wide = w->width - x;
                for (int k = 0; k < c; k += LANES) {
                    floats results[TILE][TILE], sum = all(0);
                    float *to = w->splits + s * w->plane + y * row + (ptrdiff_t)x * c + k;
                    results_of_tile(w->products + (size_t)t * POSITIONS * c + k, c, results);
#pragma GCC unroll 4
                    for (int i = 0; i < TILE; i++)
#pragma GCC unroll 4
                        for (int j = 0; j < TILE; j++) {
                            floats value = positive(results[i][j]);
                            sum += value;
                            store(to + i * row + j * c, value);
                        }
                    if (high < TILE || wide < TILE) { /* beyond the picture nothing counts */
                        sum = all(0);
                        for (int i = 0; i < least(high, TILE); i++)
                            for (int j = 0; j < least(wide, TILE); j++)
                                sum += load(to + i * row + j * c);
                    }
                    float *total = w->sums + (size_t)(first + t) * c + k;
                    store(total, s ? load(total) + sum : sum);
                }
            }
        }
}

/* to = convolution of `from`, plus its bias, plus another map. */
FAST static void convolve(Worker *w, float *from, const float *kernels, const float *bias, float *plus, float *to)
{
    int c = w->shape.channels;
    for (int first = w->first_tile; first < w->end_tile; first += TILES) {
        int count = least(TILES, w->end_tile - first);
        products_of_tiles(w, first, count, from, 0, c, kernels, bias);
        for (int t = 0; t < count; t++) {
            int y = TILE * ((first + t) / w->across), x = TILE * ((first + t) % w->across);
            for (int k = 0; k < c; k += LANES) {
                floats results[TILE][TILE];
                results_of_tile(w->products + (size_t)t * POSITIONS * c + k, c, results);
                for (int i = 0; i < least(w->height - y, TILE); i++)
                    for (int j = 0; j < least(w->width - x, TILE); j++)
                        store(pixel(w, to, y + i, x + j) + k,
                              results[i][j] + load(pixel(w, plus, y + i, x + j) + k));
            }
        }
    }
}

/* squeezed = ReLU(1 x 1 convolution of `from`). */
FAST static void enter(Worker *w, float *from, const Block *block)
{
    int c = w->shape.channels;
    for (int y = w->first_row; y < w->end_row; y++)
        multiply(w->width, pixel(w, from, y, 0), c, block->enter, c, c, (Finish){.bias = block->enter_bias, .relu = 1},
                 pixel(w, w->squeezed, y, 0), c);
}

/* The weights of the splits, from the sums of all tiles; every thread makes its own. */
FAST static void attend(Worker *w, const Block *block)
{
    int c = w->shape.channels, splits = w->shape.splits, hidden = w->shape.hidden;
    float *weights = w->attention, *mean = weights + splits * c, *inner = mean + c;
    for (int k = 0; k < c; k += LANES) {
        floats sum = all(0);
        for (int t = 0; t < w->tiles; t++)
            sum += load(w->sums + (size_t)t * c + k);
        store(mean + k, sum / ((float)w->height * (float)w->width));
    }
    multiply(1, mean, c, block->first, c, hidden, (Finish){.bias = block->first_bias, .relu = 1}, inner, hidden);
    multiply(1, inner, hidden, block->second, hidden, splits * c, (Finish){.bias = block->second_bias}, weights,
             splits * c);
    for (int k = 0; k < c; k++) {
        float top = weights[k], total = 0;
        for (int s = 1; s < splits; s++)
            top = fmaxf(top, weights[s * c + k]);
        for (int s = 0; s < splits; s++)
            total += weights[s * c + k] = expf(weights[s * c + k] - top);
        for (int s = 0; s < splits; s++)
            weights[s * c + k] /= total;
    }
}

/* to = ReLU(1 x 1 convolution of the weighed splits + from), and what `next` makes of it at its entrance. */
FAST static void leave(Worker *w, const Block *block, float *from, float *to, const Block *next)
{
    int c = w->shape.channels, splits = w->shape.splits;
    for (int y = w->first_row; y < w->end_row; y++)
        for (int x = 0; x < w->width; x += PIXELS) {
            int count = least(PIXELS, w->width - x);
            const float *features = w->splits + ((ptrdiff_t)y * TILE * w->across + x) * c;
            for (int i = 0; i < count; i++)
                for (int k = 0; k < c; k += LANES) {
                    floats sum = all(0);
                    for (int s = 0; s < splits; s++)
                        sum += load(w->attention + s * c + k) * load(features + s * w->plane + i * c + k);
                    store(w->weighed + i * c + k, sum);
                }
            multiply(count, w->weighed, c, block->leave, c, c,
                     (Finish){block->leave_bias, pixel(w, from, y, x), .relu = 1}, pixel(w, to, y, x), c);
            if (next)
                multiply(count, pixel(w, to, y, x), c, next->enter, c, c,
                         (Finish){.bias = next->enter_bias, .relu = 1}, pixel(w, w->squeezed, y, x), c);
        }
}

/* The rest of an ISAB whose entrance is done. */
static void finish_block(Worker *w, const Block *block, float *from, float *to, const Block *next)
{
    meet(w->team);
    split(w, block);
    meet(w->team);
    attend(w, block);
    leave(w, block, from, to, next);
}

/* coarse = 3 x 3 convolution of the picture (height + 2, width + 2, 3), whose border is zeros. */
FAST static void head(Worker *w, const float *picture, const float *kernels, const float *bias)
{
    int c = w->shape.channels;
    float patches[ROWS * HEAD_STEP];
    for (int y = w->first_row; y < w->end_row; y++)
        for (int x = 0; x < w->width; x += ROWS) {
            int count = least(ROWS, w->width - x);
            for (int i = 0; i < count; i++)
                for (int k = 0; k < 3; k++)
                    memcpy(patches + i * HEAD_STEP + k * 9, picture + ((ptrdiff_t)(y + k) * (w->width + 2) + x + i) * 3,
                           9 * sizeof(float));
            multiply(count, patches, HEAD_STEP, kernels, HEAD_DEPTH, c, (Finish){.bias = bias},
                     pixel(w, w->coarse, y, x), c);
        }
}

/* Which of KINDS kernels a row or column has: the layers of the tail pad with zeros at borders of their own. */
static int kind(int i, int length) { return i < 2 ? i : i < length - 2 ? 2 : i - (length - KINDS); }

/* result (height, width, outputs) = 5 x 5 convolution, for every pair of kinds [5][5 * channels] in panels. */
FAST static void tail(Worker *w, float *from, const float *kernels, const float *biases, float *result)
{
    int c = w->shape.channels, outputs = w->shape.outputs, depth = REACH * c;
    for (int y = w->first_row; y < w->end_row; y++)
        for (int x = 0, count; x < w->width; x += count) {
            int column = kind(x, w->width), pair = kind(y, w->height) * KINDS + column;
            count = column == 2 ? w->width - 2 - x : 1;
            for (int k = 0; k < REACH; k++) {
                float *to = result + ((ptrdiff_t)y * w->width + x) * outputs;
                const float *left = pixel(w, from, y + k - BORDER, x - BORDER);
                const float *panels = kernels + ((ptrdiff_t)pair * REACH + k) * depth * outputs;
                if (k)
                    multiply(count, left, c, panels, depth, outputs, (Finish){.plus = to}, to, outputs);
                else
                    multiply(count, left, c, panels, depth, outputs, (Finish){.bias = biases + pair * outputs}, to,
                             outputs);
            }
        }
}

static Block take_block(const Shape *shape, const float **weights)
{
    size_t c = shape->channels, hidden = shape->hidden, wide = c * shape->splits;
    Block block;
    block.enter = take(weights, c * c);
    block.enter_bias = take(weights, c);
    block.convolution = take(weights, POSITIONS * c * c);
    block.convolution_bias = take(weights, wide);
    block.first = take(weights, c * hidden);
    block.first_bias = take(weights, hidden);
    block.second = take(weights, hidden * wide);
    block.second_bias = take(weights, wide);
    block.leave = take(weights, c * c);
    block.leave_bias = take(weights, c);
    return block;
}

static size_t tiles_in(int length) { return (length + TILE - 1) / TILE; }

static size_t map_size(const Shape *shape, int height, int width)
{
    return (TILE * tiles_in(height) + 2 * BORDER) * (TILE * tiles_in(width) + 2 * BORDER) * shape->channels;
}

static size_t plane_size(const Shape *shape, int height, int width)
{
    return tiles_in(height) * tiles_in(width) * TILE * TILE * shape->channels;
}

static size_t own_size(const Shape *shape)
{
    size_t c = shape->channels;
    return (2 * TILES * POSITIONS + PIXELS + shape->splits + 1) * c + shape->hidden;
}

static Worker start(Team *team, int rank, const Task *task)
{
    Worker w = {.team = team, .shape = *task->shape, .height = task->height, .width = task->width};
    size_t c = w.shape.channels, map = map_size(task->shape, w.height, w.width);
    w.across = (int)tiles_in(w.width);
    w.tiles = (int)tiles_in(w.height) * w.across;
    w.first_tile = share(w.tiles, rank, team->count);
    w.end_tile = share(w.tiles, rank + 1, team->count);
    w.first_row = share(w.height, rank, team->count);
    w.end_row = share(w.height, rank + 1, team->count);
    w.row = (ptrdiff_t)(TILE * w.across + 2 * BORDER) * c;
    w.plane = plane_size(task->shape, w.height, w.width);
    w.coarse = task->scratch;
    w.group = w.coarse + map;
    w.chain = w.group + map;
    w.squeezed = w.chain + map;
    w.structure = w.squeezed + map;
    w.splits = w.structure + map;
    w.sums = w.splits + w.plane * w.shape.splits;
    w.patches = w.sums + w.tiles * c + rank * own_size(task->shape);
    w.products = w.patches + TILES * POSITIONS * c;
    w.weighed = w.products + TILES * POSITIONS * c;
    w.attention = w.weighed + PIXELS * c;
    if (rank == 0)
        memset(task->scratch, 0, 5 * map * sizeof(float));
    meet(team);
    return w;
}

static void run(Team *team, int rank, void *argument)
{
    const Task *task = argument;
    const float *weights = task->weights;
    Worker w = start(team, rank, task);
    size_t c = w.shape.channels, kernels = POSITIONS * c * c, outputs = w.shape.outputs;

    const float *first = take(&weights, HEAD_DEPTH * c);
    head(&w, task->picture, first, take(&weights, c));
    float *group = w.coarse;
    for (int g = 0; g < w.shape.groups; g++) {
        float *from = group;
        Block block = take_block(&w.shape, &weights);
        enter(&w, from, &block);
        for (int b = 0; b < w.shape.blocks; b++) {
            Block next = take_block(&w.shape, &weights);
            finish_block(&w, &block, from, w.chain, b + 1 < w.shape.blocks ? &next : NULL);
            block = next;
            from = w.chain;
        }
        /* The last one taken is that of the structure path, which starts where the chain did. */
        enter(&w, group, &block);
        finish_block(&w, &block, group, w.structure, NULL);
        meet(team);
        const float *last = take(&weights, kernels);
        convolve(&w, w.chain, last, take(&weights, c), w.structure, w.group);
        meet(team);
        group = w.group;
    }
    const float *body = take(&weights, kernels);
    convolve(&w, group, body, take(&weights, c), w.coarse, w.chain);
    meet(team);
    const float *whole = take(&weights, KINDS * KINDS * REACH * REACH * c * outputs);
    tail(&w, w.chain, whole, take(&weights, KINDS * KINDS * outputs), task->result);
}

/* Floats of scratch memory that `faceup_sisn` needs. */
PUBLIC size_t faceup_sisn_scratch(const Shape *shape, int height, int width, int threads)
{
    return 5 * map_size(shape, height, width) + shape->splits * plane_size(shape, height, width) +
           tiles_in(height) * tiles_in(width) * shape->channels + threads_of(threads) * own_size(shape);
}

/* Enlarge a picture: `picture` is (height + 2, width + 2, 3), RGB less the mean, in the network's unit, with a border
   of zeros; `result` gets (height, width, outputs). Height and width are 4 or more. The result does not depend on the
   number of threads. */
PUBLIC void faceup_sisn(const Shape *shape, const float *weights, const float *picture, int height, int width,
                        float *result, float *scratch, int threads)
{
    Task task = {shape, weights, picture, height, width, result, scratch};
    run_team(threads, run, &task);
}
