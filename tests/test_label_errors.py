"""Doubtful labels: known joints, planted errors, weak classifiers that list nothing; and thin subgroups."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from scipy import ndimage

import quality as bench  # benchmarks/
from chambit.core.errors import InputError
from chambit.images.imageset import ImageSet
from chambit.prepare import quality
from chambit.prepare.quality import confident
from chambit.prepare.quality.options import Options

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


def blobs(count: int, strength: float, seed: int) -> bench.Cohort:
    """Smooth noise with a bright blob on the left ('left') or on the right ('right'); two images a subject."""
    rng = np.random.default_rng(seed)
    noise = ndimage.gaussian_filter(rng.standard_normal((count, 32, 32)), (0, 2, 2))
    side = rng.random(count) < 0.5
    y, x = np.mgrid[0:32, 0:32]
    blob = np.stack([np.exp(-((y - 16) ** 2 + (x - centre) ** 2) / 30) for centre in (8, 24)])
    grey = 0.4 + 0.5 * noise + strength * blob[side.astype(int)]
    images = np.rint(np.clip(grey, 0, 1) * 255).astype(np.uint8)
    subjects = np.array([f"p{n // 2:04d}" for n in range(count)])
    return bench.Cohort("blobs", images, subjects, np.where(side, "right", "left"))


def reviewed(cohort: bench.Cohort, root: Path, **options: object) -> tuple[ImageSet, quality.Review]:
    images = bench.stored(cohort, root)
    return images, quality.review(images, Options.model_validate(options), np.random.default_rng(0))


def test_the_joint_of_the_paper() -> None:
    given = np.array([0] * 100 + [1] * 50)
    counted = np.array([0] * 60 + [1] * 20 + [-1] * 20 + [1] * 40 + [0] * 10)
    np.testing.assert_allclose(confident.joint(given, counted, 2), [[75, 25], [10, 40]])
    nobody = confident.joint(given, np.full(150, -1), 2)
    np.testing.assert_allclose(nobody, [[100, 0], [0, 50]])


def test_planted_errors_are_listed_first(tmp_path: Path) -> None:
    cohort = blobs(400, 0.3, 1)
    labels, wrong = bench.mislabelled(cohort.labels, 0.05, np.random.default_rng(1))
    images, review = reviewed(cohort._replace(labels=labels), tmp_path)
    rows = review.listed.filter(pl.col("kind") == "suspected")
    at = np.array([int(name[1:]) for name in rows["id"]])
    assert wrong[at].sum() >= 0.75 * wrong.sum()
    assert wrong[at].mean() >= 0.8
    assert rows["margin"].is_sorted()
    assert rows["rank"].to_list() == list(range(1, len(rows) + 1))
    assert (rows["suggested"] == pl.Series(cohort.labels[at])).mean() > 0.9
    assert review.joint["expected"].sum() == pytest.approx(wrong.sum(), rel=0.4)
    listed = quality.labels(images, Options(), np.random.default_rng(0))
    assert listed.equals(review.listed)


def test_clean_labels_give_few(tmp_path: Path) -> None:
    _, review = reviewed(blobs(400, 0.3, 2), tmp_path)
    assert len(review.listed) <= 8  # of 400
    assert review.joint["expected"].sum() <= 8


def test_a_classifier_that_knows_nothing_lists_nothing(tmp_path: Path) -> None:
    _, review = reviewed(blobs(300, 0.0, 3), tmp_path)
    assert review.listed.is_empty()
    assert review.auroc is not None
    assert review.auroc < 0.65
    assert "cannot tell the classes apart" in review.reason


def test_images_of_a_subject_do_not_vouch_for_each_other(tmp_path: Path) -> None:
    """Pure noise, each image there twice under its subject: only a leak could tell the classes apart."""
    cohort = blobs(200, 0.0, 4)
    twice = bench.Cohort(
        "twice",
        np.concatenate([cohort.images, cohort.images ^ np.uint8(1)]),
        np.concatenate([cohort.subjects, cohort.subjects]),
        np.concatenate([cohort.labels, cohort.labels]),
    )
    _, review = reviewed(twice, tmp_path)
    assert review.auroc is not None
    assert review.auroc < 0.65


def test_one_class_and_small_classes_are_told(tmp_path: Path) -> None:
    cohort = blobs(100, 0.3, 5)
    _, review = reviewed(cohort._replace(labels=np.full(100, "left")), tmp_path / "one")
    assert (len(review.listed), review.auroc) == (0, None)
    assert review.reason == "1 classes have 20 subjects or more, two are needed"
    labels = cohort.labels.copy()
    labels[:6] = "rare"
    _, review = reviewed(cohort._replace(labels=labels), tmp_path / "rare")
    assert "rare" not in set(review.joint["label"]) | set(review.listed["label"])


def test_duplicates_with_two_labels_come_first(tmp_path: Path) -> None:
    cohort = blobs(300, 0.3, 6)
    images, labels, subjects = cohort.images.copy(), cohort.labels.copy(), cohort.subjects.copy()
    images[200] = np.clip(images[5].astype(int) + 3, 0, 255).astype(np.uint8)
    labels[5], labels[200], subjects[200] = "left", "right", "someone else"
    _, review = reviewed(bench.Cohort("conflict", images, subjects, labels), tmp_path)
    conflicts = review.listed.filter(pl.col("kind") == "conflict")
    assert conflicts.select("id", "twin", "label", "suggested").rows() == [
        ("i000005", "i000200", "left", "right"),
        ("i000200", "i000005", "right", "left"),
    ]
    assert review.listed["kind"].to_list()[:2] == ["conflict", "conflict"]


def test_real_radiographs(tmp_path: Path) -> None:
    if not (DATA / "pneumoniamnist28").is_dir():
        pytest.skip("needs the radiographs of pneumoniamnist28, which are not shipped")
    cohort = bench.pneumonia(DATA, 1000, 3)
    labels, wrong = bench.mislabelled(cohort.labels, 0.05, np.random.default_rng(2))
    _, review = reviewed(cohort._replace(labels=labels), tmp_path)
    at = [int(name[1:]) for name in review.listed.filter(pl.col("kind") == "suspected")["id"]]
    assert wrong[at].mean() >= 0.5  # ten times the planted share
    assert wrong[at].sum() >= 0.5 * wrong.sum()


# --- subgroups


def test_cells(tmp_path: Path) -> None:
    images = bench.stored(blobs(6, 0.3, 7)._replace(labels=np.array(list("aaabbb"))), tmp_path)
    table = images.table.with_columns(
        sex=pl.Series(["F", "F", "M", "F", "F", None]), site=pl.Series(["A", "A", "A", "A", "A", "B"])
    )
    counted = quality.cells(ImageSet(images.store, table), ["sex", "site"], 2)
    assert counted.columns == ["column", "group", "label", "images", "subjects", "below"]
    assert counted.rows() == [
        ("sex", "(not told)", "a", 0, 0, True),
        ("sex", "(not told)", "b", 1, 1, True),
        ("sex", "F", "a", 2, 1, True),  # two images of one person
        ("sex", "F", "b", 2, 2, False),
        ("sex", "M", "a", 1, 1, True),
        ("sex", "M", "b", 0, 0, True),
        ("site", "A", "a", 3, 2, False),
        ("site", "A", "b", 2, 2, False),
        ("site", "B", "a", 0, 0, True),
        ("site", "B", "b", 1, 1, True),
    ]
    assert quality.cells(images, [], 2).is_empty()
    with pytest.raises(InputError, match="column age: the cohort has no such column"):
        quality.cells(images, ["age"], 2)
