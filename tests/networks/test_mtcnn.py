"""P-Net, R-Net and O-Net against facenet-pytorch's modules, and the ONNX writer against the package `onnx`."""

from __future__ import annotations

import dataclasses

import numpy as np
import onnx
import pytest
import torch
from facenet_pytorch.models.mtcnn import ONet, PNet, RNet
from onnx import numpy_helper

from faceup.errors import WeightsError
from faceup.native import library
from faceup.networks._onnx_graph import OnnxGraph
from faceup.networks.mtcnn import Layer, Network, layers, onnx_model, torch_network
from faceup.networks.mtcnn_native import mtcnn_in_c
from faceup.runtime.onnx_session import cpu_network
from faceup.weights import store

CASES = [("pnet", PNet, (13, 12)), ("pnet", PNet, (40, 57)), ("rnet", RNet, (24, 24)), ("onet", ONet, (48, 48))]


def network(name: str, net: list[Layer], engine: str) -> Network:
    if engine == "torch":
        return torch_network(net, torch.device("cpu"))
    if engine == "onnx":
        return cpu_network(onnx_model(net), 2)
    if library() is None:
        pytest.skip("the code in C was not built")
    made = mtcnn_in_c(name, net)
    return lambda x: torch.from_numpy(made.run(x.numpy(), 2))


@pytest.mark.parametrize(("name", "module", "size"), CASES, ids=str)
@pytest.mark.parametrize("engine", ["torch", "onnx", "native"])
def test_they_compute_what_facenet_pytorch_computes(
    name: str, module: type[torch.nn.Module], size: tuple[int, int], engine: str
) -> None:
    net = layers(name, store.load(f"mtcnn-{name}").tensors)
    run = network(name, net, engine)
    x = torch.from_numpy(np.random.default_rng(0).uniform(0, 255, (3, 3, *size)).astype(np.float32))
    with torch.inference_mode():
        *others, face = module()((x - 127.5) * 0.0078125)
        got = run(x)
    torch.testing.assert_close(torch.sigmoid(got[:, 0]), face[:, 1], rtol=0, atol=1e-5)
    torch.testing.assert_close(got[:, 1:], torch.cat(others, dim=1), rtol=0, atol=1e-5)
    assert len(run(x[:0])) == 0


@pytest.mark.parametrize("name", ["pnet", "rnet", "onet"])
def test_the_onnx_model_is_valid(name: str) -> None:
    model = onnx.load_from_string(onnx_model(layers(name, store.load(f"mtcnn-{name}").tensors)))
    onnx.checker.check_model(model, full_check=True)


@pytest.mark.skipif(library() is None, reason="the code in C was not built")
@pytest.mark.parametrize(
    ("name", "shape"),
    [
        *[("pnet", (count, height, width)) for count, height, width in [(1, 12, 300), (1, 171, 94), (2, 130, 131)]],
        *[("pnet", (5, height, width)) for height in (22, 23, 24, 25) for width in (26, 27)],
        *[("rnet", (count, 24, 24)) for count in (1, 12, 13, 61)],
        *[("onet", (count, 48, 48)) for count in (1, 12, 13, 29)],
    ],
)
def test_the_code_in_c_gives_the_same_with_any_number_of_threads(name: str, shape: tuple[int, int, int]) -> None:
    net = layers(name, store.load(f"mtcnn-{name}").tensors)
    made = mtcnn_in_c(name, net)
    count, *size = shape
    x = np.random.default_rng(0).integers(0, 256, (count, 3, *size)).astype(np.float32)
    alone = made.run(x, 1)
    with torch.inference_mode():
        wanted = torch_network(net, torch.device("cpu"))(torch.from_numpy(x)).numpy()
    np.testing.assert_allclose(alone, wanted, rtol=0, atol=1e-4)
    for threads in (2, 3, 5, 100):
        np.testing.assert_array_equal(made.run(x, threads), alone)


@pytest.mark.parametrize("slopes", [[0.25, -0.5, 1.5, 1.0, 0.0, -2.0], [0.3] * 12])
@pytest.mark.parametrize("pool", [2, 3])
def test_any_slopes_of_a_first_layer_are_right(slopes: list[float], pool: int) -> None:
    rng = np.random.default_rng(0)
    shapes = (len(slopes), 3, 3, 3), (len(slopes),), (8, len(slopes), 1, 1), (8,)
    first, bias, last, last_bias = (torch.from_numpy(rng.normal(size=shape).astype(np.float32)) for shape in shapes)
    net = [Layer(first, bias, torch.tensor(slopes), pool), Layer(last, last_bias)]
    x = torch.from_numpy(rng.normal(size=(2, 3, 17, 14)).astype(np.float32))
    wanted = torch_network(net, torch.device("cpu"))(x)
    torch.testing.assert_close(cpu_network(onnx_model(net))(x), wanted, rtol=0, atol=1e-4)


def test_weights_of_another_network_are_refused() -> None:
    with pytest.raises(WeightsError, match="not the weights of MTCNN's onet"):
        layers("onet", store.load("mtcnn-pnet").tensors)


def test_slopes_that_cannot_be_taken_apart_are_refused() -> None:
    first, second, *others = layers("rnet", store.load("mtcnn-rnet").tensors)
    assert second.slopes is not None
    steep = dataclasses.replace(second, slopes=torch.full_like(second.slopes, 1.5))
    with pytest.raises(WeightsError, match="slope of 1 or more"):
        onnx_model([first, steep, *others])


def test_the_writer_writes_what_onnx_reads() -> None:
    graph = OnnxGraph({"x": ("n", 300)})
    values = {"f": np.array([[1.5, -2]], np.float32), "i": np.array([0, -1, 2**40], np.int64)}
    names = {key: graph.constant(value) for key, value in values.items()}
    a, b = graph.add("Split", "x", names["i"], outputs=2, axis=1)
    (y,) = graph.add("MaxPool", a, kernel_shape=(2, 300))
    model = onnx.load_from_string(graph.model({y: ("n", 1), b: ("n", 150)}))
    read = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    for key, value in values.items():
        np.testing.assert_array_equal(read[names[key]], value)
        assert read[names[key]].dtype == value.dtype
    split, pool = model.graph.node
    assert (split.op_type, list(split.input), list(split.output)) == ("Split", ["x", names["i"]], [a, b])
    assert [(at.name, at.i) for at in split.attribute] == [("axis", 1)]
    assert [(at.name, list(at.ints)) for at in pool.attribute] == [("kernel_shape", [2, 300])]
    assert [dim.dim_param or dim.dim_value for dim in model.graph.input[0].type.tensor_type.shape.dim] == ["n", 300]
    assert [value.name for value in model.graph.output] == [y, b]
    assert model.opset_import[0].version == 17
