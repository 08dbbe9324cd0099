/* Vectors of floats, and products of matrices whose right side lies in panels of sixteen columns.

   A matrix of `depth` rows and `width` columns in panels is [width / 16][depth][16]: the sixteen numbers that one step
   of a product needs lie together. The compilers' vector extensions are used in the place of intrinsics wherever they
   have the words, so the same code becomes AVX2 on x86-64, whose vectors have eight floats, and NEON on ARM with four:
   GCC keeps no vector in registers that is longer than the processor's. */

#ifndef FACEUP_VECTORS_H
#define FACEUP_VECTORS_H

#include "base.h"

#ifdef FACEUP_AVX2
#include <immintrin.h>
#define FAST __attribute__((target("avx2,fma")))
#define LANES 8
#else
#define FAST
#define LANES 4
#endif
#define INLINE static inline __attribute__((always_inline)) FAST

/* A product keeps ROWS x PARTS vectors of sums in registers: 12 of AVX2's 16, 24 of NEON's 32. */
enum { PANEL = 16, PARTS = PANEL / LANES, ROWS = 6 };

typedef float floats __attribute__((vector_size(4 * LANES), aligned(4)));
typedef int32_t bits __attribute__((vector_size(4 * LANES), aligned(4)));

INLINE floats load(const float *from) { return *(const floats *)from; }

INLINE void store(float *to, floats values) { *(floats *)to = values; }

INLINE floats all(float value) { return value - (floats){0}; }

INLINE floats larger(floats a, floats b)
{
#ifdef FACEUP_AVX2
    return (floats)_mm256_max_ps((__m256)a, (__m256)b);
#else
    bits first = a > b;
    return (floats)((first & (bits)a) | (~first & (bits)b));
#endif
}

INLINE floats positive(floats values) { return larger(values, all(0)); }

/* Add to `sums` the product of some rows, `step` floats apart, with one panel. */
INLINE void add_product(int rows, const float *left, ptrdiff_t step, const float *panel, int depth,
                        floats sums[ROWS][PARTS])
{
    for (int k = 0; k < depth; k++) {
        floats right[PARTS];
        for (int part = 0; part < PARTS; part++)
            right[part] = load(panel + k * PANEL + part * LANES);
#pragma GCC unroll 6
        for (int i = 0; i < rows; i++) {
            floats factor = all(left[i * step + k]);
            for (int part = 0; part < PARTS; part++)
                sums[i][part] += factor * right[part];
        }
    }
}

/* What happens to a product before it is stored. Rows of `plus` are as far apart as those of the result. */
typedef struct {
    const float *bias; /* of every column, or NULL */
    const float *plus; /* added to the result, or NULL */
    int relu;
} Finish;

/* One panel of columns of a product; `rows` is known to the compiler. */
INLINE void panel_of_product(int rows, const float *left, ptrdiff_t step, const float *panel, int depth, Finish finish,
                             float *result, ptrdiff_t result_step)
{
    floats sums[ROWS][PARTS];
#pragma GCC unroll 6
    for (int i = 0; i < rows; i++)
        for (int part = 0; part < PARTS; part++)
            sums[i][part] = finish.bias ? load(finish.bias + part * LANES) : all(0);
    add_product(rows, left, step, panel, depth, sums);
#pragma GCC unroll 6
    for (int i = 0; i < rows; i++)
        for (int part = 0; part < PARTS; part++) {
            floats values = sums[i][part];
            ptrdiff_t place = i * result_step + part * LANES;
            if (finish.plus)
                values += load(finish.plus + place);
            store(result + place, finish.relu ? positive(values) : values);
        }
}

/* Run `DO(n)` with the constant n that equals the lesser of `rows` and ROWS. */
_Static_assert(ROWS == 6, "WITH_CONSTANT has a case for each");
#define WITH_CONSTANT(rows, DO)                                                                                        \
    switch (rows) {                                                                                                    \
    case 1: DO(1); break;                                                                                              \
    case 2: DO(2); break;                                                                                              \
    case 3: DO(3); break;                                                                                              \
    case 4: DO(4); break;                                                                                              \
    case 5: DO(5); break;                                                                                              \
    default: DO(6); break;                                                                                             \
    }

/* result = left x panels. Inlined so that what `finish` leaves out costs nothing. */
INLINE void multiply(int rows, const float *left, ptrdiff_t step, const float *panels, int depth, int width,
                     Finish finish, float *result, ptrdiff_t result_step)
{
    for (int n = 0; n < width; n += PANEL)
        for (int first = 0; first < rows; first += ROWS) {
            Finish here = {finish.bias ? finish.bias + n : NULL,
                           finish.plus ? finish.plus + first * result_step + n : NULL, finish.relu};
#define SOME_ROWS(count)                                                                                               \
    panel_of_product(count, left + first * step, step, panels + (size_t)n * depth, depth, here,                        \
                     result + first * result_step + n, result_step)
            WITH_CONSTANT(rows - first, SOME_ROWS)
#undef SOME_ROWS
        }
}

#endif
