"""The choice of the engine that runs a super-resolution network."""

from __future__ import annotations

from importlib.util import find_spec

from faceup.errors import ConfigError, unknown_name

ENGINES = ("auto", "torch", "ncnn")


def pick_engine(wanted: str, device: str) -> str:
    """Return `torch` or `ncnn`; `auto` takes ncnn on the CPU where it is installed.

    Args:
        wanted: one of `ENGINES`.
        device: `cpu` or `cuda`, already decided.

    Raises:
        ConfigError: another name, ncnn is not installed, or it was asked for on a GPU.
    """
    if wanted not in ENGINES:
        raise unknown_name("engine", str(wanted), ENGINES)
    installed = find_spec("ncnn") is not None
    if wanted == "auto":
        return "ncnn" if installed and device == "cpu" else "torch"
    if wanted == "ncnn" and device != "cpu":
        raise ConfigError("Engine 'ncnn' runs on the CPU only: use engine 'torch' or device 'cpu'.")
    if wanted == "ncnn" and not installed:
        raise ConfigError("Engine 'ncnn' needs the library: pip install 'faceup[ncnn]', or use engine 'torch'.")
    return wanted
