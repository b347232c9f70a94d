"""Neighbours, balls and kernel sums in tiles against full matrices in float64, whole and without each group."""

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist

from chambit.measure import pairs
from chambit.measure.pairs import Points
from chambit.measure.utility import kernel, precision_recall

GROUPS = 5


def _sets(d: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(d)
    x, y = rng.normal(size=(300, d)), 0.9 * rng.normal(size=(211, d)) + 0.05
    y[:3] = x[:3]  # copies, at no distance
    x, y = (part.astype(np.float32).astype(float) for part in (x, y))
    return x, y, rng.integers(GROUPS, size=300), rng.integers(GROUPS, size=211)


def _parts() -> torch.Tensor:
    """All, all but one group, and two groups alone."""
    every = torch.ones(1, GROUPS, dtype=torch.bool)
    return torch.cat([every, ~torch.eye(GROUPS, dtype=torch.bool), torch.arange(GROUPS)[None] < 2])


def _plain(x: np.ndarray, y: np.ndarray, k: int) -> list[float]:
    own, other, between = (cdist(a, b, "sqeuclidean") for a, b in ((x, x), (y, y), (x, y)))
    np.fill_diagonal(own, np.inf)
    np.fill_diagonal(other, np.inf)
    mine, theirs = np.sort(own, 1)[:, k - 1], np.sort(other, 1)[:, k - 1]
    in_x, in_y = between <= mine[:, None], between <= theirs[None, :]
    return [in_x.any(0).mean(), in_y.any(1).mean(), in_x.sum(0).mean() / k, in_x.any(1).mean()]


@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("d", [3, 40, 600])
def test_all_is_what_full_matrices_say(d: int, kind: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pairs, "TILE", 128)
    monkeypatch.setattr(pairs, "MOST", 100)
    x, y, gx, gy = _sets(d)
    one, other = Points.of(x, gx, kind), Points.of(y, gy, kind)
    near = [pairs.within(part, 60) for part in (one, other)]
    distances = cdist(x, x, "sqeuclidean")
    np.fill_diagonal(distances, np.inf)
    assert near[0].nearest.square.numpy() == pytest.approx(np.sort(distances, 1)[:, :60], rel=1e-11, abs=1e-11)
    assert (near[0].nearest.which[:, 0].numpy() == distances.argmin(1)).all()
    parts = _parts()
    balls = [found.nearest.radii(5, part, part, parts) for found, part in zip(near, (one, other), strict=True)]
    seen = pairs.cross(one, other, *balls, parts)
    between = cdist(x, y, "sqeuclidean")
    assert (seen.nearest.which[:, 0].numpy() == between.argmin(0)).all()
    assert seen.nearest.square[:, 0].numpy() == pytest.approx(between.min(0), rel=1e-11, abs=1e-11)
    for case, part in enumerate(parts.numpy()):
        kept, held = part[gx], part[gy]
        inside = seen.inside[:, case].numpy()[held]
        told = [
            (inside > 0).mean(),
            seen.reached[:, case].numpy()[kept].mean(),
            inside.mean() / 5,
            seen.covered[:, case].numpy()[kept].mean(),
        ]
        assert told == pytest.approx(_plain(x[kept], y[held], 5), rel=1e-11, abs=1e-11)
    rough = 1e-6 if kind == torch.float32 else 3e-3
    cubic = (x @ x.T / d + 1) ** 3
    np.fill_diagonal(cubic, 0)
    both = (x @ y.T / d + 1) ** 3
    for a in range(GROUPS):
        for b in range(GROUPS):
            assert float(near[0].kernel[a, b]) == pytest.approx(cubic[gx == a][:, gx == b].sum(), rel=rough)
            assert float(seen.kernel[a, b]) == pytest.approx(both[gx == a][:, gy == b].sum(), rel=rough)
    assert (pairs.kernel_sums(one, other) == seen.kernel).all()


def test_a_part_is_measured_as_if_it_were_all() -> None:
    x, y, gx, gy = _sets(12)
    parts = _parts().numpy()
    one, other = Points.of(x, gx), Points.of(y, gy)
    shares = precision_recall.values(one, other, 3, parts)
    distances = kernel.partwise(one, other, parts)
    assert len(shares) == len(distances) == len(parts)
    for case, part in enumerate(parts):
        kept, held = part[gx], part[gy]
        assert distances[case] == pytest.approx(kernel.distance(x[kept], y[held]), abs=1e-7)
        # two fifths are left here, so that for a few points too few neighbours were kept
        assert shares[case] == pytest.approx(_plain(x[kept], y[held], 3), abs=0.02)


def test_neighbours_of_many_equal_points_are_found() -> None:
    """A collapsed set: all distances nil, so every pair is a candidate."""
    x = Points.of(np.ones((200, 4)))
    found = pairs.within(x, 3).nearest
    assert (found.square == 0).all()
    assert (found.which != torch.arange(200)[:, None]).all()
