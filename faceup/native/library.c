/* What `faceup.native` asks before it calls anything else. */

#include "base.h"

/* The hash of the sources that this was built of; `setup.py` gives it. */
PUBLIC const char *faceup_native_sources(void) { return FACEUP_SOURCES; }

/* Whether this processor has the instructions that the code was compiled for. */
PUBLIC int faceup_native_usable(void)
{
#ifdef FACEUP_AVX2
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
#else
    return 1;
#endif
}
