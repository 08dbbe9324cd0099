"""Within-class covariance normalisation, against its definition."""

from __future__ import annotations

import numpy as np
import torch

from faceup.networks.mobilefacenet import MobileFaceNet
from faceup.train.within import Matrix, normaliser, with_normaliser

D = 12


def made_up(seed: int, faces: int = 4000) -> tuple[Matrix, list[Matrix]]:
    """Faces, and two ways of seeing them badly: shifted, with more noise in some directions than in others."""
    rng = np.random.default_rng(seed)
    original = rng.normal(size=(faces, D)) + 0.3
    widths = np.array([2.0] * 4 + [0.2] * 8)
    turn = np.linalg.qr(np.random.default_rng(0).normal(size=(D, D)))[0]
    noise = [(rng.normal(size=(faces, D)) * widths * strength) @ turn.T for strength in (1.0, 0.5)]
    return original, [original + some + shift for some, shift in zip(noise, (0.5, -0.2), strict=True)]


def test_what_was_added_has_the_same_width_in_every_direction() -> None:
    original, seen = made_up(0)
    matrix, centre = normaliser(original, seen, [0.75, 0.25], 1e-9)
    np.testing.assert_allclose(matrix, matrix.T, atol=1e-12)
    np.testing.assert_allclose(np.linalg.det(matrix), 1)
    within = np.zeros((D, D))
    for weight, some in zip((0.75, 0.25), seen, strict=True):
        added = (some - original) @ matrix.T
        added -= added.mean(axis=0)
        within += weight * added.T @ added / (len(added) - 1)
    np.testing.assert_allclose(within, np.eye(D) * within[0, 0], atol=1e-6)
    wanted = original.mean(axis=0) / 2 + (0.75 * seen[0].mean(axis=0) + 0.25 * seen[1].mean(axis=0)) / 2
    np.testing.assert_allclose(centre, wanted)


def test_a_large_ridge_changes_nothing_but_the_centre() -> None:
    matrix, _ = normaliser(*made_up(1), [1, 1], 1e9)
    np.testing.assert_allclose(matrix, np.eye(D), atol=1e-6)


def test_faces_are_found_again_more_often() -> None:
    matrix, centre = normaliser(*made_up(2), [1, 1], 0.01)
    original, (seen, _) = made_up(3, 300)

    def rank_1(a: Matrix, b: Matrix) -> float:
        a, b = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (a, b))
        return float(((a @ b.T).argmax(axis=1) == np.arange(len(a))).mean())

    plain = rank_1(seen, original)
    assert plain < 0.5
    assert rank_1((seen - centre) @ matrix.T, (original - centre) @ matrix.T) > 0.7


def test_a_network_with_it_gives_what_it_makes_of_the_vectors() -> None:
    torch.manual_seed(0)
    net = MobileFaceNet().eval()
    norm = net.bn
    with torch.no_grad():
        for values in (norm.weight, norm.bias, norm.running_mean, norm.running_var):
            assert values is not None
            values.uniform_(0.5, 1.5)
    rng = np.random.default_rng(0)
    matrix, centre = rng.normal(size=(512, 512)), rng.normal(size=512)
    x = torch.from_numpy(rng.uniform(-1, 1, (2, 3, 112, 112)).astype(np.float32))
    with torch.no_grad():
        wanted = (net(x).double().numpy() - centre) @ matrix.T
        changed = MobileFaceNet().eval()
        changed.load_state_dict(with_normaliser(net.state_dict(), matrix, centre))
        got = changed(x).double().numpy()
    np.testing.assert_allclose(got, wanted, rtol=1e-4, atol=1e-4 * np.abs(wanted).max())
