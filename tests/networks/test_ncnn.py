"""Networks written for ncnn: ncnn's own answer against torch's, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from faceup.networks import ncnn as module
from faceup.networks._common import UntranslatableError, bicubic
from faceup.networks.ncnn import INPUT, OUTPUT, NcnnGraph, ncnn_graph
from faceup.networks.rcan import Rcan, RcanConfig
from faceup.networks.sisn import Sisn, SisnConfig, fold_head, fold_norms
from faceup.networks.srfbn import Srfbn, SrfbnConfig
from faceup.runtime.ncnn_sr import NcnnSr
from tests.networks.test_sisn import settle


def answer(graph: NcnnGraph, x: Tensor) -> np.ndarray:
    """What ncnn makes of one picture (3, H, W), neither clamped nor rounded; without the bicubic skip."""
    import ncnn

    net = NcnnSr(graph.param, graph.weights, (INPUT, OUTPUT), 1, skip=False)._net(1)
    extractor = net.create_extractor()
    extractor.input(INPUT, ncnn.Mat(x.numpy()).clone())
    status, out = extractor.extract(OUTPUT)
    assert status == 0
    return np.array(out)


def folded(config: SisnConfig) -> Sisn:
    net = settle(Sisn(config), seed=1)
    fold_head(net)
    fold_norms(net)
    return net


def sisn(**options: Any) -> Callable[[], nn.Module]:
    return lambda: folded(SisnConfig(**{"groups": 1, "blocks": 2, "channels": 16, "scale": 2, **options}))


@pytest.mark.parametrize("make", [
    sisn(),
    sisn(head="direct", scale=4, unit=64.0),
    sisn(radix=1), sisn(radix=2, channels=12), sisn(channels=8),
    sisn(structure="isa"), sisn(structure="identity"), sisn(structure="none"),
    sisn(detail="none"), sisn(detail="conv3x3"),
    sisn(skip="bicubic"),
    lambda: Rcan(RcanConfig(groups=1, blocks=2, channels=16, reduction=4, scale=2)),
    lambda: Rcan(RcanConfig(groups=2, blocks=1, channels=20, reduction=4, scale=3, skip="bicubic")),
    lambda: Srfbn(SrfbnConfig(channels=8, groups=2, steps=2, scale=2)),
    lambda: Srfbn(SrfbnConfig(channels=12, groups=3, steps=1, scale=4)),
])  # fmt: skip
@pytest.mark.parametrize("size", [(9, 14), (1, 1), (20, 16)])
def test_ncnn_and_torch_agree(make: Callable[[], nn.Module], size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    net: Any = make().eval()
    x = torch.rand(1, 3, *size) * 255
    graph = ncnn_graph(net)
    with torch.inference_mode():
        expected = net(x)
        if graph.skip:
            assert graph.skip == net.config.scale
            expected = expected - bicubic(x, graph.skip)
    assert (graph.skip > 0) == (getattr(net.config, "skip", "none") == "bicubic")
    np.testing.assert_allclose(answer(graph, x[0]), expected[0].numpy(), rtol=0, atol=2e-2)
    assert expected.std() > 0 or size == (1, 1)


def test_writing_leaves_the_network_as_it_is() -> None:
    net = folded(SisnConfig(groups=1, blocks=1, channels=8, scale=2))
    before = {key: value.clone() for key, value in net.state_dict().items()}
    again = ncnn_graph(net)
    assert ncnn_graph(net) == again
    assert all(torch.equal(value, net.state_dict()[key]) for key, value in before.items())


def test_norms_that_are_not_folded_are_refused() -> None:
    net = settle(Sisn(SisnConfig(groups=1, blocks=1, channels=8, scale=2)))
    fold_head(net)
    with pytest.raises(UntranslatableError):
        ncnn_graph(net)


class Wrapped(nn.Module):
    """A network that is one function of one convolution."""

    def __init__(self, function: Callable[[Tensor], Tensor], layer: nn.Module | None = None) -> None:
        super().__init__()
        self.layer, self.function = layer or nn.Conv2d(3, 3, 3, padding=1), function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(self.layer(x))


@pytest.mark.parametrize(
    "net",
    [
        Wrapped(lambda y: y, nn.Conv2d(3, 3, 3, padding=1, padding_mode="reflect")),
        Wrapped(lambda y: y, nn.Conv2d(3, 3, 3, padding=2, dilation=2)),
        Wrapped(lambda y: y, nn.Conv2d(3, 3, 3, padding=1, groups=3)),
        Wrapped(lambda y: y, nn.Conv2d(3, 3, (3, 1), padding=(1, 0))),
        Wrapped(lambda y: y, nn.Conv2d(3, 3, 3, padding="same")),
        Wrapped(lambda y: y, nn.ConvTranspose2d(3, 3, 3, stride=2, padding=1, output_padding=1)),
        Wrapped(lambda y: y, nn.PReLU(3)),
        Wrapped(lambda y: y, nn.BatchNorm2d(3)),
        Wrapped(lambda y: y.permute(0, 1, 3, 2)),
        Wrapped(lambda y: torch.cat((y, y), dim=2)),
        Wrapped(lambda y: F.interpolate(y, scale_factor=2, mode="bicubic", antialias=True)),
        Wrapped(lambda y: F.interpolate(y, scale_factor=2, mode="bilinear", align_corners=True)),
        Wrapped(lambda y: F.interpolate(y, size=(4, 4), mode="bilinear", align_corners=False)),
        Wrapped(lambda y: y.mean(dim=1, keepdim=True)),
        Wrapped(lambda y: y + y.mean(dim=(2, 3), keepdim=True)),
        Wrapped(lambda y: 255 - y),
        Wrapped(lambda y: y if y.sum() > 0 else -y),
    ],
)
def test_what_is_not_written_for_ncnn_is_refused(net: nn.Module) -> None:
    with pytest.raises(UntranslatableError):
        ncnn_graph(net.eval())


@pytest.mark.parametrize(
    "function",
    [
        lambda y: F.relu(y) + y,  # the convolution is read twice, so it must not end with the activation itself
        lambda y: y + 3.5,
        lambda y: y / 2,
        lambda y: F.relu(y * 1),
        lambda y: F.relu(F.relu(y)),
        lambda y: torch.cat((y, y), dim=1),
    ],
)
def test_small_functions(function: Callable[[Tensor], Tensor]) -> None:
    torch.manual_seed(0)
    net = Wrapped(function).eval()
    x = torch.randn(1, 3, 6, 5)
    with torch.inference_mode():
        np.testing.assert_allclose(answer(ncnn_graph(net), x[0]), net(x)[0].numpy(), rtol=0, atol=1e-5)


def test_a_bicubic_enlargement_that_is_not_the_last_addition_is_refused() -> None:
    class Inside(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.up, self.conv = nn.ConvTranspose2d(3, 3, 2, stride=2), nn.Conv2d(3, 3, 1)

        def forward(self, x: Tensor) -> Tensor:
            y: Tensor = self.conv(self.up(x) + bicubic(x, 2))
            return y

    with pytest.raises(UntranslatableError):
        module.ncnn_graph(Inside())
