"""Builds the code in C; everything else is in setup.cfg."""

import os

from setuptools import Extension, setup

# Optional: without a C compiler the package installs without it. Its vectors and threads are GCC's and Clang's.
NATIVE = Extension(
    "faceup.native._native",
    sources=[f"faceup/native/{name}.c" for name in ("library", "mtcnn", "sisn")],
    depends=[f"faceup/native/{name}.h" for name in ("base", "team", "vectors", "winograd")],
    extra_compile_args=["-O3", "-std=gnu11", "-fvisibility=hidden"],
    libraries=["m", "pthread"],
    optional=True,
)

setup(ext_modules=[NATIVE] if os.name == "posix" else [])
