"""What the tests of the networks share: golden tensors, key lists, counting, a short training, weight files."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image as PilImage
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional as F

from faceup.runtime.cost import multiply_adds


@pytest.fixture(scope="session")
def golden(shared: Path) -> Callable[[str, str], tuple[dict[str, Tensor], Tensor, Tensor]]:
    """Read weights, input and output of an official network; its keys get the prefix that is asked for."""

    def read(name: str, prefix: str) -> tuple[dict[str, Tensor], Tensor, Tensor]:
        weights = load_file(shared / "golden" / f"{name}.weights.safetensors")
        tensors = load_file(shared / "golden" / f"{name}.io.safetensors")
        return {prefix + k.removeprefix("module."): v for k, v in weights.items()}, tensors["input"], tensors["output"]

    return read


@pytest.fixture(scope="session")
def key_list(shared: Path) -> Callable[[str], dict[str, Tensor]]:
    """Make zeros by the key list of an official full-size checkpoint."""

    def read(name: str) -> dict[str, Tensor]:
        rows = (line.split("\t") for line in (shared / "keys" / f"{name}.tsv").read_text("utf-8").splitlines())
        return {key: torch.zeros(json.loads(shape), dtype=getattr(torch, dtype)) for key, shape, dtype in rows}

    return read


@pytest.fixture(scope="session")
def macs() -> Callable[..., int]:
    """Count the multiply-adds of all convolutions and matrix products; the network must be on the meta device."""

    def measure(run: Callable[[Tensor], object], *size: int) -> int:
        with torch.no_grad():
            return multiply_adds(lambda: run(torch.zeros(*size, device="meta")))

    return measure


@pytest.fixture(scope="session")
def train_two_steps() -> Callable[..., None]:
    """Train on noise with L1; every trained parameter must have a finite gradient and move, every other must stay."""

    def train(net: nn.Module, scale: int, run: Callable[[Tensor], list[Tensor]] | None = None) -> None:
        generator = torch.Generator().manual_seed(0)
        lr = torch.rand(2, 3, 8, 8, generator=generator) * 255
        hr = torch.rand(2, 3, 8 * scale, 8 * scale, generator=generator) * 255
        before = {name: p.detach().clone() for name, p in net.train().named_parameters()}
        optimiser = torch.optim.Adam([p for p in net.parameters() if p.requires_grad], lr=1e-3)
        for _ in range(2):
            optimiser.zero_grad()
            outputs = run(lr) if run else [net(lr)]
            loss = sum((F.l1_loss(out, hr) for out in outputs), torch.zeros(()))
            assert torch.isfinite(loss)
            assert {out.shape for out in outputs} == {hr.shape}
            torch.autograd.backward(loss)
            for name, p in net.named_parameters():
                assert not p.requires_grad or (p.grad is not None and p.grad.isfinite().all()), name
            optimiser.step()
        for name, p in net.named_parameters():
            assert torch.equal(p, before[name]) != p.requires_grad, name

    return train


@pytest.fixture(scope="session")
def save_weights() -> Callable[..., Path]:
    """Write a network as `faceup train` does, or without its options, as an official checkpoint comes."""

    def save(path: Path, net: nn.Module, options: dict[str, object] | None = None) -> Path:
        metadata = None if options is None else {"options": json.dumps(options)}
        save_file({key: value.contiguous() for key, value in net.state_dict().items()}, path, metadata=metadata)
        return path

    return save


@pytest.fixture(scope="session")
def bicubic_skip() -> Callable[[nn.Module, nn.Module, int], None]:
    """Check that a network whose last convolution gives nothing is Pillow's enlargement, in every colour."""

    def check(net: nn.Module, last: nn.Module, scale: int) -> None:
        assert isinstance(last, nn.Conv2d)
        assert last.bias is not None
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        plane = np.random.default_rng(0).uniform(0, 255, (5, 7)).astype(np.float32)
        expected = PilImage.fromarray(plane).resize((7 * scale, 5 * scale), PilImage.Resampling.BICUBIC)
        with torch.inference_mode():
            out = net(torch.from_numpy(plane).expand(1, 3, 5, 7))
        for colour in out[0]:
            np.testing.assert_allclose(colour.numpy(), np.asarray(expected), atol=1e-3)

    return check
