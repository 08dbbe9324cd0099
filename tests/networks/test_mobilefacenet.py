from __future__ import annotations

from collections.abc import Callable

import onnx
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from faceup.errors import WeightsError
from faceup.networks.mobilefacenet import MobileFaceNet, fold_norms, load_mobilefacenet, onnx_model
from faceup.runtime.onnx_session import cpu_network

# Table 1 of the paper at 112 x 112: what comes out of every stage, (channels, side).
TABLE = {
    "conv1": (64, 56), "conv2_dw": (64, 56), "conv_23": (64, 28), "conv_3": (64, 28), "conv_34": (128, 14),
    "conv_4": (128, 14), "conv_45": (128, 7), "conv_5": (128, 7), "conv_6_sep": (512, 7), "conv_6_dw": (512, 1),
}  # fmt: skip


def filled(state: dict[str, Tensor], seed: int = 0) -> dict[str, Tensor]:
    """Fill zeros with numbers that keep the activations of a deep network in bounds."""
    generator = torch.Generator().manual_seed(seed)

    def fill(key: str, zeros: Tensor) -> Tensor:
        if not zeros.is_floating_point():
            return zeros
        if zeros.ndim > 1:
            spread, middle = float(2 / zeros[0].numel()) ** 0.5, 0.0
        else:
            spread, middle = 0.1, 0.0 if key.endswith(("bias", "running_mean")) else 0.7
        return torch.empty(zeros.shape).normal_(middle, spread, generator=generator)

    return {key: fill(key, zeros) for key, zeros in state.items()}


@pytest.mark.parametrize(
    ("name", "embedding", "pool", "parameters"),
    [
        ("mobilefacenet_xuexingyu24_512", 512, (7, 7), 1_200_512),
        ("mobilefacenet_facexzoo_512", 512, (7, 7), 1_200_512),
        ("mobilefacenet_xiaoccer_128", 128, (7, 6), 999_552),
    ],
)
def test_official_checkpoints_load(
    key_list: Callable[[str], dict[str, Tensor]], name: str, embedding: int, pool: tuple[int, int], parameters: int
) -> None:
    state = key_list(name)
    for prefix in ("", "module."):
        net = load_mobilefacenet({prefix + key: value for key, value in state.items()})
        assert (net.embedding, net.pool) == (embedding, pool)
        assert sum(p.numel() for p in net.parameters()) == parameters
        assert not net.training
    # Every tensor of the file found its place, and no place stayed empty.
    assert sum(v.numel() for v in net.state_dict().values()) == sum(v.numel() for v in state.values())


def test_parameters_with_128_numbers() -> None:
    assert sum(p.numel() for p in MobileFaceNet(128).parameters()) == 1_003_136


def test_multiply_adds(macs: Callable[..., int]) -> None:
    with torch.device("meta"):
        assert round(macs(MobileFaceNet(128).eval(), 1, 3, 112, 112) / 1e6, 2) == 220.97


def test_stages_have_the_shapes_of_the_paper() -> None:
    net = MobileFaceNet(128).eval()
    seen: dict[str, tuple[int, ...]] = {}
    for name in TABLE:
        net.get_submodule(name).register_forward_hook(lambda _m, _i, out, name=name: seen.update({name: out.shape}))
    with torch.inference_mode():
        assert net(torch.zeros(2, 3, 112, 112)).shape == (2, 128)
    assert list(seen) == list(TABLE)
    assert seen == {name: (2, channels, side, side) for name, (channels, side) in TABLE.items()}


def xiaoccer(state: dict[str, Tensor], x: Tensor) -> Tensor:
    """Run Xiaoccer's network by the keys of its checkpoint, layer by layer."""

    def norm(x: Tensor, key: str) -> Tensor:
        mean, var, weight, bias = (state[f"{key}.{part}"] for part in ("running_mean", "running_var", "weight", "bias"))
        return F.batch_norm(x, mean, var, weight, bias)

    def block(
        x: Tensor, key: str, *, stride: int = 1, padding: int = 0, groups: int = 1, linear: bool = False
    ) -> Tensor:
        x = norm(F.conv2d(x, state[f"{key}.conv.weight"], stride=stride, padding=padding, groups=groups), f"{key}.bn")
        return x if linear else F.prelu(x, state[f"{key}.prelu.weight"])

    x = block(block(x, "conv1", stride=2, padding=1), "dw_conv1", padding=1, groups=64)
    for i in range(15):
        stride, w = (2 if i in (0, 5, 12) else 1), f"blocks.{i}.conv"
        y = F.prelu(norm(F.conv2d(x, state[f"{w}.0.weight"]), f"{w}.1"), state[f"{w}.2.weight"])
        y = F.conv2d(y, state[f"{w}.3.weight"], stride=stride, padding=1, groups=y.shape[1])
        y = F.prelu(norm(y, f"{w}.4"), state[f"{w}.5.weight"])
        y = norm(F.conv2d(y, state[f"{w}.6.weight"]), f"{w}.7")
        x = x + y if stride == 1 else y
    x = block(block(x, "conv2"), "linear7", groups=512, linear=True)
    return block(x, "linear1", linear=True).flatten(1)


def test_xiaoccers_names_mean_the_same_layers(key_list: Callable[[str], dict[str, Tensor]]) -> None:
    state = filled(key_list("mobilefacenet_xiaoccer_128"))
    x = torch.rand(2, 3, 112, 96, generator=torch.Generator().manual_seed(1)) * 2 - 1
    with torch.inference_mode():
        expected = xiaoccer(state, x)
        assert expected.std() > 0.1
        torch.testing.assert_close(load_mobilefacenet(state)(x), expected, rtol=1e-3, atol=1e-4)


def test_facexzoo_is_xuexingyu24_with_a_prefix_and_a_head(key_list: Callable[[str], dict[str, Tensor]]) -> None:
    state = filled(key_list("mobilefacenet_xuexingyu24_512"))
    assert {"backbone." + key for key in state} == set(key_list("mobilefacenet_facexzoo_512"))
    wrapped = {f"module.backbone.{key}": value for key, value in state.items()}
    wrapped["module.head.weight"] = torch.zeros(512, 10)
    x = torch.rand(1, 3, 112, 112) * 2 - 1
    with torch.inference_mode():
        assert torch.equal(load_mobilefacenet(wrapped)(x), load_mobilefacenet(state)(x))


def test_a_row_does_not_depend_on_the_others() -> None:
    net = MobileFaceNet(16)
    net.load_state_dict(filled(net.state_dict()))
    x = torch.rand(3, 3, 112, 112)
    with torch.inference_mode():
        torch.testing.assert_close(net.eval()(x)[1:2], net(x[1:2]), rtol=1e-4, atol=1e-5)


def test_foreign_and_damaged_weights_are_refused() -> None:
    state = MobileFaceNet(16).state_dict()
    cases: list[dict[str, Tensor]] = [
        {},
        {"conv1.0.weight": torch.zeros(64, 3, 3, 3), "gdconv.depthwise.weight": torch.zeros(512, 1, 7, 7)},
        {key: value for key, value in state.items() if key != "conv_3.model.2.project.bn.weight"},
        {**state, "conv_7.weight": torch.zeros(1)},
        {**state, "conv1.conv.weight": torch.zeros(64, 1, 3, 3)},
        {**state, "conv_6_dw.conv.weight": torch.zeros(512)},
        {"linear1.conv.weight": torch.zeros(16, 512, 1, 1), "blocks.15.conv.0.weight": torch.zeros(1)},
    ]
    for case in cases:
        with pytest.raises(WeightsError, match="not the weights of a MobileFaceNet"):
            load_mobilefacenet(case)


def randomised(net: MobileFaceNet) -> MobileFaceNet:
    """Give norms and slopes values of all kinds."""
    torch.manual_seed(0)
    for module in net.modules():
        if isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d)):
            nn.init.uniform_(module.running_mean, -0.5, 0.5)
            nn.init.uniform_(module.running_var, 0.5, 2)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.uniform_(module.bias, -0.5, 0.5)
        if isinstance(module, nn.PReLU):
            nn.init.uniform_(module.weight, -1, 1.5)
            with torch.no_grad():
                module.weight[:6] = torch.tensor([1, 1 + 2**-23, 1 - 2**-24, 1 - 1e-4, 0, -1])
    return net.eval()


def test_folded_norms_change_nothing_but_the_last_digits() -> None:
    net = randomised(MobileFaceNet())
    x = torch.rand(2, 3, 112, 112) * 2 - 1
    with torch.inference_mode():
        before = net(x)
        fold_norms(net)
        torch.testing.assert_close(net(x), before, rtol=1e-4, atol=1e-4 * float(before.abs().max()))
    assert not any(isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d)) for module in net.modules())


@pytest.mark.parametrize(("embedding", "pool"), [(512, (7, 7)), (128, (7, 6))])
def test_the_onnx_model_computes_what_the_network_does(embedding: int, pool: tuple[int, int]) -> None:
    net = randomised(MobileFaceNet(embedding, pool))
    x = torch.rand(3, 3, 112, 16 * pool[1]) * 2 - 1
    with torch.inference_mode():
        wanted = net.double()(x.double()).float()
        fold_norms(net.float())
        model = onnx_model(net)
        got = cpu_network(model)(x)
    onnx.checker.check_model(onnx.load_from_string(model), full_check=True)
    torch.testing.assert_close(got, wanted, rtol=1e-4, atol=1e-4 * float(wanted.abs().max()))
    assert wanted.std() > 0.1


def test_the_onnx_model_has_only_what_onnx_runtime_is_fast_at() -> None:
    net = MobileFaceNet(16).eval()
    fold_norms(net)
    operators = {node.op_type for node in onnx.load_from_string(onnx_model(net)).graph.node}
    assert operators == {"Conv", "Relu", "Add", "Flatten", "Gemm"}
