"""SISN in C against the network in torch, with all shapes that it is written for."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from benchmarks.bench_sr_engine import folded_copy, random_net
from faceup.errors import ConfigError
from faceup.native import library
from faceup.native.sisn import SMALLEST_SIDE
from faceup.networks._common import UntranslatableError
from faceup.networks._native_writer import winograd
from faceup.networks.sisn import Sisn, SisnConfig
from faceup.networks.sisn_native import sisn_in_c
from faceup.runtime.native_sr import NativeSr
from faceup.types import Floats

needs_native = pytest.mark.skipif(library() is None, reason="the code in C was not built")


def seeded(config: SisnConfig) -> Sisn:
    """Return a folded network in which every weight counts, norms and mean shifts too."""
    net = random_net(config)
    for shift in (net.sub_mean, net.add_mean):  # a training may move them
        shift.weight += 0.05 * torch.randn_like(shift.weight)
    return folded_copy(net)


def in_torch(net: Sisn, planes: Floats) -> Floats:
    """Return the exact answer: the same weights in float64."""
    with torch.inference_mode():
        return net.double().without_skip(torch.from_numpy(planes).double()[None])[0].float().numpy()


def in_c(net: Sisn, planes: Floats, threads: int = 1) -> Floats:
    return NativeSr(sisn_in_c(net), net.without_skip)._run(planes, threads)


def noise(height: int, width: int, seed: int = 0) -> Floats:
    return np.random.default_rng(seed).integers(0, 256, (3, height, width)).astype(np.float32)


@needs_native
@settings(max_examples=25, deadline=None)
@given(
    groups=st.integers(1, 2),
    blocks=st.integers(1, 2),
    width=st.sampled_from([(16, 1), (16, 2), (32, 4), (48, 2), (64, 8)]),
    scale=st.sampled_from([2, 4, 8]),
    unit=st.sampled_from([1.0, 64.0]),
    skip=st.sampled_from(["none", "bicubic"]),
    size=st.tuples(st.integers(SMALLEST_SIDE, 30), st.integers(SMALLEST_SIDE, 30)),
    threads=st.integers(1, 3),
)
def test_every_shape_gives_the_answer_of_torch(
    groups: int, blocks: int, width: tuple[int, int], scale: int, unit: float, skip: str, size: tuple[int, int],
    threads: int,
) -> None:  # fmt: skip
    channels, radix = width
    net = seeded(SisnConfig(groups, blocks, channels, radix, scale, "direct", skip=skip, unit=unit))
    planes = noise(*size)
    ours, exact = in_c(net, planes, threads), in_torch(net, planes)
    assert ours.shape == exact.shape == (3, scale * size[0], scale * size[1])
    assert np.abs(exact).max() > 1
    assert np.abs(ours - exact).max() < 0.002  # grey levels


@needs_native
def test_the_answer_does_not_depend_on_the_number_of_threads() -> None:
    net, planes = seeded(SisnConfig(1, 2, 32, head="direct")), noise(45, 31)
    alone = in_c(net, planes)
    for threads in (2, 3, 5, 200):
        np.testing.assert_array_equal(in_c(net, planes, threads), alone)


@needs_native
def test_memory_of_the_picture_before_leaves_no_trace() -> None:
    net = seeded(SisnConfig(1, 1, 16, 2, 2, head="direct"))
    engine = NativeSr(sisn_in_c(net), net.without_skip)
    sizes = [(20, 20), (9, 14), (20, 20), (4, 6), (33, 5)]
    for planes in (noise(*size, seed) for seed, size in enumerate(sizes)):
        np.testing.assert_array_equal(engine._run(planes, 1), in_c(net, planes))
    assert engine.free()
    assert not engine.free()


@needs_native
@pytest.mark.parametrize("size", [(1, 1), (1, 9), (3, 40), (40, 3)])
def test_pictures_too_small_for_the_kernels_are_run_by_torch(size: tuple[int, int]) -> None:
    net = seeded(SisnConfig(1, 1, 16, 2, 4, head="direct"))
    ours, planes = in_c(net, noise(*size)), noise(*size)
    np.testing.assert_allclose(ours, in_torch(net, planes), atol=1e-3)


def test_kernels_in_winograds_form() -> None:
    """One tile by the textbook's matrices in float64: A' ((G g G') * (B' d B)) A."""
    into = np.array(
        [
            [4, 0, -5, 0, 1, 0], [0, -4, -4, 1, 1, 0], [0, 4, -4, -1, 1, 0],
            [0, -2, -1, 2, 1, 0], [0, 2, -1, -2, 1, 0], [0, 4, 0, -5, 0, 1],
        ]
    )  # fmt: skip
    out_of = np.array([[1, 1, 1, 1, 1, 0], [0, 1, -1, 2, -2, 0], [0, 1, 1, 4, 4, 0], [0, 1, -1, 8, -8, 1]])
    rng = np.random.default_rng(0)
    kernels, patch = torch.from_numpy(rng.normal(size=(32, 8, 3, 3))), torch.from_numpy(rng.normal(size=(8, 6, 6)))
    panels = winograd(kernels.numpy())
    assert panels.shape == (36, 2, 8, 16)
    moved = (into @ patch.numpy() @ into.T).reshape(8, 36)
    products = np.einsum("kp,pnkj->pnj", moved, panels).reshape(6, 6, 32).transpose(2, 0, 1)
    expected = F.conv2d(patch[None], kernels)[0].numpy()
    np.testing.assert_allclose(out_of @ products @ out_of.T, expected, atol=1e-12)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (SisnConfig(1, 1, 32, structure="isa", head="direct"), "only the public code's structure"),
        (SisnConfig(1, 1, 32, detail="conv3x3", head="direct"), "only the public code's structure"),
        (SisnConfig(1, 1, 24, 3, head="direct"), "24 channels in 3 splits"),
        (SisnConfig(1, 1, 16, 4, head="direct"), "16 channels in 4 splits"),
    ],
)
def test_other_networks_are_left_to_other_engines(config: SisnConfig, message: str) -> None:
    with pytest.raises(UntranslatableError, match=message) as caught:
        sisn_in_c(Sisn(config))
    assert isinstance(caught.value, ConfigError)
