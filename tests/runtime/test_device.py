"""The choice of the device, on machines with and without a GPU."""

from __future__ import annotations

import pytest
import torch

from faceup.errors import ConfigError
from faceup.runtime.device import full_float32, pick_device


@pytest.mark.parametrize(
    ("wanted", "usable", "expected"),
    [
        ("auto", False, "cpu"),
        ("auto", True, "cuda"),
        ("cpu", True, "cpu"),
        ("cpu", False, "cpu"),
        ("cuda", True, "cuda"),
    ],
)
def test_pick_device(wanted: str, usable: bool, expected: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: usable)
    assert pick_device(wanted) == expected


def test_cuda_without_a_gpu_is_refused_with_advice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ConfigError, match="asked for, but torch finds no usable NVIDIA GPU; use --device cpu"):
        pick_device("cuda")


@pytest.mark.parametrize("wanted", ["gpu", "CPU", "", "cuda:0"])
def test_other_devices_are_refused(wanted: str) -> None:
    with pytest.raises(ConfigError, match=f"one of auto, cpu, cuda, got '{wanted}'"):
        pick_device(wanted)


@pytest.mark.parametrize("allowed", [False, True])
def test_full_float32_gives_back_what_was_set(allowed: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", allowed)
    with pytest.raises(KeyError), full_float32():
        assert torch.backends.cudnn.allow_tf32 is False
        raise KeyError
    assert torch.backends.cudnn.allow_tf32 is allowed
