"""The choice of the engine that runs a super-resolution network."""

from __future__ import annotations

from faceup.errors import ConfigError, unknown_name
from faceup.native import library

ENGINES = ("auto", "torch", "native", "ncnn", "int8")


def has_ncnn() -> bool:
    """Tell whether ncnn is installed and can be loaded."""
    try:
        import ncnn  # noqa: F401
    except ImportError:
        return False
    return True


def has_native() -> bool:
    """Tell whether the project's code in C was built and this processor can run it."""
    return library() is not None


def engines(wanted: str, device: str) -> tuple[str, ...]:
    """Return the engines to try, the quickest first: the one asked for, or with `auto` all that are there.

    Not every network can be written for `native` and `ncnn`; `torch`, the last of `auto`, runs all. 8 bits are never
    taken unasked.

    Args:
        wanted: one of `ENGINES`.
        device: `cpu` or `cuda`, already decided.

    Raises:
        ConfigError: another name, the engine is not installed, or one for the CPU was asked for on a GPU.
    """
    if wanted not in ENGINES:
        raise unknown_name("engine", str(wanted), ENGINES)
    if wanted == "auto":
        there = {"native": has_native, "ncnn": has_ncnn} if device == "cpu" else {}
        return (*(name for name, is_there in there.items() if is_there()), "torch")
    if wanted != "torch" and device != "cpu":
        raise ConfigError(f"Engine '{wanted}' runs on the CPU only: use engine 'torch' or device 'cpu'.")
    if wanted == "ncnn" and not has_ncnn():
        raise ConfigError("Engine 'ncnn' needs the library: pip install 'faceup[ncnn]', or use engine 'torch'.")
    if wanted == "native" and not has_native():
        raise ConfigError(
            "Engine 'native' was not built: install faceup anew where there is a C compiler (GCC or Clang) and a "
            "processor with AVX2, or use engine 'auto'."
        )
    return (wanted,)
