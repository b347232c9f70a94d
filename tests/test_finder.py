"""Views, registration and the fused search: known geometry, known changes; nothing depends on order or side."""

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from scipy import ndimage

from chambit.core.steps import Context
from chambit.measure import finder, fusion
from chambit.measure.finder import Finder, squares
from chambit.measure.fusion import DETECTORS, Found
from chambit.measure.plants import Material, plant
from chambit.measure.registration import Registration, queries_of
from chambit.measure.safety import membership
from chambit.measure.spectrum import fourier_mellin
from chambit.measure.views import HINTS, SCORED, SOURCE, WHOLE, Window
from examinations import cohorts, examination, patients, workplace


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Context]:
    with workplace(tmp_path_factory.mktemp("finder")) as made:
        yield made


@pytest.fixture(scope="module")
def real() -> np.ndarray:
    return patients(150, 2, "r").grey


@pytest.fixture(scope="module")
def fitted(real: np.ndarray) -> Finder:
    return Finder.fit(squares(real), 1.0)


def _search(fitted: Finder, queries: np.ndarray, real: np.ndarray) -> Found:
    return fitted.search(squares(queries), squares(real), np.zeros(len(real), int))


# --- windows


@pytest.mark.parametrize("group", [*SCORED, *HINTS], ids=lambda group: group.name)
def test_every_window_averages(group: finder.Group) -> None:
    for view in group.views[:6]:
        for window in view:
            sampling = window.sampling(group.side, 0.75)
            assert sampling.shape == (group.side**2, SOURCE**2)
            assert np.asarray(sampling.sum(1)) == pytest.approx(1, abs=1e-9)
            assert sampling.data.min() >= 0


def test_the_whole_picture_is_averaged_in_squares() -> None:
    picture = np.random.default_rng(0).random((SOURCE, SOURCE))
    small = (WHOLE.sampling(16, 0.6) @ picture.ravel()).reshape(16, 16)
    assert small == pytest.approx(picture.reshape(16, 4, 16, 4).mean((1, 3)))


def test_a_window_shows_what_it_names() -> None:
    down, right = np.mgrid[:SOURCE, :SOURCE] / SOURCE
    corner = Window(0.5, 0.25, 0.5, 0.5).sampling(16, 1.0)
    rows, columns = (corner @ axis.ravel() for axis in (down, right))
    assert (rows.min(), rows.max()) == pytest.approx((0.5, 1.0), abs=0.04)
    assert (columns.min(), columns.max()) == pytest.approx((0.25, 0.75), abs=0.04)


def test_angles_are_true_in_pixels() -> None:
    """A picture twice as wide as high, squeezed into the square: its window of 20 degrees is the picture turned."""
    wide = ndimage.gaussian_filter(np.random.default_rng(1).random((64, 128)), 4)
    turned = ndimage.rotate(wide, -20, reshape=False, order=1, mode="nearest")
    squeezed = finder.shrink(np.float32(wide)[None], SOURCE)[0]
    sampled = (Window(degrees=20).sampling(32, 0.5) @ squeezed.ravel()).reshape(32, 32)
    expected = finder.shrink(np.float32(turned)[None], 32)[0]
    inner = (slice(8, 24), slice(10, 22))
    other = finder.shrink(np.float32(ndimage.rotate(wide, 20, reshape=False, order=1, mode="nearest"))[None], 32)[0]
    assert np.corrcoef(sampled[inner].ravel(), expected[inner].ravel())[0, 1] > 0.98
    assert np.corrcoef(sampled[inner].ravel(), other[inner].ravel())[0, 1] < 0.9


# --- registration


def test_a_moved_picture_is_laid_where_it_came_from(real: np.ndarray) -> None:
    population = finder.shrink(real, SOURCE)
    registration = Registration.fit(population, axes=16)
    truth = torch.tensor([[0.9, 0.05, 0.04], [-0.05, 0.92, -0.03]])
    flat = torch.from_numpy(population.reshape(len(population), -1))
    at = Window().affine(1.0)
    start = torch.from_numpy(np.float32(at)).expand(20, 2, 3)
    grid = torch.nn.functional.affine_grid(
        truth.flip(0)[:, [1, 0, 2]].expand(20, 2, 3), (20, 1, 64, 64), align_corners=False
    )
    moved = torch.nn.functional.grid_sample(
        torch.from_numpy(population[:20, None]), grid, padding_mode="border", align_corners=False
    )
    score, found = registration.align(queries_of(moved.flatten(1)), registration.prepare(flat[:20]), start)
    before = registration.compare(queries_of(moved.flatten(1)), registration.prepare(flat[:20]), start)
    strangers, _ = registration.align(queries_of(moved.flatten(1)), registration.prepare(flat[20:40]), start)
    assert score.median() > 0.9 > 0.8 > before.median()
    assert score.median() > strangers.max()
    close = (found - truth).abs().amax((1, 2)) < 0.02
    assert close.float().mean() > 0.8


# --- the spectrum


@pytest.mark.parametrize("aspect", [1.0, 0.75])
def test_the_spectrum_forgets_shifts_turns_and_flips(aspect: float) -> None:
    high, wide = round(96 * aspect), 96
    blobs = np.random.default_rng(4).normal(size=(12, high, wide))
    y, x = np.mgrid[:high, :wide]
    round_ = np.exp(-((y - high / 2) ** 2 + (x - wide / 2) ** 2) / (2 * (high / 6) ** 2))
    pictures = np.stack([ndimage.gaussian_filter(blob, 2) * round_ for blob in blobs])

    def told(changed: list[np.ndarray]) -> np.ndarray:
        squeezed = finder.shrink(np.float32(changed), SOURCE)
        vectors = fourier_mellin(squeezed, aspect)
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)

    own = told(list(pictures))
    changes = {
        "turned 33": [ndimage.rotate(p, 33, reshape=False, order=1) for p in pictures],
        "moved": [ndimage.shift(p, (3, -4), order=1) for p in pictures],
        "mirrored": [p[:, ::-1] for p in pictures],
        "negative": list(-pictures),
    }
    for name, changed in changes.items():
        likeness = told(changed) @ own.T
        assert (likeness.argmax(1) == np.arange(12)).all(), name


# --- the search


@pytest.mark.parametrize(
    ("family", "detector"),
    [
        ("exact", "frame"),
        ("inverted", "frame"),
        ("turn90", "detail"),
        ("blend50", "detail"),
        ("half", "quarter"),
        ("quarter", "quarter"),
        ("rotate15", "registered"),
        ("crop90", "registered"),
        ("bottom30", "registered"),
        ("rotate30", "spectrum"),
        ("shift5", "spectrum"),
    ],
)
def test_each_detector_finds_what_it_is_for(fitted: Finder, real: np.ndarray, family: str, detector: str) -> None:
    made = plant(real[:40], family, np.random.default_rng(3), Material(patients(60, 9, "o").grey))
    found = _search(fitted, made, real)
    own = found.index[:, 0, DETECTORS.index(detector)] == np.arange(40)
    assert own.mean() >= 0.85


def test_the_turn_and_the_map_are_told(fitted: Finder, real: np.ndarray) -> None:
    found = _search(fitted, 1 - real[:20, :, ::-1], real)
    frame = DETECTORS.index("frame")
    assert (found.index[:, 0, frame] == np.arange(20)).all()
    assert (found.turn[:, 0, frame] == 12).all()  # mirrored (4), and the negative of it (8 more)
    tilted = plant(real[:20], "bottom30", np.random.default_rng(0))
    maps = _search(fitted, tilted, real).affine[:, 0]
    assert np.median(maps[:, 0, 0]) == pytest.approx(0.7, abs=0.03)  # 70 % of the height
    assert np.median(maps[:, 1, 1]) == pytest.approx(1.0, abs=0.03)


def test_neither_batches_nor_blocks_nor_order_change_anything(
    fitted: Finder, real: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    queries = patients(30, 5, "q").grey
    whole = _search(fitted, queries, real)
    order = np.random.default_rng(0).permutation(30)
    mixed = _search(fitted, queries[order], real)
    assert mixed.score == pytest.approx(whole.score[order], abs=1e-4)
    monkeypatch.setattr(finder, "QUERIES", 14)
    monkeypatch.setattr(finder, "PART", 6)
    small = _search(fitted, queries, real)
    assert small.score == pytest.approx(whole.score, abs=1e-4)
    monkeypatch.setattr(finder, "REFERENCES", 40)
    blocks = _search(fitted, queries, real)
    registered = DETECTORS.index("registered")
    others = np.arange(len(DETECTORS)) != registered
    assert blocks.score[..., others] == pytest.approx(whole.score[..., others], abs=1e-4)
    # each block proposes candidates of its own, so more references are registered, never fewer
    assert (blocks.score[..., registered] >= whole.score[..., registered] - 1e-4).all()


def test_the_scale_is_that_of_strangers(fitted: Finder, real: np.ndarray) -> None:
    found = _search(fitted, patients(200, 8, "a").grey, real)
    z = (found.score[:, 0] - found.scale().start) / found.scale().excess
    assert np.quantile(z, 0.8, axis=0) == pytest.approx(0, abs=1e-3)
    for k in range(len(DETECTORS)):
        assert z[z[:, k] > 0, k].mean() == pytest.approx(1, abs=0.02)


def test_contrast_takes_the_other_groups_best_off() -> None:
    d, registered = len(DETECTORS), DETECTORS.index("registered")
    score = np.full((1, 2, d), 0.1, np.float32)  # one query, two groups
    score[0, :, 0], score[0, :, registered] = (0.5, 0.4), (0.2, 1.0)
    index = np.stack([np.arange(d), 10 + np.arange(d)])[None]
    turn = np.zeros((1, 2, d), np.int8)
    turn[0, 1, registered] = 5
    affine = np.stack([np.zeros((2, 3)), np.ones((2, 3))])[None].astype(np.float32)
    both = Found(score, index, turn, affine).contrasted()
    assert both.score[0, 0, 0] == pytest.approx(0.5 - fusion.CONTRAST * 0.4)
    assert both.score[0, 0, registered] == pytest.approx(1.0 - fusion.CONTRAST * 0.2)
    assert both.index[0, 0, 0] == 0
    assert both.index[0, 0, registered] == 10 + registered
    assert both.turn[0, 0, registered] == 5
    assert (both.affine == 1).all()  # of the group whose registered reference was better
    alone = Found(score[:, :1], index[:, :1], turn[:, :1], affine[:, :1])
    assert alone.contrasted() is alone


def test_flat_pictures_are_nobodys_copy(fitted: Finder, real: np.ndarray) -> None:
    strangers = _search(fitted, patients(100, 8, "a").grey, real)
    flat = _search(fitted, np.full((3, 32, 32), 0.4, np.float32), real).fused(strangers.scale())
    assert np.isfinite(flat.score).all()
    assert flat.score.max() < strangers.fused(strangers.scale()).score.max() + 3


def test_membership_does_not_look_at_the_side(context: Context) -> None:
    """Train and holdout exchanged: every released image has the same nearest person as before."""
    given = cohorts(90, train=100, holdout=140, synthetic=60)
    people = np.concatenate([given["train"].subjects, given["holdout"].subjects])
    pool = membership.Pool.of(examination(context, given), np.repeat([0, 1], [100, 140]))
    score, index = pool.nearest(given["synthetic"].grey)
    swapped = given | {"train": given["holdout"], "holdout": given["train"]}
    again = np.concatenate([swapped["train"].subjects, swapped["holdout"].subjects])
    other = membership.Pool.of(examination(context, swapped), np.repeat([0, 1], [140, 100]))
    score_again, index_again = other.nearest(given["synthetic"].grey)
    assert score_again == pytest.approx(score, abs=0.05)
    assert (people[index] == again[index_again]).mean() > 0.98
