"""ONNX files as backends, with networks small enough to know the answer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from faceup.errors import ConfigError, StageError, WeightsError
from faceup.registry import Options, build
from tests.contracts import check_sr
from tests.helpers import noise


def write(path: Path, nodes: list[onnx.NodeProto], constants: dict[str, np.ndarray], batch: int | str = "n") -> Path:
    """Save a network from input `x` to output `y`, float32 (N, 3, H, W) with free sizes."""
    free = [batch, 3, "h", "w"]
    graph = helper.make_graph(
        nodes,
        "test",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, free)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [onnx.numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, path)
    return path


@pytest.fixture
def doubles_first_channel_only(tmp_path: Path) -> Path:
    """Repeats every pixel twice and keeps only channel 0."""
    resize = helper.make_node(
        "Resize", ["x", "", "scales"], ["big"], mode="nearest", coordinate_transformation_mode="asymmetric",
        nearest_mode="floor",
    )  # fmt: skip
    scales = np.array([1, 1, 2, 2], np.float32)
    mask = np.array([1, 0, 0], np.float32).reshape(1, 3, 1, 1)
    nodes = [resize, helper.make_node("Mul", ["big", "mask"], ["y"])]
    return write(tmp_path / "net.onnx", nodes, {"scales": scales, "mask": mask})


@pytest.mark.parametrize("order", ["rgb", "bgr"])
@pytest.mark.parametrize("white", [1, 255])
def test_pixels_range_and_order(doubles_first_channel_only: Path, order: str, white: int) -> None:
    settings = {"range": white, "order": order}
    backend = build("sr", "onnx", Options(scale=2, weights=doubles_first_channel_only, extra=settings))
    image = noise(5, 4)
    (out,) = backend.upscale([image])
    kept = 0 if order == "rgb" else 2
    expected = np.kron(image.pixels, np.ones((2, 2, 1), np.uint8)) * (np.arange(3) == kept).astype(np.uint8)
    np.testing.assert_array_equal(out.pixels, expected)


def test_contract(doubles_first_channel_only: Path) -> None:
    check_sr(build("sr", "onnx", Options(scale=2, weights=doubles_first_channel_only, extra={"range": 1})))


def test_a_network_exported_for_one_picture_at_a_time(tmp_path: Path) -> None:
    nodes = [helper.make_node("Identity", ["x"], ["y"])]
    check_sr(build("sr", "onnx", Options(scale=1, weights=write(tmp_path / "one.onnx", nodes, {}, batch=1))))


def test_a_size_that_the_network_does_not_take(tmp_path: Path) -> None:
    """Mirroring 3 px needs 4 px."""
    nodes = [
        helper.make_node("Pad", ["x", "pads"], ["wide"], mode="reflect"),
        helper.make_node("MaxPool", ["wide"], ["y"], kernel_shape=[7, 7]),
    ]
    path = write(tmp_path / "net.onnx", nodes, {"pads": np.array([0, 0, 3, 3, 0, 0, 3, 3], np.int64)})
    backend = build("sr", "onnx", Options(scale=1, weights=path, extra={"range": 1}))
    assert backend.upscale([noise(4, 4)])[0].pixels.shape == (4, 4, 3)
    with pytest.raises(StageError, match=r"net\.onnx: the network fails on pictures of 2 x 9 px"):
        backend.upscale([noise(4, 4), noise(2, 9)])


# Finding out the range.


def clip(top: float) -> tuple[list[onnx.NodeProto], dict[str, np.ndarray]]:
    """Gives back what lies in 0..top."""
    return [helper.make_node("Clip", ["x", "low", "top"], ["y"])], {"low": np.float32(0), "top": np.float32(top)}


def levels(step: float) -> tuple[list[onnx.NodeProto], dict[str, np.ndarray]]:
    """Rounds to whole steps: nothing is left of 0..1 when a step is one grey level of 0..255."""
    nodes = [
        helper.make_node("Div", ["x", "step"], ["a"]),
        helper.make_node("Round", ["a"], ["b"]),
        helper.make_node("Mul", ["b", "step"], ["y"]),
    ]
    return nodes, {"step": np.float32(step)}


@pytest.mark.parametrize(
    ("network", "white"), [(clip(1), 1), (levels(1.0), 255), (([helper.make_node("Identity", ["x"], ["y"])], {}), 1)]
)
def test_the_range_is_found_out(network: Any, white: int, tmp_path: Path) -> None:
    backend = build("sr", "onnx", Options(scale=1, weights=write(tmp_path / "net.onnx", *network)))
    assert backend.range == white
    image = noise(6, 5)
    np.testing.assert_array_equal(backend.upscale([image])[0].pixels, image.pixels)


@pytest.mark.parametrize(
    "network",
    [
        ([helper.make_node("Add", ["x", "much"], ["y"])], {"much": np.float32([127.5])}),
        ([helper.make_node("Pow", ["x", "two"], ["y"])], {"two": np.float32([2])}),
    ],
    ids=["grey from neither", "far from both"],
)
def test_a_range_that_cannot_be_found_out_is_asked_for(network: Any, tmp_path: Path) -> None:
    path = write(tmp_path / "net.onnx", *network)
    with pytest.raises(
        ConfigError, match=r"net\.onnx: its range cannot be found out: .* \{onnx: \{range: 1\}\}, or 255"
    ):
        build("sr", "onnx", Options(scale=1, weights=path))
    for white in (1, 255):
        assert build("sr", "onnx", Options(scale=1, weights=path, extra={"range": white})).range == white


def test_two_ranges_that_do_equally_well_are_asked_for(tmp_path: Path) -> None:
    """Grey comes back from both, but a step between pixels does not: it is damped from 0.1 on, in units of the net."""
    nodes = [
        helper.make_node("GlobalAveragePool", ["x"], ["mean"]),
        helper.make_node("Sub", ["x", "mean"], ["step"]),
        helper.make_node("Tanh", ["step"], ["damped"]),
        helper.make_node("Add", ["mean", "damped"], ["y"]),
    ]
    with pytest.raises(ConfigError, match="range cannot be found out"):
        build("sr", "onnx", Options(scale=1, weights=write(tmp_path / "net.onnx", nodes, {})))


def test_the_range_reaches_the_network(tmp_path: Path) -> None:
    """A network that adds 0.4 brightens by 0.4 of the range on 0..1 and not visibly on 0..255."""
    add = write(tmp_path / "add.onnx", [helper.make_node("Add", ["x", "half"], ["y"])], {"half": np.float32([0.4])})
    image = noise(4, 4)
    for white, shift in ((1, 102), (255, 0)):
        backend = build("sr", "onnx", Options(scale=1, weights=add, extra={"range": white}))
        (out,) = backend.upscale([image])
        expected = np.clip(image.pixels.astype(int) + shift, 0, 255)
        assert np.abs(out.pixels.astype(int) - expected).max() <= 1


def test_what_it_refuses(doubles_first_channel_only: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="enlarges 2 times, not 4"):
        build("sr", "onnx", Options(scale=4, weights=doubles_first_channel_only))
    with pytest.raises(ConfigError, match="give a file"):
        build("sr", "onnx", Options())
    with pytest.raises(ConfigError, match="range is 1 or 255"):
        build("sr", "onnx", Options(scale=2, weights=doubles_first_channel_only, extra={"range": 2}))
    with pytest.raises(WeightsError, match="cannot be read"):
        build("sr", "onnx", Options(scale=2, weights=tmp_path / "nowhere.onnx"))
    (tmp_path / "text.onnx").write_text("words")
    with pytest.raises(WeightsError, match="no network that ONNX Runtime can run"):
        build("sr", "onnx", Options(scale=2, weights=tmp_path / "text.onnx"))
    flat = write(tmp_path / "mean.onnx", [helper.make_node("GlobalAveragePool", ["x"], ["y"])], {})
    with pytest.raises(WeightsError, match="no enlargement"):
        build("sr", "onnx", Options(scale=2, weights=flat))
