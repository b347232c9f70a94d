"""Acceptance sampling of labels: the plan against brute force, the curve, the draw, and the readers' sheet."""

import csv
import itertools
import math
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import hypergeom

from chambit.core.errors import InputError
from chambit.prepare import sampling
from chambit.prepare.sampling import Drawn, Plan

RISKS = [(0.01, 0.05, 0.05, 0.10), (0.02, 0.05, 0.08, 0.05), (0.0, 0.05, 0.10, 0.10), (0.05, 0.10, 0.15, 0.20)]
FILES = {f"{k:03d}.png": (f"{k * 7919 % 1000:064x}", "ill" if k % 3 else "well") for k in range(200)}


def _brute(lot: int, aql: float, producer: float, ltpd: float, consumer: float) -> tuple[int, int]:
    """The smallest n with any c that keeps both risks, by trying all; scipy's distribution, 1e-12 for its rounding."""
    good, bad = math.floor(lot * Fraction(str(aql))), math.ceil(lot * Fraction(str(ltpd)))
    for sample in range(1, lot + 1):
        for accept in range(min(sample, good) + 1):
            kept = hypergeom.cdf(accept, lot, good, sample) >= 1 - producer - 1e-12
            if kept and hypergeom.cdf(accept, lot, bad, sample) <= consumer + 1e-12:
                return sample, accept
    raise AssertionError("a whole lot tells good from bad")


@pytest.mark.parametrize("risks", RISKS)
@pytest.mark.parametrize("lot", [1, 7, 20, 60, 137, 400])
def test_the_plan_is_the_smallest_of_all(lot: int, risks: tuple[float, float, float, float]) -> None:
    aql, producer, ltpd, consumer = risks
    plan = sampling.planned(lot, aql=aql, producer_risk=producer, ltpd=ltpd, consumer_risk=consumer)
    assert (plan.sample, plan.accept) == _brute(lot, *risks)


def test_a_plan_of_a_large_lot_keeps_both_risks_and_one_label_less_would_not() -> None:
    plan = sampling.planned(145_140, aql=0.01, producer_risk=0.05, ltpd=0.02, consumer_risk=0.10)
    good, bad = 1451, 2903  # floor and ceiling of the shares of 145,140
    assert sampling.acceptance(plan, good) >= 0.95
    assert sampling.acceptance(plan, bad) <= 0.10
    assert sampling.acceptance(Plan(plan.lot, plan.sample - 1, plan.accept), bad) > 0.10
    fewer = sampling.for_accept(plan.lot, plan.accept - 1, ltpd=0.02, consumer_risk=0.10)
    assert sampling.acceptance(fewer, good) < 0.95


@pytest.mark.parametrize(("lot", "sample", "accept"), [(30, 8, 1), (250, 60, 3), (1000, 999, 10), (5, 5, 0)])
def test_acceptance_is_the_hypergeometric_distribution(lot: int, sample: int, accept: int) -> None:
    for wrong in range(0, lot + 1, max(1, lot // 25)):
        expected = hypergeom.cdf(accept, lot, wrong, sample)
        assert sampling.acceptance(Plan(lot, sample, accept), wrong) == pytest.approx(expected, rel=1e-9, abs=1e-15)


def test_acceptance_by_counting_every_sample() -> None:
    lot, sample, accept, wrong = 9, 4, 1, 3
    ways = [sum(label < wrong for label in some) <= accept for some in itertools.combinations(range(lot), sample)]
    assert sampling.acceptance(Plan(lot, sample, accept), wrong) == pytest.approx(np.mean(ways), abs=1e-15)


def test_a_limit_that_is_met_exactly_is_met() -> None:
    # 1 wrong of 10, read 9: found but in 1 of 10 samples. In floats that probability is a hair beside 0.1.
    assert sampling.for_accept(10, 0, ltpd=0.1, consumer_risk=0.1) == Plan(10, 9, 0)
    assert sampling.wrong_at(100, 0.07, up=True) == 7  # 100 * 0.07 is 7.000000000000001


@pytest.mark.parametrize(("lot", "sample", "accept"), [(400, 60, 2), (996, 127, 3), (12, 12, 0), (145_140, 132, 3)])
def test_the_curve_falls_from_one(lot: int, sample: int, accept: int) -> None:
    curve = sampling.oc_curve(Plan(lot, sample, accept), lot // 20)
    wrong, chance = zip(*curve, strict=True)
    assert (wrong[0], chance[0]) == (0, 1.0)
    assert all(later > earlier for earlier, later in itertools.pairwise(wrong))
    assert all(later <= earlier for earlier, later in itertools.pairwise(chance))
    assert chance[-1] <= 0.001
    assert wrong[-1] >= lot // 20


def test_lots_of_the_agreed_quality_are_accepted_as_often_as_promised() -> None:
    plan = sampling.planned(400, aql=0.02, producer_risk=0.05, ltpd=0.10, consumer_risk=0.10)
    rng = np.random.default_rng(3)
    accepted = {8: 0, 40: 0}
    for wrong in accepted:
        names = [f"{k:03d}" for k in range(400)]
        bad = set(rng.permutation(names)[:wrong].tolist())
        for draw in range(400):
            files = {name: (f"{draw}{name}", "") for name in names}
            sample = sampling.drawn("", files, plan.sample, sampling.seed("c", [], str(draw)))
            accepted[wrong] += sum(one.file in bad for one in sample) <= plan.accept
    for wrong, times in accepted.items():
        expected = sampling.acceptance(plan, wrong)
        assert abs(times / 400 - expected) < 4 * math.sqrt(max(expected * (1 - expected), 0.01) / 400)


def test_the_draw_depends_on_the_key_and_on_nothing_else() -> None:
    key = sampling.seed("contract", [sha for sha, _ in FILES.values()], "word")
    sample = sampling.drawn("", FILES, 40, key)
    assert len({one.file for one in sample}) == 40
    assert sample == sampling.drawn("", dict(reversed(FILES.items())), 40, key)
    assert key == sampling.seed("contract", sorted((sha for sha, _ in FILES.values()), reverse=True), "word")
    for other in (
        sampling.seed("another contract", [sha for sha, _ in FILES.values()], "word"),
        sampling.seed("contract", [sha for sha, _ in FILES.values()][1:], "word"),
        sampling.seed("contract", [sha for sha, _ in FILES.values()], "another word"),
    ):
        assert {one.file for one in sampling.drawn("", FILES, 40, other)} != {one.file for one in sample}


def test_every_file_is_drawn_about_as_often() -> None:
    times = dict.fromkeys(FILES, 0)
    for word in range(400):
        for one in sampling.drawn("", FILES, 50, sampling.seed("c", [], str(word))):
            times[one.file] += 1
    counts = np.array(list(times.values()))
    # each is Binomial(400, 1/4): 100 and 8.7; the largest of 200 stays within five of those
    assert counts.sum() == 400 * 50
    assert abs(counts - 100).max() < 5 * math.sqrt(400 * 0.25 * 0.75)


SAMPLE = [Drawn("ill", "001.png", "ill"), Drawn("ill", "가.png", "ill"), Drawn("well", "003.png", "well")]


def _filled(path: Path, **changes: str) -> Path:
    """The sheet with every label agreed to, but for cells given as `line_column="..."` (line 2 is the first file)."""
    rows = list(csv.reader(sampling.sheet(SAMPLE).decode("utf-8-sig").splitlines()))
    for row in rows[1:]:
        row[2:4] = ["yes", "Dr A"]
    for place, value in changes.items():
        line, column = place.removeprefix("l").split("_")
        rows[int(line) - 1][sampling.COLUMNS.index(column)] = value
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)
    return path


def test_wrong_labels_are_counted_by_lot(tmp_path: Path) -> None:
    assert sampling.judged(_filled(tmp_path / "a.csv"), SAMPLE) == {"ill": [], "well": []}
    told = sampling.judged(_filled(tmp_path / "b.csv", l3_agrees="아니오", l4_agrees="NO"), SAMPLE)
    assert told == {"ill": ["가.png"], "well": ["003.png"]}


@pytest.mark.parametrize(
    ("changes", "where", "what"),
    [
        ({"l2_agrees": ""}, "line 2", "not filled"),
        ({"l3_agrees": "perhaps"}, "line 3", "not filled"),
        ({"l3_reader": ""}, "line 3", "`reader` is empty"),
        ({"l4_label": "ill"}, "line 4", "not the delivered one"),
        ({"l2_file": "999.png"}, "line 2", "not drawn"),
        ({"l2_file": "003.png", "l2_label": "well"}, "line 4", "names the file of line 2 again"),
        ({"l1_agrees": "ok"}, "a.csv", "columns"),
    ],
)
def test_a_sheet_that_is_not_this_one_is_refused(
    tmp_path: Path, changes: dict[str, str], where: str, what: str
) -> None:
    with pytest.raises(InputError) as caught:
        sampling.judged(_filled(tmp_path / "a.csv", **changes), SAMPLE)
    assert any(where in problem.where and what in problem.what and problem.remedy for problem in caught.value.problems)


def test_a_sheet_with_a_line_less_is_refused(tmp_path: Path) -> None:
    path = _filled(tmp_path / "a.csv")
    path.write_text("\n".join(path.read_text(encoding="utf-8").splitlines()[:-1]), encoding="utf-8")
    with pytest.raises(InputError, match="lacks 1 of the 3 drawn files"):
        sampling.judged(path, SAMPLE)
    with pytest.raises(InputError, match="cannot be opened"):
        sampling.judged(tmp_path / "gone.csv", SAMPLE)
