"""ONNX files as backends, with networks small enough to know the answer."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from faceup.errors import ConfigError, WeightsError
from faceup.registry import Options, build
from tests.contracts import check_sr
from tests.helpers import noise


def write(path: Path, nodes: list[onnx.NodeProto], constants: dict[str, np.ndarray]) -> Path:
    """Save a network from input `x` to output `y`, float32 (N, 3, H, W) with free sizes."""
    free = ["n", 3, "h", "w"]
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
    check_sr(build("sr", "onnx", Options(scale=2, weights=doubles_first_channel_only)))


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
