"""The choice of the device."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from faceup.errors import ConfigError

DEVICES = ("auto", "cpu", "cuda")


def pick_device(wanted: str) -> str:
    """Return `cpu` or `cuda`; `auto` takes the GPU when there is one.

    Raises:
        ConfigError: not one of `DEVICES`, or `cuda` without a usable GPU.
    """
    if wanted not in DEVICES:
        raise ConfigError(f"Device must be one of {', '.join(DEVICES)}, got {wanted!r}.")
    if wanted == "cpu":
        return wanted

    import torch

    usable = torch.cuda.is_available()
    if wanted == "cuda" and not usable:
        raise ConfigError("Device 'cuda' was asked for, but torch finds no usable NVIDIA GPU; use --device cpu.")
    return "cuda" if usable else "cpu"


@contextmanager
def full_float32() -> Iterator[None]:
    """Have convolutions of float32 on a GPU computed in float32 meanwhile, so that they give what the CPU gives.

    Left to itself, torch rounds what goes into them to 11 bits (TF32) on cards that multiply that faster.
    """
    import torch

    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32 = before
