"""Any super-resolution network that the library spandrel knows, `spandrel:FILE` (ESRGAN, SwinIR, HAT, SPAN, RCAN ...).

The architecture, its size and its scale are told by the keys and shapes of the file. It is read as every other weight
file of the user's, not by spandrel's own loader, which would run TorchScript from a `.pt` file.
"""

from __future__ import annotations

import warnings
from typing import Any

from torch import Tensor, nn

from faceup.errors import ConfigError, WeightsError
from faceup.registry import Options
from faceup.runtime.torch_sr import TorchSr
from faceup.types import BackendInfo
from faceup.weights import store

# Few, because transformers need far more memory for a pixel than the compact networks of this package.
BATCH_PIXELS = 4 * 1024

INFO = BackendInfo(
    name="spandrel",
    version="1",
    licence="Apache-2.0 (this adapter); the network's is its author's",
    summary="a network of yours of any architecture that spandrel knows",
    generative=True,
)


class Adapter(nn.Module):
    """Maps float (N, 3, H, W) RGB 0..255 to (N, 3, sH, sW) through a spandrel descriptor, which works on 0..1.

    The descriptor pads what is smaller than its architecture takes, or no multiple of what it needs, and cuts that off.
    """

    def __init__(self, descriptor: Any) -> None:
        super().__init__()
        self.net = descriptor.model  # so that moving this module moves the network
        self._descriptor = descriptor

    def forward(self, x: Tensor) -> Tensor:
        """Return the enlarged pictures; `x` is left as it is, though some architectures multiply in place."""
        result: Tensor = self._descriptor(x / 255)
        return result * 255


def build(options: Options) -> TorchSr:
    """Build the backend; it has no settings.

    Raises:
        ConfigError: spandrel is not installed, no file is given, or it is for another scale.
        WeightsError: the file is damaged, of no architecture that spandrel knows, or not for super-resolution of RGB.
    """
    options.refuse_extra(INFO.name)
    if options.weights is None:
        raise ConfigError("Backend 'spandrel' has no weights of its own: give a file, --sr spandrel:FILE.")
    loaded = store.load_file(options.weights)
    descriptor = _described(loaded)
    if descriptor.scale != options.scale:
        raise ConfigError(
            f"{loaded.name} enlarges {descriptor.scale} times, the recipe asks for {options.scale}: use --scale."
        )
    half = None if descriptor.supports_half else False
    return TorchSr(Adapter(descriptor), options.scale, options.device, BATCH_PIXELS, half=half)


def _described(loaded: store.LoadedWeights) -> Any:
    try:
        from spandrel import ImageModelDescriptor, ModelLoader, UnsupportedModelError
    except ImportError as error:
        raise ConfigError("Backend 'spandrel' needs the library: pip install 'faceup[spandrel]'.") from error
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # old architectures use what torch advises against; nobody here can mend it
            descriptor = ModelLoader().load_from_state_dict(dict(loaded.tensors))
    except UnsupportedModelError as error:
        raise WeightsError(f"{loaded.name}: of no architecture that spandrel knows.") from error
    except Exception as error:  # a file that only looks like an architecture makes its loader raise nearly anything
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise WeightsError(f"{loaded.name}: spandrel cannot load it ({reason}).") from error
    name = descriptor.architecture.name
    if name == "RCAN" and "unshuffle" in descriptor.tags:
        raise WeightsError(
            f"{loaded.name}: an RCAN that starts by moving blocks into channels, as CutBlur's does. spandrel orders "
            "those channels in another way than CutBlur, and the pictures would be wrong without a word."
        )
    if not isinstance(descriptor, ImageModelDescriptor) or descriptor.purpose != "SR":
        raise WeightsError(f"{loaded.name}: a {name} network for {descriptor.purpose}, not for super-resolution.")
    channels = descriptor.input_channels, descriptor.output_channels
    if channels != (3, 3):
        raise WeightsError(
            f"{loaded.name}: a {name} network that maps {channels[0]} to {channels[1]} channels, not RGB."
        )
    return descriptor
