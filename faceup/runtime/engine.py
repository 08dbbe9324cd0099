"""The choice of the engine that runs a super-resolution network."""

from __future__ import annotations

from faceup.errors import ConfigError, unknown_name

ENGINES = ("auto", "torch", "ncnn", "int8")


def has_ncnn() -> bool:
    """Tell whether ncnn is installed and can be loaded."""
    try:
        import ncnn  # noqa: F401
    except ImportError:
        return False
    return True


def pick_engine(wanted: str, device: str) -> str:
    """Return `torch`, `ncnn` or `int8`; `auto` takes ncnn on the CPU where it is installed, and never 8 bits.

    Args:
        wanted: one of `ENGINES`.
        device: `cpu` or `cuda`, already decided.

    Raises:
        ConfigError: another name, ncnn is not installed, or an engine for the CPU was asked for on a GPU.
    """
    if wanted not in ENGINES:
        raise unknown_name("engine", str(wanted), ENGINES)
    if wanted == "auto":
        return "ncnn" if device == "cpu" and has_ncnn() else "torch"
    if wanted in ("ncnn", "int8") and device != "cpu":
        raise ConfigError(f"Engine '{wanted}' runs on the CPU only: use engine 'torch' or device 'cpu'.")
    if wanted == "ncnn" and not has_ncnn():
        raise ConfigError("Engine 'ncnn' needs the library: pip install 'faceup[ncnn]', or use engine 'torch'.")
    return wanted
