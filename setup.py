"""Builds the code in C; everything else is in setup.cfg."""

import os
import runpy

from setuptools import Extension, setup

NATIVE = "faceup/native"
digest = runpy.run_path(f"{NATIVE}/sources.py")["digest"]()

# Optional: without a C compiler the package installs without it. Its vectors and threads are GCC's and Clang's.
library = Extension(
    "faceup.native._native",
    sources=[f"{NATIVE}/{name}.c" for name in ("library", "mtcnn", "sisn")],
    depends=[f"{NATIVE}/{name}.h" for name in ("base", "team", "vectors", "winograd")],
    define_macros=[("FACEUP_SOURCES", f'"{digest}"')],
    extra_compile_args=["-O3", "-std=gnu11", "-ffp-contract=fast", "-fvisibility=hidden"],
    libraries=["m", "pthread"],
    optional=True,
)

setup(ext_modules=[library] if os.name == "posix" else [])
