"""Requested against obtained: what a verifier reads in the images beside what was asked for.

A verifier is any callable `verify(images) -> {factor: levels}`; levels are the plan's words, "" where it cannot say. A
factor that no verifier reads is reported as unverified, not as obtained. Shares have Wilson's interval at 95 % (1927,
DOI 10.1080/01621459.1927.10502953).

`trained` gives a verifier for chest images, fitted on phantoms blurred and curved at random and checked on phantoms of
other patients. It sees 32 x 32 pixels of the upper 72 % of an image: what lies below the chest must not be read. View,
sex and habitus: multinomial logistic regression on principal components of the pixels and of their local contrast.
Disease: logistic regression on how the image differs from its projection on the components of normal phantoms,
r = x - P x, since an opacity is small and anywhere: extremes and moments of r at three scales. What it says of images
of another look is weaker than its check; the page shows the check beside every table.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
import polars as pl
from scipy import ndimage

from chambit.generate.prompted import lateral
from chambit.generate.prompted.plan import PromptPlan
from chambit.phantoms import chest
from chambit.phantoms.anatomy import AGE_BANDS, HABITUS

READ = ("view", "sex", "habitus", "disease")
SIDE, UPPER, PARTS = 32, 0.72, 160
NORMAL_PARTS = 40  # few enough that a normal chest is explained and an opacity is not
SCALES = (0.7, 1.2, 2.0)  # of the difference, in pixels of SIDE
LATERAL = 0.25  # share of lateral views among the phantoms it learns from


class Verify(Protocol):
    """Reads images float32 (N, H, W) in [0, 1]: the level of each factor it knows, str (N,), "" where it cannot say."""

    def __call__(self, images: np.ndarray, /) -> Mapping[str, np.ndarray]:
        """Factor -> levels."""


class Share(NamedTuple):
    """A share k / n with its 95 % interval by Wilson; `value` is NaN for n = 0."""

    k: int
    n: int
    value: float
    low: float
    high: float


def share(k: int, n: int) -> Share:
    """K of n with Wilson's interval.

    >>> tuple(round(number, 3) for number in share(10, 10)[2:])
    (1.0, 0.722, 1.0)
    """
    if not n:
        return Share(0, 0, math.nan, 0.0, 1.0)
    z, p = 1.959964, k / n
    middle, spread = p + z * z / (2 * n), z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    scale = 1 + z * z / n
    return Share(k, n, p, max(0.0, (middle - spread) / scale), min(1.0, (middle + spread) / scale))


class Checked(NamedTuple):
    """How well a verifier read one factor on images it had not seen; `common` is the share of the commonest level."""

    factor: str
    right: Share
    common: float

    @property
    def reads(self) -> bool:
        """Whether it is better than naming the commonest level, by the interval's lower end."""
        return self.right.low > self.common


class Compared(NamedTuple):
    """One factor: confusion int64 (L, L + 1), rows requested, columns verified (last: could not say), and agreement.

    `checked` is None where the verifier comes without a check; `blank` says why there is no table ("" where there is).
    """

    factor: str
    levels: tuple[str, ...]
    confusion: np.ndarray
    agreement: Share
    checked: Checked | None
    blank: str = ""

    @property
    def unsaid(self) -> int:
        """Images of which the verifier could not say the level."""
        return int(self.confusion[:, -1].sum())


class Trained(NamedTuple):
    """A verifier with its own check; call it with images."""

    heads: Mapping[str, Any]
    checks: Mapping[str, Checked]

    def __call__(self, images: np.ndarray) -> dict[str, np.ndarray]:
        """Levels of each factor it reads, str (N,), of images float32 (N, H, W) in [0, 1]."""
        seen = _seen(images)
        return {name: head.predict(seen) for name, head in self.heads.items()}


class _Pixels(NamedTuple):
    """Reads a factor from pixels and local contrast."""

    pipeline: Any

    def predict(self, seen: np.ndarray) -> np.ndarray:
        """Levels, str (N,), of what `_seen` gives."""
        return np.asarray(self.pipeline.predict(seen)).astype(str)


class _Difference(NamedTuple):
    """Reads a factor from how an image differs from normal ones."""

    normal: Any
    pipeline: Any

    def predict(self, seen: np.ndarray) -> np.ndarray:
        """Levels, str (N,), of what `_seen` gives."""
        return np.asarray(self.pipeline.predict(_differences(self.normal, seen))).astype(str)


def trained(seed: int, patients: int = 1200, held_out: int = 300, pixels: int = 64) -> Trained:
    """A verifier trained on phantoms; the defaults take about 20 s of one core.

    Args:
        seed: of patients and of what is done to their images.
        patients: it learns from.
        held_out: others it is checked on.
        pixels: height and width of the phantoms.
    """
    images, truth = _phantoms(seed, patients + held_out, pixels)
    seen = _seen(images)
    heads, checks = {}, {}
    for name in READ:
        levels = truth[name]
        fit = _difference if name == "disease" else _pixels
        heads[name] = fit(seen[:patients], levels[:patients])
        right = int((heads[name].predict(seen[patients:]) == levels[patients:]).sum())
        common = float(np.unique(levels[patients:], return_counts=True)[1].max() / held_out)
        checks[name] = Checked(name, share(right, held_out), common)
    return Trained(heads, checks)


def _pixels(seen: np.ndarray, levels: np.ndarray) -> _Pixels:
    from sklearn.decomposition import PCA
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    parts = PCA(min(PARTS, len(seen) // 4), svd_solver="full")
    chain = make_pipeline(StandardScaler(), parts, StandardScaler(), LogisticRegression(C=0.01, max_iter=400))
    return _Pixels(chain.fit(seen, levels))


def _difference(seen: np.ndarray, levels: np.ndarray) -> _Difference:
    from sklearn.decomposition import PCA
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    normal = PCA(NORMAL_PARTS, svd_solver="full").fit(seen[levels == "normal", : SIDE * SIDE])
    chain = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    return _Difference(normal, chain.fit(_differences(normal, seen), levels))


def _differences(normal: Any, seen: np.ndarray) -> np.ndarray:
    """Extremes and moments of the difference from normal at each scale, float64 (N, 6 * scales)."""
    x = seen[:, : SIDE * SIDE]
    rest = (x - normal.inverse_transform(normal.transform(x))).reshape(-1, SIDE, SIDE)
    columns = []
    for sigma in SCALES:
        smooth = np.sort(
            ndimage.gaussian_filter(rest, (0, sigma, sigma)).reshape(len(x), -1).astype(np.float64), axis=1
        )
        columns += [smooth[:, -1], smooth[:, -5], smooth[:, -20], smooth[:, 0], smooth.std(1), (smooth**3).mean(1)]
    return np.stack(columns, axis=1)


def compared(
    plan: PromptPlan, asked: pl.DataFrame, verified: Mapping[str, np.ndarray], checks: Mapping[str, Checked]
) -> list[Compared]:
    """Requested against verified levels of every factor of the plan, in its order.

    Args:
        plan: the plan.
        asked: a row per image with columns `asked_FACTOR`.
        verified: factor -> level read in each image, in the same order.
        checks: how well the verifier reads each factor, where that is known.
    """
    return [_compared(name, tuple(factor.levels), asked, verified, checks) for name, factor in plan.factors.items()]


def _compared(
    name: str,
    levels: tuple[str, ...],
    asked: pl.DataFrame,
    verified: Mapping[str, np.ndarray],
    checks: Mapping[str, Checked],
) -> Compared:
    check = checks.get(name)
    empty = np.zeros((len(levels), len(levels) + 1), np.int64)
    if name not in verified or not len(asked):
        return Compared(name, levels, empty, share(0, 0), check, "unverified")
    if check is not None and not check.reads:
        return Compared(name, levels, empty, share(0, 0), check, "unreadable")
    place = {level: number for number, level in enumerate(levels)}
    for wanted, got in zip(asked[f"asked_{name}"].to_list(), verified[name], strict=True):
        empty[place[wanted], place.get(str(got), len(levels))] += 1
    said = int(empty[:, :-1].sum())
    return Compared(name, levels, empty, share(int(np.trace(empty)), said), check)


def _phantoms(seed: int, count: int, pixels: int) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Chest phantoms, one image of each patient, float32 (count, pixels, pixels), and their levels."""
    images = np.empty((count, pixels, pixels), np.float32)
    rows: list[tuple[str, str, str, str]] = []
    for index in range(count):
        rng = np.random.default_rng([seed, index])
        sex, ill = "FM"[int(rng.integers(2))], bool(rng.integers(2))
        habitus, age = HABITUS[int(rng.integers(3))], AGE_BANDS[int(rng.integers(4))]
        view = "lateral" if rng.random() < LATERAL else ("PA", "AP")[int(rng.integers(2))]
        if view == "lateral":
            thick = 3.0 if ill else 0.0
            drawn = lateral.radiograph(rng, pixels, sex=sex, age_band=age, habitus=habitus, consolidation=thick)
        else:
            finding, site = "consolidation" if ill else "normal", "ABC"[int(rng.integers(3))]
            visit = chest.Visit(f"V{index}", 1, index, finding, sex, age, habitus, view, site)
            drawn = chest.render([visit], pixels=pixels, seed=seed, contrast=3.0)[0][0].astype(np.float32) / 4095
        images[index] = _disguised(drawn, rng)
        rows.append((view, sex, habitus, "pneumonia" if ill else "normal"))
    return images, {name: np.array([row[k] for row in rows]) for k, name in enumerate(READ)}


def _disguised(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Another look of the same patient: blurred, with another contrast and gamma."""
    blurred = ndimage.gaussian_filter(image, rng.uniform(0, len(image) / 90))
    bold = 0.5 + rng.uniform(0.9, 1.6) * (blurred - 0.5) + rng.uniform(-0.05, 0.05)
    return np.asarray(np.clip(bold, 0, 1) ** rng.uniform(0.8, 1.25), np.float32)


def _seen(images: np.ndarray) -> np.ndarray:
    """What the heads are given, float32 (N, 2 * SIDE * SIDE): pixels by rank-free standardising, and local contrast."""
    upper = images[:, : round(UPPER * images.shape[1])]
    zoom = (SIDE / upper.shape[1], SIDE / upper.shape[2])
    out = np.empty((len(images), 2, SIDE, SIDE), np.float32)
    for k, image in enumerate(upper):
        # averaged down first, so that a fine and a coarse image of one chest look alike
        smooth = ndimage.gaussian_filter(image, (0.5 / zoom[0], 0.5 / zoom[1]))
        small = ndimage.zoom(smooth, zoom, order=1, grid_mode=True, mode="nearest")
        small = (small - small.mean()) / max(float(small.std()), 1e-6)
        out[k] = small, small - ndimage.gaussian_filter(small, 3)
    return out.reshape(len(images), -1)


def refusals(plan: PromptPlan, asked: pl.DataFrame, refused: Sequence[bool]) -> list[tuple[str, str, Share]]:
    """Share of refused requests at each level of each factor: (factor, level, share), in the plan's order."""
    was = np.asarray(refused, bool)
    found = []
    for name, factor in plan.factors.items():
        levels = asked[f"asked_{name}"].to_numpy().astype(str)
        found += [
            (name, level, share(int(was[levels == level].sum()), int((levels == level).sum())))
            for level in factor.levels
        ]
    return found
