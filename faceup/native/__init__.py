"""The project's own code in C, for what no library does quickly enough on the CPU; built where there is a C compiler.

`setup.py` builds it with GCC or Clang when the package is installed. Without it everything runs, slower, on libraries.
"""

from __future__ import annotations

import ctypes
from functools import cache
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

# Of `faceup_native_version`; a library that was built from other sources is not used.
VERSION = 1
_FOLDER = Path(__file__).parent


@cache
def library() -> ctypes.CDLL | None:
    """Return the library; None where it was not built, not from these sources, or not for this processor.

    Its functions let go of Python's lock while they run.
    """
    for suffix in EXTENSION_SUFFIXES:
        file = _FOLDER / f"_native{suffix}"
        if file.is_file():
            break
    else:
        return None
    try:
        built = ctypes.CDLL(str(file))
    except OSError:
        return None
    if built.faceup_native_version() != VERSION or not built.faceup_native_usable():
        return None
    built.faceup_sisn_scratch.restype = ctypes.c_size_t
    built.faceup_sisn.restype = None
    return built
