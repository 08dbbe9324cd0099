"""The five networks of LCGE and their blend."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from faceup import networks
from faceup.errors import ConfigError, WeightsError
from faceup.networks.lcge import COMPONENTS, Lcge, LcgeConfig, load_lcge

TINY = LcgeConfig(wide=3, narrow=2, scale=2)


def last(branch: nn.Module) -> nn.Conv2d:
    layer = branch.get_submodule("4")
    assert isinstance(layer, nn.Conv2d)
    return layer


def test_every_component_has_its_own_network_where_its_weight_is() -> None:
    net = Lcge(TINY).eval()
    branches = [net.rest, *net.components]
    assert len(branches) == 1 + len(COMPONENTS) == 5
    for number, branch in enumerate(branches):
        layer = last(branch)
        assert layer.bias is not None
        nn.init.zeros_(layer.weight)
        nn.init.constant_(layer.bias, number / 127.5)  # Network k changes everything by k grey levels.
    x = torch.full((1, 3, 4, 5), 100.0)
    weights = torch.zeros(1, 4, 8, 10)
    weights[0, 0, 0, 0], weights[0, 3, 1, 1] = 1, 0.25
    weights[0, 1, 2, 2], weights[0, 2, 2, 2] = 0.5, 0.5
    with torch.inference_mode():
        out = net(x, weights)[0, 0]
    assert out[0, 0].item() == pytest.approx(101, abs=1e-3)
    assert out[1, 1].item() == pytest.approx(101, abs=1e-3)
    assert out[2, 2].item() == pytest.approx(102.5, abs=1e-3)
    assert out[5, 5].item() == pytest.approx(100, abs=1e-3)


@pytest.mark.parametrize("scale", [2, 4])
def test_the_skip_is_pillows_enlargement(scale: int, bicubic_skip: Callable[[nn.Module, nn.Module, int], None]) -> None:
    net = Lcge(LcgeConfig(3, 2, scale))
    bicubic_skip(net, last(net.rest), scale)


def test_without_weights_the_picture_has_no_face() -> None:
    torch.manual_seed(0)
    net = Lcge(TINY).eval()
    x = torch.rand(2, 3, 6, 5) * 255
    with torch.inference_mode():
        torch.testing.assert_close(net(x), net(x, torch.zeros(2, 4, 12, 10)))


def test_two_training_steps(train_two_steps: Callable[..., None]) -> None:
    torch.manual_seed(0)
    net = networks.build("lcge", {"wide": 3, "narrow": 2}, 2)
    weights = torch.full((2, 4, 16, 16), 0.2)
    train_two_steps(net, 2, lambda x: [net(x, weights)])


def test_parameters_of_srcnns_size() -> None:
    # BASELINES of the field: five times SRCNN's 69,251 in colour.
    with torch.device("meta"):
        assert sum(p.numel() for p in Lcge().parameters()) == 5 * 69_251


def test_wrong_weights_and_shapes_are_refused() -> None:
    state = Lcge(TINY).state_dict()
    with pytest.raises(WeightsError, match="options of the network are missing"):
        load_lcge(state)
    with pytest.raises(WeightsError, match="do not fit"):
        load_lcge(state, LcgeConfig(4, 2, 2))


@pytest.mark.parametrize(
    "change",
    [{"wide": 0}, {"scale": 1}, {"patch": 200}, {"feather": (1.0, 0.5)}, {"ridge": 0}, {"nose": [[1, 2, 3]]},
     {"nose": [[1, 2, 3, 0]]}],
)  # fmt: skip
def test_impossible_settings_are_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="LCGE"):
        LcgeConfig(**change)


def test_settings_survive_json() -> None:
    config = LcgeConfig(3, 2, 2, nose=((1.0, 2.0, 3.0, 4.0),))
    assert LcgeConfig(**json.loads(json.dumps(config.as_dict()))) == config
