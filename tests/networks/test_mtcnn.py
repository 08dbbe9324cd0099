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
from faceup.networks._onnx_graph import OnnxGraph
from faceup.networks.mtcnn import Layer, Network, layers, onnx_model, torch_network
from faceup.networks.mtcnn_ncnn import ENDS, ncnn_model
from faceup.runtime.ncnn_net import answer, one_by_one, open_net
from faceup.runtime.onnx_session import cpu_network
from faceup.runtime.workers import Workers
from faceup.weights import store

CASES = [("pnet", PNet, (13, 12)), ("pnet", PNet, (40, 57)), ("rnet", RNet, (24, 24)), ("onet", ONet, (48, 48))]


def network(net: list[Layer], engine: str) -> Network:
    if engine == "torch":
        return torch_network(net, torch.device("cpu"))
    if engine == "onnx":
        return cpu_network(onnx_model(net), 2)
    pytest.importorskip("ncnn")
    opened = open_net(*ncnn_model(net), 1, largest_tiles=False)
    return lambda x: torch.from_numpy(np.stack([answer(opened, planes, ENDS) for planes in x.numpy()]))


@pytest.mark.parametrize(("name", "module", "size"), CASES, ids=str)
@pytest.mark.parametrize("engine", ["torch", "onnx", "ncnn"])
def test_they_compute_what_facenet_pytorch_computes(
    name: str, module: type[torch.nn.Module], size: tuple[int, int], engine: str
) -> None:
    net = layers(name, store.load(f"mtcnn-{name}").tensors)
    run = network(net, engine)
    x = torch.from_numpy(np.random.default_rng(0).uniform(0, 255, (3, 3, *size)).astype(np.float32))
    with torch.inference_mode():
        *others, face = module()((x - 127.5) * 0.0078125)
        got = run(x)
    torch.testing.assert_close(torch.sigmoid(got[:, 0]), face[:, 1], rtol=0, atol=1e-5)
    torch.testing.assert_close(got[:, 1:], torch.cat(others, dim=1), rtol=0, atol=1e-5)
    if engine != "ncnn":
        assert len(run(x[:0])) == 0


@pytest.mark.parametrize("name", ["pnet", "rnet", "onet"])
def test_the_onnx_model_is_valid(name: str) -> None:
    model = onnx.load_from_string(onnx_model(layers(name, store.load(f"mtcnn-{name}").tensors)))
    onnx.checker.check_model(model, full_check=True)


def test_ncnn_gives_the_same_whoever_computes_it() -> None:
    pytest.importorskip("ncnn")
    net = layers("onet", store.load("mtcnn-onet").tensors)
    opened = open_net(*ncnn_model(net), 1, largest_tiles=False)
    x = torch.from_numpy(np.random.default_rng(0).uniform(0, 255, (5, 3, 48, 48)).astype(np.float32))
    wanted = torch_network(net, torch.device("cpu"))(x)
    for workers in (None, Workers(2), Workers(9)):
        run = one_by_one(opened, ENDS, 15, workers)
        torch.testing.assert_close(run(x), wanted, rtol=0, atol=1e-4)
        torch.testing.assert_close(run(x[:1]), wanted[:1], rtol=0, atol=1e-4)
        assert run(x[:0]).shape == (0, 15)


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
