"""Cut a cohort by subject into train, holdout, auxiliary and test, and prove that nothing is in two of them.

Subjects that share an image (the same pixels) are one group. Groups are put in strata by which labels their
subjects ever have; inside a stratum they are ordered by SHA-256 of seed and subject, and each split gets its
share, rounded so that what one stratum rounds off the next makes up for. The order of rows changes nothing. Where a
study asks for it, the test part is all patients of other sites (or of a later year) instead of a share.
"""

import hashlib
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from itertools import combinations
from typing import Any

import polars as pl

from chambit.core.errors import InputError, Problem

SPLITS = ("train", "holdout", "auxiliary", "test")
SHOWN = 20


def split(
    table: pl.DataFrame,
    fractions: Mapping[str, float],
    *,
    seed: int,
    test_where: Mapping[str, Collection[str]] | None = None,
) -> pl.DataFrame:
    """Add the column `split` to a table of images.

    A table that already has a split keeps it, if no subject and no picture is in two.

    Args:
        table: at least the columns `subject`, `label` and `sha256`, all text, a row per image.
        fractions: share of subjects by split, for example `{"train": 0.5, "test": 0.5}`; they sum to 1.
        seed: the study's seed.
        test_where: column -> values; who has an image with one of them is in `test` wholly, for example all patients of
            another site. The others are split by the shares.

    Returns:
        The same rows in the same order with `split` in train, holdout, auxiliary, test.

    Raises:
        InputError: when the fractions are wrong, a split would be empty, or the table's own split leaks.
    """
    if "split" in table.columns and (table["split"].fill_null("") != "").any():
        return _checked(table)
    _check_fractions(fractions)
    groups = _groups(table)
    away = {groups[subject] for subject in _elsewhere(table, test_where or {})}
    labels = {group: told for group, told in _labels(table, groups).items() if group not in away}
    chosen = _assign(
        {subject: group for subject, group in groups.items() if group not in away}, fractions, seed, labels
    )
    chosen |= {subject: "test" for subject, group in groups.items() if group in away}
    counts = {name: sum(1 for value in chosen.values() if value == name) for name in fractions}
    empty = [name for name, share in fractions.items() if share > 0 and not counts[name]]
    if empty:
        raise InputError(
            "There are too few subjects to split.",
            [Problem(f"split {name}", f"would get none of {len(chosen)} subjects", _FEW) for name in empty],
        )
    names = [chosen[subject] for subject in table["subject"].to_list()]
    return table.drop("split", strict=False).with_columns(pl.Series("split", names, dtype=pl.String))


def proof(table: pl.DataFrame) -> dict[str, Any]:
    """Count what is in each split and what any two share; plain JSON values.

    Args:
        table: the columns `split`, `subject`, `label`, `sha256`, and `subject_known` where intake made it.

    Returns:
        `splits` (per split `subjects`, `images`, `labels`), `pairs` (per pair of splits `subjects` and
        `pixels` they share), `shared_subjects` and `shared_pixels` (sums over pairs, 0 when nothing leaks)
        and `unknown` (images whose subject nobody told, each counted as a subject of its own).
    """
    parts = {name: table.filter(pl.col("split") == name) for name in SPLITS if (table["split"] == name).any()}
    splits = {
        name: {
            "subjects": part["subject"].n_unique(),
            "images": len(part),
            "labels": {label: int((part["label"] == label).sum()) for label in sorted(part["label"].unique())},
        }
        for name, part in parts.items()
    }
    pairs = {
        f"{one} & {two}": {
            "subjects": len(set(parts[one]["subject"]) & set(parts[two]["subject"])),
            "pixels": len(set(parts[one]["sha256"]) & set(parts[two]["sha256"])),
        }
        for one, two in combinations(parts, 2)
    }
    unknown = int((~table["subject_known"]).sum()) if "subject_known" in table.columns else 0
    return {
        "splits": splits,
        "pairs": pairs,
        "shared_subjects": sum(pair["subjects"] for pair in pairs.values()),
        "shared_pixels": sum(pair["pixels"] for pair in pairs.values()),
        "unknown": unknown,
    }


def proof_lines(proof: Mapping[str, Any]) -> list[str]:
    """The proof in sentences a person can check."""
    lines = []
    for name, part in proof["splits"].items():
        labels = ", ".join(f"{count} {label or '(no label)'}" for label, count in part["labels"].items())
        lines.append(f"{name}: {_many(part['images'], 'image')} of {_many(part['subjects'], 'subject')} ({labels}).")
    clean = not proof["shared_subjects"] and not proof["shared_pixels"]
    if clean:
        lines.append("No subject is in two splits, and no image has the same pixels as one in another split.")
    for pair, shared in proof["pairs"].items():
        if shared["subjects"] or shared["pixels"]:
            both = f"{_many(shared['subjects'], 'subject')} and {_many(shared['pixels'], 'identical image')}"
            lines.append(f"LEAK: {pair} share {both}.")
    if proof.get("left_out"):
        images = _many(proof["left_out"], "test image")
        lines.append(f"{images} with the same pixels as an image of another split left out.")
    if proof["unknown"]:
        told = f"For {_many(proof['unknown'], 'image')} the subject is not known, and each counts as its own"
        lines.append(f"{told}: that one person is in two splits cannot be ruled out for them.")
    return lines


_FEW = "give it a share of 0, or bring more subjects"


def _many(count: int, word: str) -> str:
    return f"{count:,} {word}{'' if count == 1 else 's'}"


def _check_fractions(fractions: Mapping[str, float]) -> None:
    problems = [
        Problem(f"split {name}", "there is no such split", f"use {', '.join(SPLITS)}")
        for name in fractions
        if name not in SPLITS
    ]
    problems += [
        Problem(f"split {name}", f"its share {share} is not between 0 and 1", "give a share between 0 and 1")
        for name, share in fractions.items()
        if not 0 <= share <= 1
    ]
    total = sum(fractions.values())
    if not abs(total - 1) < 1e-6:
        problems.append(Problem("split", f"the shares sum to {total:g}, not 1", "change them so that they sum to 1"))
    if problems:
        raise InputError("The shares of the splits cannot be used.", problems)


def _checked(table: pl.DataFrame) -> pl.DataFrame:
    problems = []
    wrong = table.filter(~pl.col("split").is_in(SPLITS) | pl.col("split").is_null())
    for name in sorted(set(wrong["split"].fill_null("").to_list())):
        many = _many(int((wrong["split"].fill_null("") == name).sum()), "image")
        problems.append(Problem(f"split '{name}'", f"{many} have it", f"use {', '.join(SPLITS)} for every image"))
    leaks = (("subject", "subject"), ("sha256", "picture with digest"))
    for column, word in leaks:
        twice = table.group_by(column).agg(pl.col("split").unique().sort()).filter(pl.col("split").list.len() > 1)
        rows = twice.sort(column).rows()
        for value, names in rows[:SHOWN]:
            problems.append(Problem(f"{word} {value}", f"is in {' and '.join(names)}", "put all of it in one split"))
        if len(rows) > SHOWN:
            problems.append(Problem(word, f"and {len(rows) - SHOWN} more"))
    if problems:
        raise InputError("The split of this cohort leaks or is incomplete.", problems)
    return table


def _elsewhere(table: pl.DataFrame, test_where: Mapping[str, Collection[str]]) -> set[str]:
    """Subjects with an image that `test_where` names."""
    found: set[str] = set()
    for column, values in test_where.items():
        if column not in table.columns:
            free = ", ".join(sorted(set(table.columns) - {"block", "row", "sha256", "id", "file", "subject"}))
            problem = Problem(f"split.test_where.{column}", "the cohort has no such column", f"use one of {free}")
            raise InputError("The test part cannot be cut off.", [problem])
        there = set(table[column].cast(pl.String).to_list())
        if lacking := sorted(set(values) - there):
            remedy = f"there are {', '.join(sorted(map(str, there))[:SHOWN])}"
            problem = Problem(f"split.test_where.{column}", f"no image has the value '{lacking[0]}'", remedy)
            raise InputError("The test part cannot be cut off.", [problem])
        found |= set(table.filter(pl.col(column).cast(pl.String).is_in(list(values)))["subject"].to_list())
    return found


def _groups(table: pl.DataFrame) -> dict[str, str]:
    """Group of each subject, named by its first one; subjects that share pixels are in one (union-find)."""
    parent = {subject: subject for subject in sorted(table["subject"].unique())}

    def root(subject: str) -> str:
        while parent[subject] != subject:
            parent[subject] = subject = parent[parent[subject]]
        return subject

    shared = table.group_by("sha256").agg(pl.col("subject").unique()).filter(pl.col("subject").list.len() > 1)
    for subjects in shared["subject"].to_list():
        for other in subjects[1:]:
            first, second = sorted((root(subjects[0]), root(other)))
            parent[second] = first  # the smaller name leads, whatever order the pairs came in
    return {subject: root(subject) for subject in parent}


def _labels(table: pl.DataFrame, groups: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    labels: dict[str, set[str]] = defaultdict(set)
    for subject, label in table.select("subject", "label").unique().rows():
        labels[groups[subject]].add(label)
    return {group: tuple(sorted(names)) for group, names in labels.items()}


def _assign(
    groups: Mapping[str, str],
    fractions: Mapping[str, float],
    seed: int,
    labels: Mapping[str, tuple[str, ...]],
) -> dict[str, str]:
    strata: dict[tuple[str, ...], list[str]] = defaultdict(list)
    for group in sorted(labels, key=lambda group: _order(seed, group)):
        strata[labels[group]].append(group)
    names = [name for name in SPLITS if fractions.get(name, 0) > 0]
    carried = dict.fromkeys(names, 0.0)
    chosen = {}
    for stratum in sorted(strata, key=lambda key: (-len(strata[key]), key)):
        members = iter(strata[stratum])
        counts = _shares(len(strata[stratum]), [fractions[name] for name in names], [carried[name] for name in names])
        for name, count in zip(names, counts, strict=True):
            carried[name] += fractions[name] * len(strata[stratum]) - count
            for _ in range(count):
                chosen[next(members)] = name
    return {subject: chosen[group] for subject, group in groups.items()}


def _shares(count: int, fractions: Sequence[float], carried: Sequence[float]) -> list[int]:
    """Whole numbers that sum to `count`, each within one of its share; the rest goes where most is owed."""
    total = sum(fractions)
    exact = [count * share / total for share in fractions]
    whole = [int(value + 1e-9) for value in exact]
    owed = [value - part + carry for value, part, carry in zip(exact, whole, carried, strict=True)]
    order = sorted(range(len(whole)), key=lambda at: (-round(owed[at], 9), at))
    for at in order[: count - sum(whole)]:
        whole[at] += 1
    return whole


def _order(seed: int, subject: str) -> bytes:
    return hashlib.sha256(f"{seed}\x1f{subject}".encode()).digest()
