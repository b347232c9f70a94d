"""The split: nobody in two parts, no picture in two parts, class shares kept, rows in any order."""

import json

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chambit.core.errors import InputError
from chambit.prepare.split import SPLITS, proof, proof_lines, split

HALF = {"train": 0.5, "holdout": 0.2, "auxiliary": 0.1, "test": 0.2}


def cohort(subjects: int, each: int = 2, classes: int = 2) -> pl.DataFrame:
    """A table of `subjects` subjects with `each` images; the class goes round."""
    rows = [
        {"subject": f"s{who}", "label": f"c{who % classes}", "sha256": f"{who}-{turn}"}
        for who in range(subjects)
        for turn in range(each)
    ]
    return pl.DataFrame(rows)


def test_shares_and_proof() -> None:
    table = split(cohort(200), HALF, seed=1)
    facts = proof(table)
    assert json.loads(json.dumps(facts)) == facts
    assert {name: part["subjects"] for name, part in facts["splits"].items()} == {
        "train": 100,
        "holdout": 40,
        "auxiliary": 20,
        "test": 40,
    }
    assert facts["splits"]["test"]["labels"] == {"c0": 40, "c1": 40}
    assert facts["shared_subjects"] == facts["shared_pixels"] == 0
    lines = proof_lines(facts)
    assert lines[0] == "train: 200 images of 100 subjects (100 c0, 100 c1)."
    assert lines[-1].startswith("No subject is in two splits")


def test_seed_and_order_of_rows() -> None:
    table = cohort(101)
    first = split(table, HALF, seed=1)
    mixed = table.sample(fraction=1.0, shuffle=True, seed=3)
    again = split(mixed, HALF, seed=1)
    assert mixed.equals(again.drop("split"))
    assert dict(first.select("sha256", "split").rows()) == dict(again.select("sha256", "split").rows())
    assert split(table, HALF, seed=2)["split"].to_list() != first["split"].to_list()


def test_shared_pixels_tie_subjects_together() -> None:
    table = cohort(60, each=1).with_columns(
        pl.when(pl.col("subject").is_in([f"s{n}" for n in range(0, 20)]))
        .then(pl.lit("same"))
        .otherwise(pl.col("sha256"))
        .alias("sha256")
    )
    extra = pl.DataFrame({"subject": ["s0", "s50"], "label": ["c0", "c0"], "sha256": ["two", "two"]})
    facts = split(pl.concat([table, extra]), HALF, seed=5)
    assert proof(facts)["shared_pixels"] == 0
    tied = facts.filter(pl.col("subject").is_in([*(f"s{n}" for n in range(20)), "s50"]))
    assert tied["split"].n_unique() == 1


@settings(max_examples=60, deadline=None)
@given(
    sizes=st.lists(st.integers(0, 15), min_size=1, max_size=6).filter(lambda sizes: sum(sizes) >= 12),
    seed=st.integers(0, 99),
    links=st.lists(st.tuples(st.integers(0, 11), st.integers(0, 11)), max_size=3),
)
def test_shares_stay_close_in_every_stratum(sizes: list[int], seed: int, links: list[tuple[int, int]]) -> None:
    who = [(f"s{label}.{n}", f"c{label}") for label, size in enumerate(sizes) for n in range(size)]
    rows = [{"subject": subject, "label": label, "sha256": subject} for subject, label in who]
    for one, two in links:
        rows += [{"subject": who[at][0], "label": who[at][1], "sha256": f"l{one}-{two}"} for at in (one, two)]
    shares = {"train": 0.5, "test": 0.5}
    table = split(pl.DataFrame(rows), shares, seed=seed)
    facts = proof(table)
    assert facts["shared_subjects"] == facts["shared_pixels"] == 0
    assert table["split"].is_in(SPLITS).all()
    if not links:
        for label, size in enumerate(sizes):
            for name in shares:
                count = facts["splits"][name]["labels"].get(f"c{label}", 0)
                assert abs(count - size / 2) <= 1
        counts = [facts["splits"][name]["subjects"] for name in shares]
        assert abs(counts[0] - counts[1]) <= 2


def test_small_strata_do_not_all_go_one_way() -> None:
    facts = proof(split(cohort(40, each=1, classes=40), {"train": 0.5, "test": 0.5}, seed=1))
    assert [part["subjects"] for part in facts["splits"].values()] == [20, 20]


def test_a_split_that_is_there_is_kept_and_checked() -> None:
    table = cohort(4).with_columns(pl.Series("split", ["train"] * 4 + ["test"] * 4))
    assert split(table, HALF, seed=1).equals(table)
    with pytest.raises(InputError, match="subject s1: is in test and train"):
        split(table.with_columns(pl.Series("split", ["train"] * 3 + ["test"] * 5)), HALF, seed=1)
    with pytest.raises(InputError, match="split 'dev': 8 images have it"):
        split(table.with_columns(split=pl.lit("dev")), HALF, seed=1)
    with pytest.raises(InputError, match="split '': 4 images have it"):
        split(table.with_columns(pl.Series("split", ["train"] * 4 + [""] * 4)), HALF, seed=1)
    with pytest.raises(InputError, match="picture with digest x: is in test and train"):
        split(table.with_columns(sha256=pl.lit("x")), HALF, seed=1)
    empty = split(table.with_columns(split=pl.lit("")), {"train": 0.5, "test": 0.5}, seed=1)
    assert set(empty["split"]) == {"train", "test"}


@pytest.mark.parametrize(
    ("shares", "reason"),
    [
        ({"train": 0.5, "test": 0.4}, "sum to 0.9, not 1"),
        ({"train": 1.5, "test": -0.5}, "is not between 0 and 1"),
        ({"train": 0.5, "validation": 0.5}, "there is no such split"),
        ({"train": float("nan"), "test": 1}, "not between"),
    ],
)
def test_wrong_shares(shares: dict[str, float], reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        split(cohort(10), shares, seed=1)


def test_too_few_subjects() -> None:
    with pytest.raises(InputError, match="too few subjects"):
        split(cohort(2), HALF, seed=1)
    assert set(split(cohort(2), {"train": 0.5, "test": 0.5, "holdout": 0.0}, seed=1)["split"]) == {
        "train",
        "test",
    }


def test_leaks_and_unknown_subjects_are_said() -> None:
    table = cohort(4).with_columns(
        pl.Series("split", ["train", "test"] * 4), pl.Series("subject_known", [True, False] * 4)
    )
    facts = proof(table)
    assert facts["shared_subjects"] == 4
    assert facts["unknown"] == 4
    lines = "\n".join(proof_lines(facts))
    assert "LEAK: train & test share 4 subjects and 0 identical images." in lines
    assert "For 4 images the subject is not known" in lines
    assert "No subject is in two" not in lines


def test_large_cohort_is_fast_and_exact() -> None:
    table = cohort(20_000, each=1, classes=2)
    facts = proof(split(table, HALF, seed=1))
    assert np.allclose([part["subjects"] / 20_000 for part in facts["splits"].values()], list(HALF.values()))


def test_another_site_is_the_test_part_with_all_of_its_patients() -> None:
    rows = [
        {"subject": f"P{k // 2}", "label": "ab"[k % 3 == 0], "sha256": str(k), "site": "BAC"[k % 5 % 3]}
        for k in range(60)
    ]
    table = pl.DataFrame(rows)
    found = split(table, {"train": 0.6, "holdout": 0.4, "test": 0}, seed=1, test_where={"site": ["B"]})
    mine = set(table.filter(pl.col("site") == "B")["subject"])
    assert set(found.filter(pl.col("split") == "test")["subject"]) == mine
    assert proof(found)["shared_subjects"] == 0
    rest = found.filter(pl.col("split") != "test")["subject"].n_unique()
    assert found.filter(pl.col("split") == "train")["subject"].n_unique() == pytest.approx(0.6 * rest, abs=1)
    for where, said in (({"room": ["1"]}, "no such column"), ({"site": ["D"]}, "no image has the value 'D'")):
        with pytest.raises(InputError) as error:
            split(table, {"train": 0.6, "holdout": 0.4}, seed=1, test_where=where)
        assert said in error.value.problems[0].what
