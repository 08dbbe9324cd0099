"""LPIPS against the package of its authors."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from faceup.errors import DataError, WeightsError
from faceup.metrics.lpips import MIN_SIDE, Lpips, LpipsMetric, load_lpips
from faceup.types import Image
from faceup.weights import store
from faceup.weights.convert import ALEXNET_LAYERS
from tests.helpers import grey, noise

CHANNELS = (64, 192, 384, 256, 256)


@pytest.fixture(scope="module")
def theirs() -> Any:
    """The authors' LPIPS v0.1 with their heads and a random AlexNet."""
    lpips = pytest.importorskip("lpips", reason="the package lpips is not installed (extra: test)")
    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it calls torchvision in an old way
        return lpips.LPIPS(pretrained=True, pnet_rand=True, net="alex", verbose=False)


def their_heads(theirs: Any) -> list[Tensor]:
    return [getattr(theirs, f"lin{i}").model[-1].weight.detach().ravel() for i in range(5)]


def their_trunk(theirs: Any) -> dict[str, Tensor]:
    """The weights of their trunk under torchvision's names."""
    return {f"features.{key.split('.', 1)[1]}": value for key, value in theirs.net.state_dict().items()}


def their_distance(theirs: Any, a: Image, b: Image) -> float:
    pair = [torch.from_numpy(i.pixels.copy()).permute(2, 0, 1)[None].float() / 127.5 - 1 for i in (a, b)]
    with torch.no_grad():
        return float(theirs(*pair))


@pytest.mark.parametrize("size", [(31, 31), (64, 48), (57, 100)])
def test_the_network_is_theirs(theirs: Any, size: tuple[int, int]) -> None:
    """With random features, so without any download; the heads are the real ones."""
    ours = LpipsMetric(Lpips(their_trunk(theirs), their_heads(theirs)), "cpu")
    a, b = noise(*size, seed=1), noise(*size, seed=2)
    expected = their_distance(theirs, a, b)
    assert expected > 1e-4
    assert ours(a, b) == pytest.approx(expected, rel=1e-4)
    assert ours(a, a) == 0.0
    assert ours(b, a) == pytest.approx(expected, rel=1e-4)


def test_the_pulled_heads_are_theirs_and_so_are_the_distances(theirs: Any, lpips_weights: Path) -> None:
    tensors = store.load("lpips-alex").tensors
    stored = store.load("lpips-alex-heads").tensors
    for index, head in enumerate(their_heads(theirs)):
        torch.testing.assert_close(tensors[f"heads.{index}"], head, rtol=0, atol=0)
        torch.testing.assert_close(stored[f"lin{index}.model.1.weight"].ravel(), head, rtol=0, atol=0)
    assert sum(value.numel() for key, value in tensors.items() if "features" in key) == 2_469_696
    kept = {key: value.clone() for key, value in theirs.net.state_dict().items()}
    try:
        theirs.net.load_state_dict({key: tensors[f"features.{key.split('.', 1)[1]}"] for key in kept})
        ours = load_lpips("cpu")
        for size in ((64, 64), (40, 90)):
            a, b = noise(*size, seed=3), noise(*size, seed=4)
            assert ours(a, b) == pytest.approx(their_distance(theirs, a, b), rel=1e-4)
    finally:
        theirs.net.load_state_dict(kept)


def test_blur_and_noise_are_farther_the_stronger_they_are(lpips_weights: Path) -> None:
    """A random trunk does not know this: the trunk is a trained one."""
    from skimage import data as skimage_data
    from skimage.filters import gaussian

    face = skimage_data.astronaut()[20:148, 160:288]
    blurred = [Image((gaussian(face, sigma, channel_axis=2) * 255).astype(np.uint8)) for sigma in (0.7, 1.5, 3)]
    metric = load_lpips("cpu")
    distances = [metric(picture, Image(face)) for picture in blurred]
    assert distances == sorted(distances)
    assert distances[0] < 0.15 < distances[2] < 0.8


def test_torchvisions_file_is_taken_as_the_trunk(theirs: Any, lpips_weights: Path, tmp_path: Path) -> None:
    """The user's own file has the whole AlexNet, with its classifier."""
    trunk = {**their_trunk(theirs), "classifier.6.bias": torch.zeros(1000)}
    path = tmp_path / "alexnet-owt-7be5be79.pth"
    torch.save(trunk, path)
    a, b = noise(40, 40, 5), noise(40, 40, 6)
    assert load_lpips("cpu", path)(a, b) == pytest.approx(their_distance(theirs, a, b), rel=1e-4)
    del trunk["features.6.bias"]
    torch.save(trunk, path)
    with pytest.raises(
        WeightsError, match=r"alexnet-owt-7be5be79\.pth: .*features\.6\.bias of shape \(384,\) .* nothing"
    ):
        load_lpips("cpu", path)


def test_weights_of_another_shape_are_refused() -> None:
    trunk = {f"features.{layer}.{part}": torch.zeros(1) for layer in ALEXNET_LAYERS for part in ("weight", "bias")}
    with pytest.raises(WeightsError, match=r"features\.0\.weight of shape \(64, 3, 11, 11\) is needed, got \(1,\)"):
        Lpips(trunk, [torch.zeros(size) for size in CHANNELS])


def test_pictures_that_cannot_be_compared(theirs: Any) -> None:
    metric = LpipsMetric(Lpips(their_trunk(theirs), their_heads(theirs)), "cpu")
    with pytest.raises(DataError, match="one size"):
        metric(grey(40, 40), grey(41, 40))
    with pytest.raises(DataError, match="at least 31 x 31 px, got 30 x 40"):
        metric(grey(30, 40), grey(30, 40))
    assert metric(grey(MIN_SIDE, MIN_SIDE), grey(MIN_SIDE, MIN_SIDE)) == 0.0


def test_without_the_weights_the_message_says_how_to_get_them(empty_cache: Path) -> None:
    with pytest.raises(WeightsError, match="faceup models pull lpips-alex"):
        load_lpips("cpu")
