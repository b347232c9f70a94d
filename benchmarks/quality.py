"""What the examination of a cohort finds and what it wrongly finds: `python benchmarks/quality.py [--data FOLDER]`.

Planted in phantoms and, where FOLDER holds them, in the radiographs of `pneumoniamnist28` (28 pixels; subjects are not
told, so each image is one) and `covid_cxr_permissive_512` (at 128 pixels; all 113 in every seed). Other patients each
seed. Rates are over all seeds, with Clopper-Pearson intervals of 95 %. Checks were made with `PLANTS` in view.
`HELD_OUT` was written down before and run when they stood; after it, the scale of `texture` was changed for its false
alarms and `noisy` and `blurred` were added for missed `PLANTS` of small cohorts, none for the kinds held out.
"""

import argparse
import io
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl
from PIL import Image as Picture
from PIL import ImageDraw, ImageFont
from scipy import ndimage

from chambit.core.store import Store
from chambit.images.imageset import ImageSet, chunks, put_block
from chambit.measure.interval import clopper_pearson
from chambit.phantoms import chest
from chambit.prepare import quality

Plant = Callable[[np.ndarray, np.random.Generator], np.ndarray]
SHARE, COPIES, WRONG = 0.03, 0.02, 0.05


class Cohort(NamedTuple):
    """Images uint8 (N, H, W) with subject and label of each."""

    name: str
    images: np.ndarray
    subjects: np.ndarray
    labels: np.ndarray


Cohorts = Callable[[int], Cohort]  # one for each seed


def stored(cohort: Cohort, root: Path) -> ImageSet:
    """The cohort as intake would leave it; the n-th image is called `i00000n`."""
    store, rows = Store(root), []
    for _, part in chunks(len(cohort.images)):
        block, digests = put_block(store, cohort.images[part.start : part.stop])
        rows += [
            {
                "id": f"i{n:06d}",
                "sha256": digests[n - part.start],
                "block": block,
                "row": n - part.start,
                "subject": str(cohort.subjects[n]),
                "label": str(cohort.labels[n]),
                "file": f"{n:06d}.png",
            }
            for n in part
        ]
    return ImageSet(store, pl.DataFrame(rows))


def phantoms(count: int, pixels: int, seed: int) -> Cohort:
    """Drawn patients with one to three visits."""
    visits = chest.visits(0, count, seed=seed)[:count]
    drawn, _ = chest.render(visits, pixels=pixels, seed=seed)
    grey = np.rint(drawn * (255 / 4095)).astype(np.uint8)
    subjects, labels = np.array([v.subject for v in visits]), np.array([v.finding for v in visits])
    return Cohort(f"phantoms, {pixels} px", grey, subjects, labels)


def pneumonia(folder: Path, count: int, seed: int) -> Cohort:
    """Different images of pneumoniamnist28; every image is a subject of its own."""
    with np.load(folder / "pneumoniamnist28" / "pneumoniamnist.npz") as parts:
        images = np.concatenate([parts["train_images"], parts["val_images"]])
        labels = np.concatenate([parts["train_labels"], parts["val_labels"]]).ravel()
    different = np.sort(np.unique(images, axis=0, return_index=True)[1])
    at = np.random.default_rng(seed).permutation(different)[:count]
    names = np.array(["normal", "pneumonia"])[labels[at]]
    return Cohort("pneumoniamnist, 28 px", images[at], np.array([f"s{n}" for n in at]), names)


def covid(folder: Path, pixels: int) -> Cohort:
    """All radiographs of covid_cxr_permissive_512, square; the label is the view, the one thing all of them have."""
    at = folder / "covid_cxr_permissive_512"
    table = pl.read_csv(at / "metadata.csv", infer_schema_length=0)

    def read(name: str) -> np.ndarray:
        with Picture.open(at / "images" / name) as picture:
            return np.asarray(picture.convert("L").resize((pixels, pixels), Picture.Resampling.BOX))

    images = np.stack([read(name) for name in table["file"]])
    return Cohort(f"covid_cxr, {pixels} px", images, table["patientid"].to_numpy(), table["view"].to_numpy())


# --- what is planted


def _smooth(side: tuple[int, int], width: float, rng: np.random.Generator) -> np.ndarray:
    field = ndimage.gaussian_filter(rng.standard_normal(side), width * side[0], mode="wrap")
    return np.asarray((field - field.min()) / np.ptp(field))


def _inverted(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return 1 - x


def _blank(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return np.asarray(rng.uniform(0.05, 0.9) + 0.02 * (x - 0.5) + 0.004 * rng.standard_normal(x.shape))


def _saturated(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return np.asarray(4 * x - 0.4 if rng.random() < 0.5 else 4 * x - 2.6)


def _truncated(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    out = x.copy()
    out[int(len(x) * rng.uniform(0.4, 0.8)) :] = rng.choice([0.0, 0.5])
    return out


def _texture(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return np.asarray(sum(_smooth((x.shape[0], x.shape[1]), width, rng) for width in (0.02, 0.06, 0.15)) / 3)


def _turned(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return np.rot90(x, rng.choice([1, 3])).copy()


def _upside_down(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return x[::-1].copy()


def _noisy(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return np.asarray(x + 0.25 * rng.standard_normal(x.shape))


def _gradient(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A sky over a ground, as in a photograph."""
    y = np.linspace(0, 1, len(x))[:, None]
    edge = rng.uniform(0.4, 0.7)
    hills = edge + 0.1 * np.sin(np.linspace(0, rng.uniform(4, 9), x.shape[1]))[None, :]
    ground = 0.3 + 0.2 * _smooth((x.shape[0], x.shape[1]), 0.03, rng)
    return np.asarray(np.where(y < hills, 0.95 - 0.4 * y, ground))


def _page(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A scanned report: dark lines of text on white."""
    side = x.shape[0]
    page = Picture.new("L", (side * 4, side * 4), 245)
    pen, font = ImageDraw.Draw(page), ImageFont.load_default(max(10, side * 4 // 14))
    for row in range(12):
        words = " ".join("x" * int(rng.integers(2, 9)) for _ in range(6))
        pen.text((side // 4, int(side * 4 * (0.05 + 0.077 * row))), words, fill=30, font=font)
    return np.asarray(page.resize((x.shape[1], side), Picture.Resampling.BOX), np.float64) / 255


PLANTS: dict[str, Plant] = {
    "inverted": _inverted,
    "nearly blank": _blank,
    "saturated": _saturated,
    "truncated": _truncated,
    "noise texture": _texture,
    "turned by 90": _turned,
    "upside down": _upside_down,
    "heavy noise": _noisy,
    "photograph": _gradient,
    "text page": _page,
}
"""Outliers that limits and checks were tried on."""


def _sector(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """An ultrasound sector: speckle in a fan on black."""
    y, across = np.mgrid[0 : x.shape[0], 0 : x.shape[1]] / x.shape[0]
    radius, angle = np.hypot(y + 0.1, across - 0.5), np.abs(np.arctan2(across - 0.5, y + 0.1))
    speckle = ndimage.gaussian_filter(rng.rayleigh(0.3, x.shape), 0.6)
    return np.asarray(np.where((angle < 0.7) & (radius > 0.15) & (radius < 1.05), speckle * (1.2 - 0.5 * radius), 0))


def _double(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A double exposure: the image and itself turned by 90 degrees."""
    return np.asarray(0.5 * x + 0.5 * np.rot90(x))


HELD_OUT: dict[str, Plant] = {"ultrasound sector": _sector, "double exposure": _double}
"""Outliers that were never looked at while limits and checks were made."""


def _jpeg(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    buffer = io.BytesIO()
    Picture.fromarray(np.rint(x * 255).astype(np.uint8)).save(buffer, "JPEG", quality=int(rng.integers(50, 80)))
    return np.asarray(Picture.open(buffer), np.float64) / 255


def _brighter(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return np.asarray(x * rng.uniform(0.8, 1.2) + rng.uniform(-0.06, 0.06))


def _crop(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    start = rng.uniform(0, (len(x) - 1) * 0.05, 2)
    return np.asarray(ndimage.affine_transform(x, [0.95, 0.95], start, order=1, mode="nearest"))


def _tilted(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return np.asarray(ndimage.rotate(x, rng.choice([-1.0, 1.0]), reshape=False, order=1, mode="nearest"))


def _resized(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    half = Picture.fromarray(x.astype(np.float32)).resize((x.shape[1] // 2, x.shape[0] // 2), Picture.Resampling.BOX)
    return np.asarray(half.resize((x.shape[1], x.shape[0]), Picture.Resampling.BILINEAR), np.float64)


CHANGES: dict[str, Plant] = {
    "JPEG 50-80": _jpeg,
    "brightness": _brighter,
    "crop 95 %": _crop,
    "turn 1 degree": _tilted,
    "half size": _resized,
}
"""What is done to a near duplicate."""


class Planted(NamedTuple):
    """Images uint8 (N, H, W) and, for each, the kind of outlier or ""."""

    images: np.ndarray
    kinds: np.ndarray


def plant(images: np.ndarray, share: float, plants: dict[str, Plant], rng: np.random.Generator) -> Planted:
    """Change a share of images uint8 (N, H, W) to outliers, the kinds in turn."""
    out, kinds = images.copy(), np.full(len(images), "", dtype="<U32")
    names = rng.permutation(list(plants)).tolist()  # a small cohort holds only some kinds, others in each seed
    for k, at in enumerate(rng.permutation(len(images))[: round(share * len(images))]):
        kinds[at] = names[k % len(names)]
        changed = plants[str(kinds[at])](images[at].astype(np.float64) / 255, rng)
        out[at] = np.rint(np.clip(changed, 0, 1) * 255).astype(np.uint8)
    return Planted(out, kinds)


class Copied(NamedTuple):
    """A cohort with copies at its end; for each the change and the position of its original."""

    cohort: Cohort
    changes: np.ndarray
    originals: np.ndarray


def copied(cohort: Cohort, share: float, same: bool, rng: np.random.Generator) -> Copied:
    """Add changed copies of a share of the images, at least five, under the same or under new subjects."""
    count = max(len(CHANGES), round(share * len(cohort.images)))
    originals = rng.permutation(len(cohort.images))[:count]
    changes = np.array([list(CHANGES)[k % len(CHANGES)] for k in range(count)])
    made = [CHANGES[str(change)](cohort.images[at] / 255.0, rng) for change, at in zip(changes, originals, strict=True)]
    copies = np.rint(np.clip(made, 0, 1) * 255).astype(np.uint8)
    subjects = cohort.subjects[originals] if same else np.array([f"new{n}" for n in range(count)])
    whole = Cohort(
        cohort.name,
        np.concatenate([cohort.images, copies]),
        np.concatenate([cohort.subjects, subjects]),
        np.concatenate([cohort.labels, cohort.labels[originals]]),
    )
    return Copied(whole, changes, originals)


def mislabelled(labels: np.ndarray, share: float, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Labels with a share of them changed to another class, and which were changed, bool (N,)."""
    classes, out = np.unique(labels), labels.copy()
    wrong = np.zeros(len(labels), bool)
    wrong[rng.permutation(len(labels))[: round(share * len(labels))]] = True
    given = np.searchsorted(classes, labels[wrong])
    out[wrong] = classes[(given + rng.integers(1, len(classes), wrong.sum())) % len(classes)]
    return out, wrong


# --- what is counted


def outliers(cohorts: Cohorts, plants: Mapping[str, Plant], seeds: int, root: Path) -> Iterator[str]:
    """Recall of each kind, precision, and checks of false alarms; without plants the rate of false alarms."""
    found: Counter[str] = Counter()
    of: Counter[str] = Counter()
    alarms: Counter[str] = Counter()
    hits = removed = clean = false = 0
    for seed in range(seeds):
        cohort = cohorts(seed)
        rng = np.random.default_rng(seed)
        planted = plant(cohort.images, SHARE if plants else 0, dict(plants), rng)
        images = stored(cohort._replace(images=planted.images), root)
        findings = quality.examine(images, quality.Options(), np.random.default_rng(seed))
        findings = findings.filter(pl.col("removed") & ~pl.col("check").str.ends_with("duplicate"))
        taken = images.table["id"].is_in(findings["id"].to_list()).to_numpy()
        bad = planted.kinds != ""
        of.update(planted.kinds[bad].tolist())
        found.update(planted.kinds[bad & taken].tolist())
        hits, removed = hits + int((bad & taken).sum()), removed + int(taken.sum())
        clean, false = clean + int((~bad).sum()), false + int((~bad & taken).sum())
        wrong = images.table["id"].to_numpy()[~bad].tolist()
        alarms.update(findings.filter(pl.col("id").is_in(wrong))["check"].to_list())
    if plants:
        yield f"  recall {rate(hits, of.total())}, precision {rate(hits, removed)}"
        yield "  " + ", ".join(f"{kind} {found[kind]}/{of[kind]}" for kind in plants)
    told = ", ".join(f"{check} {count}" for check, count in alarms.most_common()) or "none"
    yield f"  false alarms {rate(false, clean)} ({told})"


def near_duplicates(cohorts: Cohorts, same: bool, seeds: int, root: Path) -> Iterator[str]:
    """Recall of each change, and pairs that were not planted."""
    found: Counter[str] = Counter()
    of: Counter[str] = Counter()
    strangers = siblings = images_in_all = 0
    for seed in range(seeds):
        cohort = cohorts(seed)
        made = copied(cohort, COPIES, same, np.random.default_rng(seed))
        images = stored(made.cohort, root)
        findings = quality.examine(images, quality.Options(), np.random.default_rng(seed))
        pairs = findings.filter(pl.col("check").str.ends_with("duplicate")).select("id", "twin").rows()
        ends = {(int(a[1:]), int(b[1:])) for a, b in pairs}
        first = len(cohort.images)
        for n, (change, original) in enumerate(zip(made.changes, made.originals, strict=True)):
            of[str(change)] += 1
            found[str(change)] += (first + n, int(original)) in ends
        subject = cohort.subjects
        rest = [(a, b) for a, b in ends if a < first]
        strangers += sum(subject[a] != subject[b] for a, b in rest)
        siblings += sum(subject[a] == subject[b] for a, b in rest)
        images_in_all += first
    whose = "of the same subject" if same else "of another subject"
    yield f"  copies {whose}: recall {rate(found.total(), of.total())}"
    yield "  " + ", ".join(f"{change} {found[change]}/{of[change]}" for change in CHANGES)
    yield f"  not planted: {rate(strangers, images_in_all)} with another subject, {siblings} of one subject"


def label_errors(cohorts: Cohorts, seeds: int, root: Path) -> Iterator[str]:
    """Precision and recall of the images listed, and of as many from the top as were planted."""
    hits = listed = planted = top = 0
    aurocs, expected = [], []
    for seed in range(seeds):
        cohort = cohorts(seed)
        labels, wrong = mislabelled(cohort.labels, WRONG, np.random.default_rng(seed))
        review = quality.review(
            stored(cohort._replace(labels=labels), root), quality.Options(), np.random.default_rng(seed)
        )
        at = [int(n[1:]) for n in review.listed.filter(pl.col("kind") == "suspected")["id"]]
        hits, listed, planted = hits + int(wrong[at].sum()), listed + len(at), planted + int(wrong.sum())
        top += int(wrong[at[: int(wrong.sum())]].sum())
        aurocs.append(review.auroc or 0.5)
        expected.append(float(review.joint["expected"].sum()))
        if review.reason:
            yield f"  seed {seed}: {review.reason}"
    if listed:
        yield f"  recall {rate(hits, planted)}, precision {rate(hits, listed)}, AUROC {np.mean(aurocs):.3f}"
        yield f"  {np.mean(expected):.0f} errors expected by the joint, {planted / seeds:.0f} planted"


def rate(found: int, of: int) -> str:
    """A share with its interval and sizes."""
    if not of:
        return "none"
    low, high = clopper_pearson(found, of)
    return f"{found / of:.3f} [{low:.3f}, {high:.3f}] ({found}/{of})"


def main() -> None:
    """Print all tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder with pneumoniamnist28 and covid_cxr_permissive_512")
    parser.add_argument("--count", type=int, default=1000, help="images of a cohort")
    parser.add_argument("--seeds", type=int, default=5)
    given = parser.parse_args()
    cohorts: list[Cohorts] = [
        lambda seed: phantoms(given.count, 64, seed),
        lambda seed: phantoms(given.count, 128, seed),
    ]
    if given.data:
        cohorts += [lambda seed: pneumonia(given.data, given.count, seed), lambda seed: covid(given.data, 128)]
    tables: list[tuple[str, Callable[[Cohorts, Path], Iterator[str]]]] = [
        ("outliers", lambda cohorts, root: outliers(cohorts, PLANTS, given.seeds, root)),
        ("outliers of kinds held out", lambda cohorts, root: outliers(cohorts, HELD_OUT, given.seeds, root)),
        ("nothing planted", lambda cohorts, root: outliers(cohorts, {}, given.seeds, root)),
        ("near duplicates", lambda cohorts, root: near_duplicates(cohorts, False, given.seeds, root)),
        ("near duplicates", lambda cohorts, root: near_duplicates(cohorts, True, given.seeds, root)),
        ("wrong labels", lambda cohorts, root: label_errors(cohorts, given.seeds, root)),
    ]
    for make in map(cache, cohorts):
        name, count = make(0).name, len(make(0).images)
        for title, table in tables:
            with tempfile.TemporaryDirectory() as root:
                lines = list(table(make, Path(root)))
            print(f"{name}, {count} images, {given.seeds} seeds: {title}")
            print("\n".join(lines), flush=True)


if __name__ == "__main__":
    main()
