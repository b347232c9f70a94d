"""Examinations without the pipeline: synthetic patients in a store, so that a measure can be tested alone."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl
import pytest
from scipy import ndimage

from chambit.core.engines import inline
from chambit.core.evidence import Evidence, Finding
from chambit.core.ledger import Ledger
from chambit.core.steps import Context, Step
from chambit.core.store import Store
from chambit.images.imageset import BLOCK, ImageSet, chunks, put_block
from chambit.measure.examination import Examination, Result
from chambit.measure.search import Search
from chambit.pipeline import examining
from chambit.review import policy
from chambit.review.verdict import judge

POLICY = policy.load("default")
MARGIN = POLICY.margins["auroc"].value
SIDE = 32
# what the policy asks of a real study, at the size of a test
SMALL: dict[str, dict[str, Any]] = {
    "copies": {"least": 99, "plants": 20},
    "membership": {"least": 99, "permutations": 1000, "hidden": 20},
    "attack": {"least": 99, "planted": 20, "splits": 50, "draws": 500},
    "singling_out": {"least": 99, "planted": 20},
    "linkability": {"least": 99, "planted": 20},
    "inference": {"least": 99, "planted": 20},
    "privacy_audit": {"least": 60, "planted": 1.0},
    "downstream": {"seeds": 2, "steps": 40, "draws": 300, "components": 20, "least_test": 20, "heads": ()},
    "segmentation": {"seeds": 2, "steps": 25, "draws": 300, "least_test": 20},
    "saliency": {"seeds": 2, "steps": 12, "images": 60, "draws": 300},
    "frechet": {"draws": 12, "blocks": 8, "extractors": ("texture",)},
    "kernel": {"draws": 20, "pairs": 15, "extractors": ("texture",)},
    "precision_recall": {"draws": 10, "pairs": 15, "extractors": ("texture",)},
    "vendi": {"draws": 12, "pairs": 15, "extractors": ("texture",)},
    "intensity": {"draws": 12, "pairs": 15},
    "spectrum": {"draws": 12, "pairs": 15},
    "structure": {"pairs": 300, "draws": 200, "splits": 12},
    "agreement": {"pairs": 15, "extractors": ("texture", "radiomics")},
    "border": {"draws": 200, "least": 10},
    "shortcut": {"draws": 200, "splits": 6, "folds": 3},
    "mix": {"sizes": (20, 60), "times": (1,), "rare": (5,), "seeds": 1, "steps": 20, "draws": 200, "least_test": 20},
    "refinement": {"seeds": 1, "steps": 20, "draws": 200, "least_test": 20},
    "exchangeability": {"draws": 200},
    "text": {"heights": (8, 10), "contrasts": (0.5,), "plants": 2, "compulsory": 5, "identifiers": 4, "holdout": 20},
    "composition": {},
    "colour": {"draws": 12, "pairs": 15},
    "temporal": {"steps": 40, "least": 12, "splits": 12, "draws": 200, "pairs": 15},
    "resolution": {"draws": 200},
    "completeness": {},
    "rivals": {"seeds": 1, "steps": 20, "draws": 200, "least_test": 20},
}


class Cohort(NamedTuple):
    """Images uint8 or uint16 (N, H, W), and subject and label of each."""

    pixels: np.ndarray
    subjects: np.ndarray
    labels: np.ndarray

    @property
    def grey(self) -> np.ndarray:
        """The images as float32 in [0, 1]."""
        return self.pixels.astype(np.float32) / np.float32(np.iinfo(self.pixels.dtype).max)

    def of(self, grey: np.ndarray) -> "Cohort":
        """The same people with other pixels, given as [0, 1]."""
        return self._replace(pixels=depth(grey, self.pixels.dtype))

    def __add__(self, other: "Cohort") -> "Cohort":  # type: ignore[override]
        return Cohort(*(np.concatenate(pair) for pair in zip(self, other, strict=True)))

    def __getitem__(self, index: Any) -> "Cohort":  # type: ignore[override]
        return Cohort(*(np.asarray(part)[index] for part in tuple(self)))


def depth(grey: np.ndarray, dtype: Any = np.uint8) -> np.ndarray:
    """Images in [0, 1] as uint8 or uint16."""
    white = np.iinfo(dtype).max
    return np.round(np.clip(grey, 0, 1) * white).astype(dtype)


def fields(count: int, rng: np.random.Generator, side: int = SIDE, smooth: float = 2.0) -> np.ndarray:
    """Smooth random fields (count, side, side) of mean 0 and standard deviation 1."""
    raw = ndimage.gaussian_filter(rng.normal(size=(count, side, side)), (0, smooth, smooth), mode="wrap")
    return raw / raw.std()


def patients(
    count: int, seed: int, prefix: str = "p", *, each: int = 1, side: int = SIDE, dtype: Any = np.uint8
) -> Cohort:
    """`count` patients, each with a field of their own on a body all share, and noise in each image; labels a and b."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:side, :side] / side
    body = np.exp(-((x - 0.4) ** 2 + 2 * (y - 0.55) ** 2) / 0.08)
    own = np.repeat(0.3 + 0.3 * body + 0.12 * fields(count, rng, side), each, axis=0)
    noisy = own + rng.normal(0, 0.01, own.shape)
    names = np.repeat([f"{prefix}{k}" for k in range(count)], each)
    return Cohort(depth(noisy, dtype), names, np.repeat([("a", "b")[k % 2] for k in range(count)], each))


def cohorts(seed: int, **counts: int) -> dict[str, Cohort]:
    """Cohorts for the safety measures, all of one kind and of no leak; `counts` says how many patients of a role."""
    sizes = {"train": 120, "holdout": 120, "auxiliary": 100, "synthetic": 150} | counts
    return {role: patients(n, 100 * seed + k, role) for k, (role, n) in enumerate(sizes.items())}


@contextmanager
def workplace(folder: Path) -> Iterator[Context]:
    """A context with store and ledger in a folder and the inline engine."""
    ledger = Ledger.beside(folder)
    step = Step("examination", "1", {}, {}, lambda _: {}, seed=7)
    yield Context(step, Store(folder), ledger, inline.Engine(), lambda _: None, folder / "scratch")
    ledger.close()


def keep(store: Store, cohort: Cohort, prefix: str = "i", block_size: int = BLOCK) -> ImageSet:
    """Put a cohort in the store, block by block."""
    blocks: list[str] = []
    rows: list[int] = []
    digests: list[str] = []
    for _, part in chunks(len(cohort.pixels), block_size):
        block, own = put_block(store, cohort.pixels[part.start : part.stop])
        blocks += [block] * len(part)
        rows += range(len(part))
        digests += own
    columns = {
        "id": [f"{prefix}{k:05d}" for k in range(len(rows))],
        "sha256": digests,
        "block": blocks,
        "row": rows,
        "subject": cohort.subjects.tolist(),
        "label": cohort.labels.tolist(),
    }
    return ImageSet(store, pl.DataFrame(columns))


def examination(
    context: Context, given: Mapping[str, Cohort], seed: int = 7, options: Any = None, block_size: int = BLOCK
) -> Examination:
    """An examination of these cohorts, under a step of its own as the pipeline would make it."""
    sets = {role: keep(context.store, cohort, role, block_size) for role, cohort in given.items()}
    inputs = {role: context.store.put_table(images.table) for role, images in sets.items()}
    step = Step("measure", "1", {} if options is None else options.model_dump(mode="json"), inputs, lambda _: {}, seed)
    return Examination(
        sets, Context(step, context.store, context.ledger, context.engine, context.tell, context.scratch)
    )


def measure(
    context: Context,
    name: str,
    given: Mapping[str, Cohort],
    seed: int = 7,
    block_size: int = BLOCK,
    **changes: Any,
) -> Result:
    """Run one measure with the policy's settings, made small, then changed."""
    options = examining.options_of(name, POLICY, MARGIN, {**SMALL[name], **changes})
    module = examining.extensions.load(examining.kinds()[name], name)
    return module.measure(examination(context, given, seed, options, block_size), options)


def remember_searches(patch: pytest.MonkeyPatch) -> None:
    """Fit the search once for the same real images, however often they are measured: fitting is most of the time."""
    whole, known = Search.of, dict[tuple[str, ...], Search]()

    def of(exam: Examination) -> Search:
        key = tuple(exam[role].digest for role in ("train", "holdout", "auxiliary"))
        if key not in known:
            known[key] = whole(exam)
        return known[key]

    patch.setattr(Search, "of", of)


def by_key(result: Result) -> dict[str, Finding]:
    """The findings of a result by their key."""
    return {finding.key: finding for finding in result.findings}


def judged(*results: Result) -> dict[str, Evidence]:
    """The findings of results after review, by key."""
    return {finding.key: judge(finding, POLICY) for result in results for finding in result.findings}
