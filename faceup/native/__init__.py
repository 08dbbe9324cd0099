"""The project's own code in C, for what no library does quickly enough on the CPU; built where there is a C compiler.

`setup.py` builds it with GCC or Clang when the package is installed, so after a change of its sources
`pip install -e .` builds it again. Without it everything runs, slower, on libraries.
"""

from __future__ import annotations

import ctypes
from functools import cache
from importlib.machinery import EXTENSION_SUFFIXES
from typing import Any

import numpy.typing as npt

from faceup.native import sources

_FOLDER = sources.FOLDER


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
        found = ctypes.CDLL(str(file))
        found.faceup_native_sources.restype = ctypes.c_char_p
        # In a checkout the sources may be newer than what was built of them.
        fresh = not sources.sources() or found.faceup_native_sources().decode() == sources.digest()
        if not fresh or not found.faceup_native_usable():
            return None
        for name in ("sisn", "mtcnn"):
            getattr(found, f"faceup_{name}_scratch").restype = ctypes.c_size_t
            getattr(found, f"faceup_{name}").restype = None
    except (OSError, AttributeError):
        return None
    return found


def built() -> ctypes.CDLL:
    """Return the library, for those who know that it is there."""
    found = library()
    assert found is not None, "the code in C is not there: ask `library` first"
    return found


def address(array: npt.NDArray[Any]) -> ctypes.c_void_p:
    """Return where a contiguous array lies."""
    return ctypes.c_void_p(array.ctypes.data)
