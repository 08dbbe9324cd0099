"""Neural networks as plain torch modules: layers and checkpoint keys, no files, no pictures.

A network that can be trained is a module here with `build(options, scale)`, which returns a torch module whose input
and output are float (N, 3, H, W) RGB 0..255.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from faceup.errors import ConfigError, unknown_name

if TYPE_CHECKING:
    from torch import nn


def build(name: str, options: Mapping[str, Any], scale: int) -> nn.Module:
    """Build an untrained network by the name of its module.

    Raises:
        ConfigError: no such network, it cannot be trained, or it does not know an option.
    """
    names = [module.name for module in pkgutil.iter_modules(__path__) if module.name[0] != "_"]
    if name not in names:
        raise unknown_name("network", name, names)
    module = importlib.import_module(f"{__name__}.{name}")
    if not hasattr(module, "build"):
        raise ConfigError(f"Network {name!r} cannot be trained for super-resolution.")
    try:
        net: nn.Module = module.build(dict(options), scale)
    except TypeError as error:
        raise ConfigError(f"Network {name!r}: {error}.") from error
    return net
