"""Quality of a cohort: planted outliers and duplicates are found, clean cohorts left alone, limits keep promises."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image as Picture

import quality as bench  # benchmarks/
from chambit.core.errors import InputError
from chambit.images.imageset import ImageSet
from chambit.prepare import quality
from chambit.prepare.quality import duplicates, sheet, tails, typical
from chambit.prepare.quality.described import describe, missing, standard
from chambit.prepare.quality.options import CHECKS, Options

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
COUNT = 300


@pytest.fixture(scope="module")
def drawn() -> bench.Cohort:
    return bench.phantoms(COUNT, 64, 3)


def examined(cohort: bench.Cohort, root: Path, **options: object) -> tuple[ImageSet, pl.DataFrame]:
    images = bench.stored(cohort, root)
    return images, quality.examine(images, Options.model_validate(options), np.random.default_rng(0))


def outliers_removed(findings: pl.DataFrame) -> set[int]:
    """Positions removed by anything but a duplicate."""
    rows = findings.filter(pl.col("removed") & ~pl.col("check").str.ends_with("duplicate"))
    return {int(name[1:]) for name in rows["id"]}


@pytest.fixture(scope="module")
def planted(
    drawn: bench.Cohort, tmp_path_factory: pytest.TempPathFactory
) -> tuple[bench.Planted, ImageSet, pl.DataFrame]:
    made = bench.plant(drawn.images, 0.04, bench.PLANTS, np.random.default_rng(5))
    images, findings = examined(drawn._replace(images=made.images), tmp_path_factory.mktemp("planted"))
    return made, images, findings


# --- limits


def test_limits_keep_their_rate_and_stand_outliers() -> None:
    rng = np.random.default_rng(1)
    for limit, draw in ((tails.exponential, rng.exponential), (tails.normal, rng.normal)):
        rates = []
        for _ in range(40):
            x = draw(size=2000)
            x[:100] = 50 + rng.random(100)  # 5 % outliers
            level = limit(x, 0.005)
            rates.append((draw(size=4000) > level).mean())
            assert level < 50
        assert 0.002 < np.mean(rates) < 0.009


def test_the_exponential_limit_is_cautious_for_normal_scores() -> None:
    x = np.random.default_rng(2).normal(size=5000)
    assert (x > tails.exponential(x, 0.005)).mean() < 0.005


@settings(max_examples=50, deadline=None)
@given(st.floats(-5, 5), st.floats(0.1, 20), st.integers(0, 99))
def test_limits_move_with_the_scores(shift: float, scale: float, seed: int) -> None:
    x = np.random.default_rng(seed).exponential(size=200)
    for limit in (tails.exponential, tails.normal, tails.nearest):
        assert limit(shift + scale * x, 0.01) == pytest.approx(shift + scale * limit(x, 0.01), abs=1e-6)


def test_a_second_kind_of_image_is_no_outlier() -> None:
    rng = np.random.default_rng(3)
    x = np.concatenate([rng.normal(size=700), rng.normal(40.0, size=300)])
    assert (x > tails.exponential(x, 0.001)).sum() == 0


# --- what is described


def test_missing_edges() -> None:
    image = np.random.default_rng(0).random((3, 20, 10)).astype(np.float32)
    image[0, 15:] = 0.5
    image[1, :, :3] = 0
    image[2] = 0.3  # blank, not truncated
    np.testing.assert_allclose(missing(image), [[0.25, 0, 0, 0], [0, 0, 0.3, 0], [0, 0, 0, 0]])


def test_known_numbers_of_an_image(tmp_path: Path) -> None:
    half = np.zeros((60, 16, 16), np.uint8)
    half[:, :, 8:] = 255
    cohort = bench.Cohort("halves", half, np.arange(60).astype(str), np.full(60, "a"))
    small = describe(bench.stored(cohort, tmp_path), Options())
    assert small.entropy[0] == pytest.approx(1.0)
    assert (small.contrast[0], small.white[0], small.black[0]) == (1.0, 0.5, 0.5)


def test_equal_pictures_at_8_and_16_bits_are_described_alike(drawn: bench.Cohort, tmp_path: Path) -> None:
    deep = drawn._replace(images=drawn.images[:50].astype(np.uint16) * np.uint16(257))
    one = describe(bench.stored(drawn._replace(images=drawn.images[:50]), tmp_path / "a"), Options())
    two = describe(bench.stored(deep, tmp_path / "b"), Options())
    for left, right in zip(one, two, strict=True):
        np.testing.assert_allclose(left, right, atol=1e-3)


def test_a_plane_is_not_bent_by_outliers() -> None:
    rng = np.random.default_rng(4)
    x = rng.normal(size=(400, 20)) * np.r_[5.0, 3.0, np.full(18, 0.3)]
    x[:20] = 0.1 * rng.normal(size=(20, 20))
    x[:20, 19] += 40
    model = typical.plane(x.astype(np.float32), 2)
    assert np.abs(model.axes[:, :2]).max() > 0.99
    assert np.abs(model.axes[:, 19]).max() < 0.1
    assert model.distances(x)[1][:20].min() > 10 * model.distances(x)[1][20:].max() / 2


def test_folds_keep_subjects_together() -> None:
    subjects = np.repeat(np.arange(40), 3).astype(str)
    part = typical.folds(subjects, 4, np.random.default_rng(0))
    assert all(len(set(part[subjects == name])) == 1 for name in subjects)
    assert sorted(np.bincount(part)) == [30, 30, 30, 30]


# --- outliers


def test_planted_outliers_are_found_with_their_reason(
    planted: tuple[bench.Planted, ImageSet, pl.DataFrame],
) -> None:
    made, _, findings = planted
    bad, taken = set(np.flatnonzero(made.kinds != "").tolist()), outliers_removed(findings)
    assert len(bad & taken) >= 0.9 * len(bad)
    assert len(bad & taken) >= 0.8 * len(taken)
    checks = {
        kind: set(
            findings.filter(pl.col("id").is_in([f"i{n:06d}" for n in np.flatnonzero(made.kinds == kind)]))["check"]
        )
        for kind in bench.PLANTS
    }
    for kind, check in {
        "inverted": "inverted",
        "nearly blank": "blank",
        "saturated": "saturated",
        "truncated": "truncated",
        "turned by 90": "turned",
        "upside down": "turned",
        "heavy noise": "noisy",
    }.items():
        assert check in checks[kind], kind


def test_findings_say_what_and_hold_no_subject(planted: tuple[bench.Planted, ImageSet, pl.DataFrame]) -> None:
    _, images, findings = planted
    assert findings.columns == ["id", "file", "check", "score", "limit", "reason", "reason_ko", "removed", "twin"]
    assert set(findings["check"]) <= CHECKS.keys()
    assert (findings["score"] > findings["limit"]).all()
    told = " ".join([*findings["reason"], *findings["reason_ko"]])
    assert not any(subject in told for subject in set(images.subjects))
    assert all(any("가" <= letter <= "힣" for letter in words) for words in findings["reason_ko"])


def test_nothing_is_lost_and_a_person_can_keep_an_image(
    planted: tuple[bench.Planted, ImageSet, pl.DataFrame],
) -> None:
    _, images, findings = planted
    removed = sorted(set(findings.filter(pl.col("removed"))["id"]))
    rest = quality.without(images, findings)
    assert len(rest) == len(images) - len(removed)
    again = quality.without(images, findings, kept=removed)
    assert again.table.equals(images.table)


def test_a_clean_cohort_is_left_alone(drawn: bench.Cohort, tmp_path: Path) -> None:
    _, findings = examined(drawn, tmp_path)
    assert len(outliers_removed(findings)) <= 0.02 * COUNT  # 0.005 expected; Poisson of 1.5 exceeds 6 in 1 of 1,000


def test_the_same_seed_gives_the_same_findings(drawn: bench.Cohort, tmp_path: Path) -> None:
    few = bench.Cohort("few", drawn.images[:80], drawn.subjects[:80], drawn.labels[:80])
    first, second = examined(few, tmp_path / "a")[1], examined(few, tmp_path / "b")[1]
    assert first.equals(second)


def test_a_check_that_finds_too_many_removes_none(drawn: bench.Cohort, tmp_path: Path) -> None:
    images = drawn.images.copy()
    images[::12] = 255 - images[::12]  # 8 %: a second kind, not outliers
    _, findings = examined(drawn._replace(images=images), tmp_path, removes=("inverted",))
    inverted = findings.filter(pl.col("check") == "inverted")
    assert len(inverted) >= 0.9 * len(images[::12])
    assert not inverted["removed"].any()
    assert all("a person decides" in reason for reason in inverted["reason"])


def test_what_is_removed_is_an_option(drawn: bench.Cohort, tmp_path: Path) -> None:
    images = drawn.images.copy()
    images[7] = 255 - images[7]
    _, findings = examined(drawn._replace(images=images), tmp_path, removes=())
    assert "inverted" in findings.filter(pl.col("id") == "i000007")["check"].to_list()
    assert not findings["removed"].any()
    with pytest.raises(ValueError, match="no such check: crooked"):
        Options(removes=("crooked",))


def test_moved_and_mirrored_images_wait_for_a_person(drawn: bench.Cohort, tmp_path: Path) -> None:
    images = drawn.images.copy()
    for at in (11, 12, 13):
        images[at] = images[at][:, ::-1]
    for at in (21, 22, 23):
        images[at] = np.pad(images[at], ((0, 0), (13, 0)), mode="edge")[:, :64]
    _, findings = examined(drawn._replace(images=images), tmp_path)
    for check, places in {"mirrored": (11, 12, 13), "shifted": (21, 22, 23)}.items():
        rows = findings.filter(pl.col("check") == check)
        assert {f"i{at:06d}" for at in places} & set(rows["id"]), check
        assert not rows["removed"].any()
    moved = findings.filter((pl.col("check") == "shifted") & (pl.col("id") == "i000021"))["reason"]
    assert all("right" in reason for reason in moved)


def test_too_few_images(drawn: bench.Cohort, tmp_path: Path) -> None:
    few = bench.Cohort("few", drawn.images[:9], drawn.subjects[:9], drawn.labels[:9])
    with pytest.raises(InputError, match="9 images, at least 50 are needed"):
        examined(few, tmp_path)


@pytest.mark.parametrize("name", ["pneumoniamnist28", "covid_cxr_permissive_512"])
def test_real_radiographs(name: str, tmp_path: Path) -> None:
    if not (DATA / name).is_dir():
        pytest.skip(f"needs the radiographs of {name}, which are not shipped")
    cohort = bench.pneumonia(DATA, 500, 2) if name == "pneumoniamnist28" else bench.covid(DATA, 128)
    made = bench.plant(cohort.images, 0.03, bench.PLANTS, np.random.default_rng(1))
    _, findings = examined(cohort._replace(images=made.images), tmp_path)
    bad, taken = set(np.flatnonzero(made.kinds != "").tolist()), outliers_removed(findings)
    assert len(bad & taken) >= 0.8 * len(bad)
    assert len(taken - bad) <= 0.02 * len(made.images)


# --- duplicates


def test_copies_under_another_subject_are_found_and_strangers_are_not_paired(
    drawn: bench.Cohort, tmp_path: Path
) -> None:
    made = bench.copied(drawn, 0.03, False, np.random.default_rng(2))
    images, findings = examined(made.cohort, tmp_path)
    pairs = set(findings.filter(pl.col("check") == "near_duplicate").select("id", "twin").rows())
    wanted = {
        (f"i{COUNT + n:06d}", f"i{at:06d}")
        for n, (change, at) in enumerate(zip(made.changes, made.originals, strict=True))
        if change in ("JPEG 50-80", "brightness")
    }
    assert len(wanted & pairs) >= 0.75 * len(wanted)
    subject = dict(images.table.select("id", "subject").rows())
    unplanted = [(a, b) for a, b in pairs if int(a[1:]) < COUNT and subject[a] != subject[b]]
    assert len(unplanted) <= 1


def test_exact_copies_and_their_labels(drawn: bench.Cohort, tmp_path: Path) -> None:
    images, labels, subjects = drawn.images.copy(), drawn.labels.copy(), drawn.subjects.copy()
    images[100], labels[100], subjects[100] = images[3], labels[3], "someone else"
    images[101], labels[101], subjects[101] = images[4], "another finding", subjects[4]
    images[102], labels[102], subjects[102] = images[5], labels[5], subjects[5]
    _, findings = examined(bench.Cohort("copies", images, subjects, labels), tmp_path)
    rows = {row["id"]: row for row in findings.filter(pl.col("check") == "exact_duplicate").to_dicts()}
    assert {name: (row["twin"], row["removed"]) for name, row in rows.items()} == {
        "i000100": ("i000003", True),
        "i000101": ("i000004", False),
        "i000102": ("i000005", True),
    }
    assert "of another subject" in rows["i000100"]["reason"]
    assert "with another label" in rows["i000101"]["reason"]


def test_a_copy_of_a_removed_image_does_not_count_it_twice(drawn: bench.Cohort, tmp_path: Path) -> None:
    images = drawn.images.copy()
    images[10] = 255 - images[10]
    images[20] = images[10]
    _, findings = examined(drawn._replace(images=images, labels=np.full(COUNT, "a")), tmp_path)
    of_copy = findings.filter((pl.col("id") == "i000020") & (pl.col("check") == "exact_duplicate"))
    assert of_copy["removed"].to_list() == [False]  # its original is not there to stay
    assert {10, 20} <= outliers_removed(findings)


def test_hash_bits_are_even_over_the_cohort(drawn: bench.Cohort) -> None:
    x = standard(drawn.images.reshape(COUNT, 32, 2, 32, 2).mean((2, 4)))
    signs = duplicates.hashes(x) > 0
    assert signs.shape == (COUNT, 63)
    assert np.abs(signs.mean(0) - 0.5).max() < 0.01
    np.testing.assert_array_equal(duplicates.hashes(3 * x), duplicates.hashes(x))


# --- the sheet


def test_contact_sheet(
    planted: tuple[bench.Planted, ImageSet, pl.DataFrame], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, images, findings = planted
    removed = findings.filter(pl.col("removed"))["id"].n_unique()
    pages = quality.contact_sheet(images, findings, tmp_path / "sheet.png")
    assert len(pages) == -(-removed // 10)
    with Picture.open(pages[0]) as page:
        levels = np.asarray(page.convert("L"))
    assert levels.shape[1] > 1000
    assert levels.std() > 40
    again = quality.contact_sheet(images, findings, tmp_path / "again.png")
    assert [path.read_bytes() for path in again] == [path.read_bytes() for path in pages]
    monkeypatch.setattr(sheet, "_font_file", lambda: None)
    sheet._font.cache_clear()
    plain = quality.contact_sheet(images, findings, tmp_path / "plain.png")
    sheet._font.cache_clear()
    assert plain[0].read_bytes() != pages[0].read_bytes() or sheet._font_file() is None
    assert quality.contact_sheet(images, findings.head(0), tmp_path / "none.png") == []
    assert not (tmp_path / "none.png").exists()
