/* Winograd's F(4 x 4, 3 x 3): 36 multiplications for the 16 results of a tile, where a plain convolution has 144.

   Y = A' ((G g G') * (B' d B)) A, with d the 6 x 6 inputs, g the 3 x 3 kernel, Y the 4 x 4 results, and the points
   0, 1, -1, 2, -2 and infinity (Lavin and Gray, Fast Algorithms for Convolutional Neural Networks, section 4.2).
   `faceup.networks.sisn_native` transforms the kernels. */

#ifndef FACEUP_WINOGRAD_H
#define FACEUP_WINOGRAD_H

#include "vectors.h"

enum { TILE = 4, PATCH = 6, POSITIONS = PATCH * PATCH };
/* What is added to the products here, of the points 1 and 1, is added to all 16 results. */
enum { EVERYWHERE = PATCH + 1 };

INLINE void to_winograd(const floats d[PATCH], floats t[PATCH])
{
    floats a = d[4] - 4 * d[2], b = d[3] - 4 * d[1], c = d[4] - d[2], e = 2 * (d[3] - d[1]);
    t[0] = 4 * d[0] - 5 * d[2] + d[4];
    t[1] = a + b;
    t[2] = a - b;
    t[3] = c + e;
    t[4] = c - e;
    t[5] = 4 * d[1] - 5 * d[3] + d[5];
}

INLINE void from_winograd(const floats m[PATCH], floats y[TILE])
{
    floats a = m[1] + m[2], b = m[1] - m[2], c = m[3] + m[4], e = m[3] - m[4];
    y[0] = m[0] + a + c;
    y[1] = b + 2 * e;
    y[2] = a + 4 * c;
    y[3] = b + 8 * e + m[5];
}

/* B' d B of `depth` channels: from a patch whose rows are `row` and columns `column` floats apart to [36][depth]. */
INLINE void transform_patch(const float *patch, ptrdiff_t row, ptrdiff_t column, int depth, float *to)
{
    for (int k = 0; k < depth; k += LANES) {
        floats half[PATCH][PATCH];
#pragma GCC unroll 6
        for (int x = 0; x < PATCH; x++) {
            floats d[PATCH], t[PATCH];
#pragma GCC unroll 6
            for (int y = 0; y < PATCH; y++)
                d[y] = load(patch + y * row + x * column + k);
            to_winograd(d, t);
#pragma GCC unroll 6
            for (int y = 0; y < PATCH; y++)
                half[y][x] = t[y];
        }
#pragma GCC unroll 6
        for (int y = 0; y < PATCH; y++) {
            floats t[PATCH];
            to_winograd(half[y], t);
#pragma GCC unroll 6
            for (int x = 0; x < PATCH; x++)
                store(to + (y * PATCH + x) * depth + k, t[x]);
        }
    }
}

/* A' m A of some channels: from [36][width] to the results of a tile. */
INLINE void results_of_tile(const float *products, int width, floats results[TILE][TILE])
{
    floats half[TILE][PATCH];
#pragma GCC unroll 6
    for (int x = 0; x < PATCH; x++) {
        floats m[PATCH], y[TILE];
#pragma GCC unroll 6
        for (int i = 0; i < PATCH; i++)
            m[i] = load(products + (i * PATCH + x) * width);
        from_winograd(m, y);
#pragma GCC unroll 4
        for (int i = 0; i < TILE; i++)
            half[i][x] = y[i];
    }
#pragma GCC unroll 4
    for (int i = 0; i < TILE; i++)
        from_winograd(half[i], results[i]);
}

/* The products of `count` tiles, side by side, in Winograd's form: patches [count][36][depth] and kernels, 36 matrices
   (depth, width) in panels, make products [count][36][width], bias included. */
INLINE void multiply_tiles(int count, const float *patches, const float *kernels, const float *bias, int depth,
                           int width, float *products)
{
    for (int p = 0; p < POSITIONS; p++)
        multiply(count, patches + p * depth, POSITIONS * depth, kernels + (size_t)p * depth * width, depth, width,
                 (Finish){.bias = p == EVERYWHERE ? bias : NULL}, products + p * width, POSITIONS * width);
}

#endif
