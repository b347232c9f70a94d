"""Is the safety battery itself sound? Null rates, power, recall by family, cost, and a generator that must fail.

    python benchmarks/safety.py                     all parts on phantoms, about 15 minutes on two quiet cores
    python benchmarks/safety.py --real FILE.npz     recall on real images too (an archive with `train_images`)
    python benchmarks/safety.py --parts null power  some of: null power recall cost memorise
    python benchmarks/safety.py --quick             smaller everything, to see that it runs

null, power: one pool of 2,000 phantom patients is searched once, without labels; each repetition deals the labels train
and holdout anew, so the 200 repetitions are of the statistical core (ranking, permutation test), not of the search.
recall: copies of training images, flagged at level 1e-3 set by the holdout. cost: random squares of the real number.
"""

import argparse
import resource
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import yaml

from chambit.core.steps import Event
from chambit.measure import interval
from chambit.measure.descriptors import shrink
from chambit.measure.finder import Finder, squares
from chambit.measure.plants import FAMILIES, Material, plant
from chambit.measure.safety.membership import enrichment, rank
from chambit.measure.search import threshold
from chambit.phantoms import chest
from chambit.pipeline import study
from chambit.pipeline.closing import Closed

Cohort = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Train, holdout and auxiliary images float32 (N, H, W) in [0, 1]."""
MEMORISE = Path(__file__).with_name("memorise.yaml")


def main() -> None:
    """Run the parts that were asked for and print their tables."""
    parser = argparse.ArgumentParser(description="Measures the safety battery itself.")
    parser.add_argument("--parts", nargs="+", default=["null", "power", "recall", "cost", "memorise"])
    parser.add_argument("--real", type=Path)
    parser.add_argument("--seed", type=int, default=11, help="of the phantoms; 11 and 12 were used in development")
    parser.add_argument("--quick", action="store_true")
    wanted = parser.parse_args()
    patients, repetitions, copies = (300, 20, 10) if wanted.quick else (1000, 200, 60)
    began = time.monotonic()
    if {"null", "power"} & set(wanted.parts):
        table(patients, repetitions, rates(patients, repetitions, wanted.seed))
    if "recall" in wanted.parts:
        print(f"\nrecall at false-positive rate 1e-3, {copies} copies a family; Clopper-Pearson 95 % lower end")
        recalls("phantoms", cohort(patients, wanted.seed), copies)
        if wanted.real:
            recalls("real", archive(wanted.real), copies)
    if "cost" in wanted.parts:
        costs(500 if wanted.quick else 2000, (2000,) if wanted.quick else (61133, 145140))
    if "memorise" in wanted.parts:
        memorise(wanted.quick)
    print(f"\n{time.monotonic() - began:.0f} s, {peak():.2f} GiB at most")


def drawn(count: int, seed: int) -> np.ndarray:
    """One frontal phantom of each of `count` patients as float32 (N, 48, 64), as the demonstration crops them."""
    visits = chest.visits(0, count, seed=seed, prevalence=0.5)
    visits = list({visit.subject: visit for visit in reversed(visits)}.values())[::-1]  # the first of each patient
    images, _ = chest.render(visits, pixels=64, seed=seed, contrast=3.4)
    return images[:, :48].astype(np.float32) / 4095


def cohort(patients: int, seed: int) -> Cohort:
    """Train, holdout and auxiliary images of phantom patients, one image each."""
    images = drawn(2 * patients + max(100, patients // 4), seed)
    return images[:patients], images[patients : 2 * patients], images[2 * patients :]


def archive(path: Path) -> Cohort:
    """The same from an archive: distinct training images in random order; it names no patients."""
    with np.load(path) as held:
        images = np.unique(held["train_images"], axis=0).astype(np.float32) / 255
    images = np.random.default_rng(1).permutation(images)
    return images[: len(images) * 53 // 100], images[len(images) * 53 // 100 : len(images) * 83 // 100], images[-700:]


class Rate(NamedTuple):
    """One case of the membership test: what was released, what was copied and how often, p of each repetition."""

    released: str
    kind: str
    copied: int
    p: list[float]


def rates(patients: int, repetitions: int, seed: int, permutations: int = 2000) -> Iterator[Rate]:
    """The membership test where nothing leaks, and where ten patients are copied."""
    images = drawn(4 * patients, seed)
    pool, fresh, auxiliary = images[: 2 * patients], images[2 * patients : 3 * patients], images[3 * patients :]
    people = np.arange(len(pool)).astype(str)
    known = squares(pool)
    finder = Finder.fit(known, 48 / 64)
    whole = np.zeros(len(known), int)
    scale = finder.search(squares(auxiliary), known, whole).scale()

    def search(queries: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        found = finder.search(squares(np.clip(queries, 0, 1)), known, whole).fused(scale)
        return found.score, found.index

    rng = np.random.default_rng(2)
    mean = pool.mean(0)
    modes = fresh[rng.integers(5, size=len(fresh))]
    sets = {
        "fresh patients": fresh,
        "mode collapse (5 pictures)": 0.5 * mean + 0.5 * modes + rng.normal(0, 0.01, fresh.shape),
        "poor fidelity (noise 15 %)": fresh + rng.normal(0, 0.15, fresh.shape),
    }
    kinds = {
        "JPEG 50, noise 5 %": plant(plant(pool, "jpeg50", rng), "noise5", rng),
        "JPEG 20, turn 5 degrees": plant(_jpeg20(pool), "rotate5", rng),
    }
    synthetic = {name: search(queries.astype(np.float32)) for name, queries in sets.items()}
    copies = {name: search(queries) for name, queries in kinds.items()}
    cases = [(name, "", 0) for name in sets] + [(name, kind, 10) for name in sets for kind in kinds]
    for name, kind, count in cases:
        p = []
        for _ in range(repetitions):
            train = np.zeros(len(pool), bool)
            train[rng.permutation(len(pool))[:patients]] = True
            score, index = (part.copy() for part in synthetic[name])
            if count:
                chosen = rng.permutation(np.flatnonzero(train))[:count]
                place = rng.permutation(len(score))[:count]
                score[place], index[place] = copies[kind][0][chosen], copies[kind][1][chosen]
            ranking = rank(score, index, people, ~train, rng)
            p.append(enrichment(ranking, patients, patients, permutations, rng).p)
        yield Rate(name, kind, count, p)


def table(patients: int, repetitions: int, cases: Iterator[Rate]) -> None:
    """Print rejection rates with their intervals."""
    print(f"\nmembership, {patients} + {patients} patients, {patients} released images, {repetitions} repetitions")
    print(f"{'released images':28} {'copied':34} {'p <= 0.05':>22} {'p <= 0.01':>22}")
    for case in cases:
        copied = f"{case.copied} as {case.kind}" if case.copied else "none"
        print(f"{case.released:28} {copied:34} {share(case.p, 0.05):>22} {share(case.p, 0.01):>22}", flush=True)


def _jpeg20(images: np.ndarray) -> np.ndarray:
    import io

    from PIL import Image

    out = []
    for image in images:
        buffer = io.BytesIO()
        Image.fromarray(np.round(image * 255).astype(np.uint8)).save(buffer, "JPEG", quality=20)
        out.append(np.asarray(Image.open(buffer), np.float32) / 255)
    return np.stack(out)


def share(p: list[float], level: float) -> str:
    """How often p is at or below a level, with its interval."""
    hits = sum(value <= level for value in p)
    low, high = interval.clopper_pearson(hits, len(p))
    return f"{hits / len(p):.3f} ({low:.3f}-{high:.3f})"


class Recall(NamedTuple):
    """Copies of one family found, of so many, and the share whose own original was the nearest."""

    family: str
    found: int
    copies: int
    first: float


def recalls(name: str, given: Cohort, copies: int) -> list[Recall]:
    """Print and return the recall of every family at the threshold that the holdout sets."""
    began = time.monotonic()
    train, holdout, auxiliary = given
    known = squares(train)
    half = np.random.default_rng(0).permutation(len(known)) % 2
    finder = Finder.fit(known, train.shape[1] / train.shape[2])
    scale = finder.search(squares(auxiliary), known, half).contrasted().scale()
    found = finder.search(squares(holdout), known, half).contrasted()
    cut = threshold(np.sort(found.fused(scale).score[:, 0]), 1e-3)
    material = Material(auxiliary)
    print(f"{name}: train {len(train)}, holdout {len(holdout)}, auxiliary {len(auxiliary)}, threshold {cut:.2f}")
    print(f"{'family':20} {'kind':10} {'found':>6} {'lower':>6} {'own original nearest':>21}")
    chosen, made = {}, []
    for family in FAMILIES:
        rng = np.random.default_rng(sum(map(ord, family)))
        chosen[family] = rng.choice(len(train), copies, replace=False)
        made.append(squares(plant(train[chosen[family]], family, rng, material)))
    nearest = finder.search(np.concatenate(made), known, half).contrasted().fused(scale)
    rows = []
    for k, (family, source) in enumerate(chosen.items()):
        mine = slice(k * copies, (k + 1) * copies)
        hits, first = int((nearest.score[mine, 0] > cut).sum()), float((nearest.index[mine, 0] == source).mean())
        rows.append(Recall(family, hits, copies, first))
        low = interval.clopper_pearson(hits, copies)[0]
        print(f"{family:20} {FAMILIES[family].kind:10} {hits / copies:6.2f} {low:6.2f} {first:21.2f}")
    print(f"{time.monotonic() - began:.0f} s")
    return rows


def costs(size: int, national: tuple[int, ...]) -> None:
    """Seconds of the search beside a bare float32 matrix product over the same number of pairs and axes."""
    rng = np.random.default_rng(0)
    print(f"\ncost, {torch.get_num_threads()} threads")
    train = shrink(rng.random((size, 64, 64), np.float32), 64).astype(np.float16)
    began = time.monotonic()
    finder = Finder.fit(train, 1.0)
    fitted = time.monotonic() - began
    began = time.monotonic()
    group = np.repeat([0, 1], size)
    finder.search(rng.random((size, 64, 64), np.float32).astype(np.float16), np.concatenate([train, train]), group)
    took = time.monotonic() - began
    axes = sum(len(f.group.views) * len(f.group.turns) * f.query.ones.shape[1] for f in finder.scored + finder.hints)
    print(f"fit {size}: {fitted:.1f} s; search {size} x ({size} + {size}): {took:.1f} s, {peak():.2f} GiB")
    print(f"bare product {size} x {2 * size} over {axes} axes: {product(size, 2 * size, axes):.1f} s")
    queries = rng.random((256, 64, 64), np.float32).astype(np.float16)
    for count in national:
        references = np.empty((count, 64, 64), np.float16)
        for first in range(0, count, 4096):
            references[first : first + 4096] = rng.random((min(4096, count - first), 64, 64), np.float32)
        began = time.monotonic()
        finder.search(queries, references, np.zeros(count, int))
        one = time.monotonic() - began
        described = -(-count // 4096)
        print(
            f"{len(queries)} x {count}: {one:.0f} s, bare product {product(256, count, axes):.1f} s, {peak():.2f} GiB "
            f"({described} blocks of references described once a search)"
        )


def product(rows: int, columns: int, axes: int) -> float:
    """Seconds of one float32 product (rows, axes) x (axes, columns), by a part of the columns."""
    part = min(columns, 2048)
    one, other = torch.randn(rows, axes), torch.randn(axes, part)
    torch.mm(one, other)
    began = time.monotonic()
    torch.mm(one, other)
    return (time.monotonic() - began) * columns / part


def memorise(quick: bool) -> Closed:
    """Train on a few patients until they are known by heart; the battery must say FAIL."""
    told = yaml.safe_load(MEMORISE.read_text("utf-8"))
    if quick:
        told["cohort"]["phantoms"]["patients"] = 600
        told["cohort"]["split"] = {"train": 0.05, "holdout": 0.5, "auxiliary": 0.25, "test": 0.2}
        told["recipe"]["train"]["flow"] |= {"steps": 700, "width": 32}
        told["measures"] = {"copies": {}, "membership": {}}
        told["recipe"]["sample"]["images"] = 100
    with tempfile.TemporaryDirectory() as folder:
        asked = Path(folder, "memorise.yaml")
        asked.write_text(yaml.safe_dump(told, allow_unicode=True), "utf-8")
        began = time.monotonic()
        closed = study.run(study.read(asked), Path(folder), quiet)
    print(f"\na generator that memorised: {closed.verdict} in {time.monotonic() - began:.0f} s")
    for item in closed.evidence:
        if item.measure.split("@")[0] in ("copies", "membership", "attack", "singling_out"):
            shown = "none" if item.value is None else f"{item.value:.4g}"
            print(f"  {item.key:24} {shown:>10}  {item.verdict}")
    return closed


def quiet(_: Event) -> None:
    """No progress: the tables are what is wanted."""


def peak() -> float:
    """Largest resident memory of this process so far, GiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


if __name__ == "__main__":
    main()
