"""Two recognisers as one: its cosines are the means of theirs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from faceup import registry
from faceup.embed import mobilefacenet2_lr, mobilefacenet_duo, mobilefacenet_lr
from faceup.errors import ConfigError
from faceup.registry import Options
from faceup.types import AlignedFace, Floats


@pytest.fixture
def faces() -> list[AlignedFace]:
    rng = np.random.default_rng(0)
    return [
        AlignedFace(rng.integers(0, 256, (112, 112, 3), dtype=np.uint8), np.eye(2, 3, dtype=np.float32))
        for _ in range(5)
    ]


def cosines(rows: Floats) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    return rows.astype(np.float64) @ rows.T.astype(np.float64)


@pytest.mark.parametrize("flip", [False, True])
def test_its_cosines_are_the_means_of_both(flip: bool, faces: list[AlignedFace]) -> None:
    options = Options(extra={"flip": flip})
    first, second = (module.build(options).embed(faces) for module in (mobilefacenet_lr, mobilefacenet2_lr))
    duo = registry.build("embed", "mobilefacenet-duo", options)
    rows = duo.embed(faces)
    assert rows.shape == (5, duo.dimension) == (5, 1024)
    assert rows.dtype == np.float32
    np.testing.assert_allclose(cosines(rows), (cosines(first) + cosines(second)) / 2, atol=1e-6)
    assert np.abs(cosines(first) - cosines(second)).max() > 0.01
    assert duo.embed([]).shape == (0, 1024)


def test_it_names_both_weights_and_takes_no_file() -> None:
    assert mobilefacenet_duo.INFO.weights == ("mobilefacenet-lr", "mobilefacenet2-lr")
    with pytest.raises(ConfigError, match="'mobilefacenet-duo' takes no file"):
        registry.build("embed", "mobilefacenet-duo", Options(weights=Path("w.safetensors")))
    with pytest.raises(ConfigError, match="setting of mobilefacenet-duo"):
        registry.build("embed", "mobilefacenet-duo", Options(extra={"turn": True}))
