"""What the backends made of one network have in common: finding its weights, reading its shape, checking its scale."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from torch import Tensor, nn

from faceup.errors import ConfigError, WeightsError
from faceup.networks._common import UntranslatableError
from faceup.networks.ncnn import INPUT, OUTPUT, ncnn_graph
from faceup.networks.sisn import Sisn
from faceup.networks.sisn_int8 import int8_model
from faceup.networks.sisn_native import sisn_in_c
from faceup.registry import Options
from faceup.runtime.engine import engines
from faceup.runtime.native_sr import NativeSr
from faceup.runtime.ncnn_sr import NcnnSr
from faceup.runtime.side_by_side import SideBySideSr
from faceup.runtime.torch_sr import BATCH_PIXELS, TorchSr
from faceup.types import BackendInfo
from faceup.weights import store
from faceup.weights.int8 import shipped_ranges

Config = TypeVar("Config")
Network = TypeVar("Network", bound=nn.Module)


def build_network(
    options: Options,
    info: BackendInfo,
    title: str,
    config: Callable[..., Config],
    load: Callable[[Mapping[str, Tensor], Config | None], nn.Module],
    batch_pixels: int = BATCH_PIXELS,
) -> TorchSr | SideBySideSr:
    """Build a backend that is nothing but a network; see `load_network`.

    Its one setting is `engine`: `torch`, `native` (the project's code in C), `ncnn`, `int8` (8 bits on the CPU, for
    shipped weights whose ranges are shipped), or `auto` (default), which is on the CPU the first of `native` and `ncnn`
    that is installed and that the network can be written for, and torch everywhere else.

    Args:
        options: of the backend.
        info: what the backend says of itself.
        title: the network's name in messages.
        config: the network's configuration.
        load: makes the network from the tensors and the configuration, or from the tensors alone. The network maps
            float (N, 3, H, W) RGB 0..255 to (N, 3, sH, sW).
        batch_pixels: input pixels of one batch of torch; fewer for a network that needs much memory.

    Raises:
        ConfigError: besides those of `load_network`: the engine is unknown, not installed, or not for this network.
        WeightsError: as `load_network`.
    """
    options.refuse_extra(info.name, "engine")
    wanted = options.extra.get("engine", "auto")
    names = engines(wanted, options.device)
    net = load_network(options, info, title, config, load)
    if names == ("int8",):
        return _in_8_bits(net, options, info, title)
    for name in names:
        if name in _WRITERS:
            try:
                return _WRITERS[name](net, options.scale)
            except UntranslatableError as error:
                if wanted == name:
                    raise ConfigError(f"{title} cannot be run by {name} ({error}); use engine 'torch'.") from error
    return TorchSr(net, options.scale, options.device, batch_pixels)


def _with_ncnn(net: nn.Module, scale: int) -> SideBySideSr:
    graph = ncnn_graph(net)
    return NcnnSr(graph.param, graph.weights, (INPUT, OUTPUT), scale, skip=graph.skip > 0)


def _with_native(net: nn.Module, scale: int) -> SideBySideSr:
    if not isinstance(net, Sisn):
        raise UntranslatableError("only SISN is written in C")
    return NativeSr(sisn_in_c(net), net.without_skip)


_WRITERS: dict[str, Callable[[nn.Module, int], SideBySideSr]] = {"native": _with_native, "ncnn": _with_ncnn}


def _in_8_bits(net: nn.Module, options: Options, info: BackendInfo, title: str) -> SideBySideSr:
    from faceup.runtime.int8_sr import Int8Sr  # ONNX Runtime takes a while to import

    ranges = None if options.weights else shipped_ranges(f"{info.name}-x{options.scale}")
    if ranges is None or not isinstance(net, Sisn):
        what = f"{title} x{options.scale} from a file" if options.weights else f"{info.name} x{options.scale}"
        raise ConfigError(
            f"{what} cannot be run in 8 bits: the ranges of its features are not known. Use engine 'auto'."
        )
    return Int8Sr(int8_model(net, ranges), options.scale, skip=net.config.skip == "bicubic")


def load_network(
    options: Options,
    info: BackendInfo,
    title: str,
    config: Callable[..., Config],
    load: Callable[[Mapping[str, Tensor], Config | None], Network],
) -> Network:
    """Make a network from the file of the user's or from the shipped weights `NAME-xSCALE`.

    Args:
        options: of the backend; its settings are checked by the caller.
        info: what the backend says of itself.
        title: the network's name in messages.
        config: the network's configuration, made from the options that `faceup train` writes into a safetensors file.
        load: makes the network; it has `config.scale`, and its errors say what does not fit.

    Raises:
        ConfigError: no weights of the asked scale are shipped, or the given file is for another scale.
        WeightsError: the weights are missing, damaged, or another network's.
    """
    shipped = f"{info.name}-x{options.scale}"
    if options.weights is None and shipped not in info.weights:
        raise ConfigError(_not_shipped(info, title, options.scale))
    loaded = store.load_file(options.weights) if options.weights else store.load(shipped)
    try:
        known = config(**json.loads(loaded.metadata["options"])) if "options" in loaded.metadata else None
    except (TypeError, ValueError, ConfigError) as error:
        raise WeightsError(f"{loaded.name}: its options are not {title}'s ({error}).") from error
    try:
        net = load(loaded.tensors, known)
    except (WeightsError, ConfigError) as error:
        raise WeightsError(f"{loaded.name}: {error}") from error
    made: Any = net.config
    if made.scale != options.scale:
        raise ConfigError(
            f"{loaded.name} enlarges {made.scale} times, the recipe asks for {options.scale}: use --scale."
        )
    return net


def _not_shipped(info: BackendInfo, title: str, scale: int) -> str:
    have = ", ".join(name.removeprefix(f"{info.name}-") for name in info.weights) or "none"
    return (
        f"No {title} weights for x{scale} are shipped (shipped: {have}): give a file, --sr {info.name}:FILE, an "
        "official checkpoint or one of `faceup train`."
    )
