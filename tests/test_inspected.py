"""Specialists' inspection without a hub: the guarantee of the sample, the draw, what judgements show of the set."""

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from scipy import stats

from chambit.reading import agreement, inspected, sampleplan, strata
from chambit.reading.inspected import Judgement
from chambit.reading.sampleplan import Quality, SamplePlan, Unit
from chambit.reading.strata import Drawn

QUALITY = Quality(limit=0.1, risk=0.05, good=0.01, good_risk=0.1, counted=("fix", "reject"))
WORDS = {"ko": "제목", "en": "Title"}
MENDS = [{"name": name, "words": WORDS} for name in ("relabel", "crop", "other")]
REASONS = [{"name": name, "words": WORDS} for name in ("anatomy", "other")]
UNITS = [Unit(f"S{k:04d}", "ab"[k % 4 == 0], f"key{k}") for k in range(400)]


def made(units: list[Unit] = UNITS, inspectors: int = 2, double: float = 0.25, **changes: Any) -> SamplePlan:
    """A plan over these images."""
    sizes = {name: sum(one.stratum == name for one in units) for name in sorted({one.stratum for one in units})}
    parts, accept = sampleplan.planned(sizes, QUALITY, changes.pop("least", 1))
    asked = {"seed": 3, "candidate": "c"} | changes
    told = {"carried": asked.pop("carried", {}), "mended": asked.pop("mended", ())}
    items = sampleplan.drawn(units, parts, inspectors=inspectors, double=double, **asked, **told)
    return SamplePlan(
        title=WORDS, question=WORDS, attempt=1, column="label", quality=QUALITY, accept=accept, level=0.95,
        agreement=0.6, double=double, inspectors=[f"i{k}" for k in range(inspectors)], labels=["a", "b"], mends=MENDS,
        reasons=REASONS, strata=parts, items=items, **asked,
    )  # fmt: skip


def said(plan: SamplePlan, image: str, seat: int = 0, decision: str = "accept", **more: Any) -> Judgement:
    key = next(item.key for item in plan.items if item.image == image)
    given = {"fix": {"mend": "crop"}, "reject": {"reasons": ("anatomy",)}}.get(decision, {}) | more
    common = {"plan": plan.digest, "inspector": f"i{seat}", "image": image, "key": key, "seconds": 4.0, "moves": 0}
    return Judgement(decision=decision, **common | given)


def all_said(plan: SamplePlan, bad: dict[str, str] | None = None) -> dict[str, list[Judgement]]:
    """Everybody judges all; images of `bad` get that decision from all who look."""
    return {
        item.image: [said(plan, item.image, seat, (bad or {}).get(item.image, "accept")) for seat in item.seats]
        for item in plan.items
    }


def of_set(plan: SamplePlan) -> list[str]:
    return [item.image for item in plan.items if item.purpose == "set"]


# ------------------------------------------------------------------------------------- the guarantee


def ways(parts: list[Drawn], bad: int) -> Iterator[tuple[int, ...]]:
    """Every way in which so many images may lie in the strata."""
    for way in itertools.product(*(range(one.size + 1) for one in parts)):
        if sum(way) == bad:
            yield way


def chance(parts: list[Drawn], way: tuple[int, ...]) -> np.ndarray:
    """Probability of every total found."""
    total = np.ones(1)
    for one, bad in zip(parts, way, strict=True):
        total = np.convolve(total, stats.hypergeom.pmf(np.arange(one.sample + 1), one.size, bad, one.sample))
    return total


SETS = [
    [Drawn(30, 9)],
    [Drawn(20, 8), Drawn(12, 5)],
    [Drawn(24, 6), Drawn(6, 3)],
    [Drawn(12, 4), Drawn(9, 3), Drawn(5, 2)],
    [Drawn(10, 9), Drawn(10, 2)],
    [Drawn(8, 8), Drawn(4, 4)],
]


@pytest.mark.parametrize("parts", SETS, ids=str)
def test_no_way_to_lie_beats_the_bound_and_the_bound_is_worth_having(parts: list[Drawn]) -> None:
    size, sample = sum(one.size for one in parts), sum(one.sample for one in parts)
    for bad in range(size + 1):
        found = np.array([chance(parts, way) for way in ways(parts, bad)])
        for count in range(sample + 1):
            below, above = found[:, : count + 1].sum(1).max(), found[:, count:].sum(1).max()
            assert below <= strata.accepted_at_most(parts, bad, count) + 1e-9
            assert above <= strata.found_at_most(parts, bad, count) + 1e-9
    one = Drawn(size, sample)  # what a plain draw of as many would tell, where fractions are equal
    if len({round(each.sample / each.size, 1) for each in parts}) == 1:
        assert strata.most(parts, 1, 0.05) <= strata.most([one], 1, 0.05) + 3


@pytest.mark.parametrize("parts", SETS, ids=str)
def test_intervals_cover_every_set(parts: list[Drawn]) -> None:
    size, sample = sum(one.size for one in parts), sum(one.sample for one in parts)
    told = [strata.interval(parts, count, 0.95) for count in range(sample + 1)]
    upper = [strata.upper(parts, count, 0.05).high for count in range(sample + 1)]
    for bad in range(size + 1):
        share = bad / size
        held = np.array([one.low - 1e-12 <= share <= one.high + 1e-12 for one in told])
        below = np.array([share <= one + 1e-12 for one in upper])
        for way in ways(parts, bad):
            probability = chance(parts, way)
            assert probability[held].sum() >= 0.95 - 1e-9
            assert probability[below].sum() >= 0.95 - 1e-9


def test_one_stratum_gives_the_plan_of_the_whole_set() -> None:
    plan = strata.planned({"all": 1000}, limit=0.05, risk=0.1, good=0.01, good_risk=0.05)
    assert plan == ({"all": 128}, 3)  # ISO's way: see chambit.prepare.sampling


@pytest.mark.parametrize("sizes", [{"a": 990, "b": 10}, {"a": 500, "b": 300, "c": 200}, {"a": 3}, {"a": 20, "b": 4}])
def test_a_set_at_the_limit_is_rarely_accepted_wherever_its_bad_images_lie(sizes: dict[str, int]) -> None:
    plan = strata.planned(sizes, limit=0.05, risk=0.05, good=0.01, good_risk=0.1)
    parts = [Drawn(size, plan.samples[name]) for name, size in sizes.items()]
    bad = -(-sum(sizes.values()) // 20)
    rng = np.random.default_rng(1)
    for _ in range(30):
        way = rng.multivariate_hypergeometric(list(sizes.values()), bad)
        order = rng.permutation(len(parts))
        left = bad
        if rng.random() < 0.5:  # all in a corner
            way = np.zeros(len(parts), int)
            for k in order:
                way[k] = min(left, parts[k].size)
                left -= way[k]
        assert chance(parts, tuple(way))[: plan.accept + 1].sum() <= 0.05 + 1e-9


def test_samples_are_in_proportion_and_no_stratum_is_without() -> None:
    found = strata.proportional({"a": 970, "b": 20, "c": 1}, 100)
    assert (sum(found.values()), found["c"]) == (100, 1)
    assert abs(found["a"] - 97.9) < 1.5
    assert strata.proportional({"a": 2, "b": 2}, 4) == {"a": 2, "b": 2}


# ------------------------------------------------------------------------------------------- the draw


def test_the_draw_follows_from_seed_and_set_alone() -> None:
    plan = made()
    assert [one.image for one in made(UNITS[::-1]).items] == [one.image for one in plan.items]
    others = [of_set(made(seed=4)), of_set(made(candidate="another"))]
    assert of_set(plan) not in others
    assert len(of_set(plan)) == plan.sample == len(set(of_set(plan)))
    for part in plan.strata:
        mine = [one for one in plan.items if one.stratum == part.name]
        assert len(mine) == part.sample + part.more


def test_each_image_is_for_one_inspector_and_a_share_for_two() -> None:
    plan = made(double=0.25)
    seats = [one.seats for one in plan.items if one.purpose == "set"]
    assert sum(len(one) == 2 for one in seats) == sampleplan.twice(plan.sample, 0.25)
    assert all(len(set(one)) == len(one) >= 1 for one in seats)
    orders = [[one.image for one in sampleplan.order(plan, seat)] for seat in (0, 1)]
    assert abs(len(orders[0]) - len(orders[1])) <= 1
    assert orders[0] != sorted(orders[0])


def test_a_small_stratum_gets_more_images_that_count_for_it_alone() -> None:
    units = [Unit(f"S{k:04d}", "rare" if k < 12 else "common", f"key{k}") for k in range(600)]
    plan = made(units, least=8)
    rare = next(one for one in plan.strata if one.name == "rare")
    assert (rare.sample < 8, rare.sample + rare.more) == (True, 8)
    more = [one.image for one in plan.items if one.purpose == "stratum"]
    found = inspected.result(plan, all_said(plan, dict.fromkeys(more, "reject")))
    assert (found.shown, found.found) == ("yes", 0)
    row = next(one for one in found.rows if one.name == "rare")
    assert row.counts["reject"] == len(more) == rare.more


def test_judgements_carry_over_and_move_nothing_in_the_draw() -> None:
    before = made()
    kept = before.items[0]
    after = made(carried={kept.key: (41, 42)}, mended=("S0001", "S9999"))
    same = [(one.image, one.purpose) for one in after.items if one.purpose != "mended"]
    assert same == [(one.image, one.purpose) for one in before.items if one.image != "S0001"]
    there = next(one for one in after.items if one.image == kept.image)
    assert (there.seats, there.carried) == ((), (41, 42))


# ------------------------------------------------------------------------------------------ the result


def test_the_quality_is_shown_up_to_the_acceptance_number_and_so_says_the_interval() -> None:
    plan = made()
    assert plan.accept >= 1
    for bad in range(plan.accept + 3):
        decisions = dict.fromkeys(of_set(plan)[:bad], "fix")
        found = inspected.result(plan, all_said(plan, decisions))
        number = found.findings[0]
        assert number.interval is not None
        assert found.shown == ("yes" if bad <= plan.accept else "no")
        assert (number.interval.high < plan.quality.limit) == (found.shown == "yes")
        assert number.value == pytest.approx(bad / plan.sample, rel=0.2, abs=1e-9)
        assert (number.interval.sides, number.details["found"], number.n["images"]) == (1, bad, plan.sample)


def test_an_unfinished_sample_has_no_number_but_may_be_beyond_hope() -> None:
    plan = made()
    images = of_set(plan)
    given = all_said(plan, dict.fromkeys(images[: plan.accept + 1], "reject"))
    for image in images[-3:]:
        del given[image]
    found = inspected.result(plan, given)
    assert (found.shown, found.findings[0].value, found.whole.shares) == ("no", None, {})
    assert "were looked at" in found.findings[0].reason
    few = {image: given[image] for image in images[plan.accept + 1 : 20]}
    assert inspected.result(plan, few).shown == "not_yet"


def test_an_image_for_two_is_done_when_both_have_judged_and_the_stricter_one_stands() -> None:
    plan = made()
    item = next(one for one in plan.items if len(one.seats) == 2)
    given = all_said(plan)
    given[item.image] = given[item.image][:1]
    assert inspected.result(plan, given).looked == plan.sample - 1
    given[item.image] = [said(plan, item.image, 0), said(plan, item.image, 1, "reject")]
    found = inspected.result(plan, given)
    assert (found.looked, found.found, found.reasons["anatomy"]) == (plan.sample, 1, 1)
    assert {one.quantity: one.value for one in found.findings}["agreement"] < 1


def test_shares_are_weighted_to_the_set() -> None:
    plan = made()
    rare = [item.image for item in plan.items if item.stratum == "b" and item.purpose == "set"]
    found = inspected.result(plan, all_said(plan, dict.fromkeys(rare, "reject")))
    value, interval = found.whole.shares["reject"]
    assert value == pytest.approx(0.25)
    assert interval.low <= 0.25 <= interval.high
    row = next(one for one in found.rows if one.name == "b")
    assert row.shares["unacceptable"][0] == 1.0


@pytest.mark.parametrize(
    ("decision", "changes", "wrong"),
    [
        ("accept", {}, []),
        ("accept", {"reasons": ("anatomy",)}, ["reasons"]),
        ("accept", {"mend": "crop"}, ["mend"]),
        ("fix", {"mend": ""}, ["mend"]),
        ("fix", {"mend": "paint"}, ["mend"]),
        ("fix", {"mend": "relabel"}, ["label"]),
        ("fix", {"mend": "relabel", "label": "a"}, ["label"]),
        ("fix", {"mend": "relabel", "label": "b"}, []),
        ("fix", {"mend": "other"}, ["text"]),
        ("fix", {"mend": "other", "text": "turn it"}, []),
        ("reject", {"reasons": ()}, ["reasons"]),
        ("reject", {"reasons": ("ugly",)}, ["reasons"]),
        ("reject", {"reasons": ("other",), "text": " "}, ["text"]),
        ("reject", {"label": "b"}, ["label"]),
        ("reject", {"place": (0.5, 1.5)}, ["place"]),
    ],
)
def test_judgements_of_the_wrong_form_are_named(decision: str, changes: dict[str, Any], wrong: list[str]) -> None:
    plan = made()
    assert inspected.mistakes(plan, said(plan, plan.items[0].image, 0, decision, **changes), "a") == wrong


# --------------------------------------------------------------------------------------------- agreement


def test_ac1_stays_where_kappa_falls() -> None:
    counts = np.array([[2, 0, 0]] * 90 + [[1, 1, 0]] * 10)
    ac1, kappa = float(agreement.ac1(counts)[0]), float(agreement.fleiss(counts)[0])
    # by hand: Pa = 0.9; shares 0.95, 0.05, 0; Pe = (0.95 * 0.05 + 0.05 * 0.95) / 2 = 0.0475
    assert ac1 == pytest.approx((0.9 - 0.0475) / 0.9525)
    assert kappa < 0
    told = agreement.of_images(counts, agreement.ac1, 0.95)
    assert told.interval is not None
    assert told.interval.low < ac1 < told.interval.high <= 1


def test_agreement_says_why_there_is_no_number() -> None:
    same = np.array([[2, 0, 0]] * 9)
    assert agreement.of_images(same, agreement.fleiss, 0.95).value is None
    ac1 = agreement.of_images(same, agreement.ac1, 0.95)
    assert (ac1.value, ac1.interval, bool(ac1.reason)) == (1.0, None, True)
    assert agreement.of_images(same[:3], agreement.ac1, 0.95).value is None
    assert agreement.of_images(same[:0], agreement.ac1, 0.95).cases == 0


def test_the_interval_of_ac1_holds_the_truth() -> None:
    rng, level, held, runs = np.random.default_rng(5), 0.95, 0, 400
    shares = np.array([[0.9, 0.05, 0.05], [0.2, 0.3, 0.5]])  # easy images, and hard ones
    kind = rng.random(40_000) < 0.8
    whole = np.array([rng.multinomial(2, shares[0 if easy else 1]) for easy in kind])
    truth = float(agreement.ac1(whole)[0])
    for _ in range(runs):
        told = agreement.of_images(whole[rng.integers(0, len(whole), 60)], agreement.ac1, level)
        held += told.interval is not None and told.interval.low <= truth <= told.interval.high
    assert 0.92 <= held / runs <= 0.98
