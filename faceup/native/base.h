/* What every file of the library needs. */

#ifndef FACEUP_BASE_H
#define FACEUP_BASE_H

#include <stddef.h>
#include <stdint.h>

/* With FACEUP_PLAIN the code is what it is on other processors, which lets it be tested on this one. */
#if defined(__x86_64__) && !defined(FACEUP_PLAIN)
#define FACEUP_AVX2
#endif

#define PUBLIC __attribute__((visibility("default")))

static inline int least(int a, int b) { return a < b ? a : b; }

/* The next `count` weights. */
static inline const float *take(const float **weights, size_t count)
{
    const float *here = *weights;
    *weights += count;
    return here;
}

/* Where the share of member `rank` of `count` begins in `length` things. */
static inline int share(int length, int rank, int count) { return (int)((int64_t)length * rank / count); }

#endif
