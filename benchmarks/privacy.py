"""What differential privacy costs and whether the audit sees a broken one: `python benchmarks/privacy.py`.

Phantom patients at 32 x 32 pixels, the same network each time: without privacy, with epsilon 10 and 3; then, on a small
cohort, a claim of epsilon 1 that is kept and one that is broken (the noise left out). Printed: epsilon by both
accountants, seconds of a step against the step without privacy, Frechet distance of texture features to unseen
patients, and the audited epsilon on canaries for whom training threw a coin. The audited trainings are small on
purpose: few subjects, many steps, so that a training without noise remembers them.
"""

import argparse
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import polars as pl
import torch

from chambit.core.engines import inline
from chambit.core.ledger import Ledger
from chambit.core.steps import Context, Step
from chambit.core.store import Store
from chambit.generate.items import Examples, Form
from chambit.generate.privacy import dpsgd
from chambit.generate.stages import flow, flow_dp
from chambit.images import imageset
from chambit.images.imageset import ImageSet
from chambit.measure import similarity
from chambit.measure.embed import texture
from chambit.measure.examination import Examination
from chambit.measure.safety import privacy_audit
from chambit.measure.utility import frechet
from chambit.phantoms import chest
from chambit.pipeline import examining
from chambit.review import policy
from chambit.review.verdict import judge

SIDE = 32
CLASSES = ["consolidation", "normal"]
NETWORK: dict[str, Any] = {"width": 16, "block": 4, "keep": 3, "heun": 12, "checkpoint": 10**6}
REMEMBERING = NETWORK | {"width": 32}


def main() -> None:
    """Train, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--subjects", type=int, default=1000, help="training patients of the quality part")
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument(
        "--canaries", type=int, default=240, help="patients of the audited part, half of them trained on"
    )
    parser.add_argument("--audited-steps", type=int, default=300)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        quality(Path(folder), given.subjects, given.steps)
        audit(Path(folder), given.canaries, given.audited_steps)


def quality(folder: Path, subjects: int, steps: int) -> None:
    """Seconds per step and Frechet distance with and without privacy."""
    context = workplace(folder / "quality")
    train, masks = cohort(context.store, 0, subjects)
    holdout, _ = cohort(context.store, subjects, subjects)
    real, seen = texture.features(holdout.grey()), texture.features(train.grey())
    scale = np.maximum(np.concatenate([real, seen]).std(0), similarity.FLOOR)
    n = min(len(real), len(seen))
    print(f"{subjects} patients, {len(train)} images, {steps} steps; Frechet at {n} a side, "
          f"real against real {frechet.distance(real[:n] / scale, seen[:n] / scale):.1f}")  # fmt: skip
    batch = min(256, subjects)  # images a step without privacy, subjects a step (on average) with it
    options = flow.Options(steps=steps, batch=batch, look=0, **NETWORK)
    print("training                      epsilon (PRV)  (RDP)  sigma  s/step  ratio  Frechet")
    plain = 0.0
    for epsilon in (None, 10.0, 3.0):
        stage: Any = flow if epsilon is None else flow_dp
        if epsilon is not None:
            options = flow_dp.Options(steps=steps, subjects=batch, multiplicity=1, epsilon=epsilon, **NETWORK)
        clock = Clock()
        weights = stage.train(clock.on(context), Examples(train, Form(SIDE, SIDE), tuple(CLASSES), masks), options)
        plain = plain or clock.step
        made = drawn(context.store, stage, weights, options, n, train)
        far = frechet.distance(real[:n] / scale, texture.features(made) / scale)
        if epsilon is None:
            print(f"without privacy                           -      -      -  {clock.step:6.3f}   1.00  {far:7.1f}")
            continue
        claim = flow_dp.claim(context.store, weights)
        cost = f"{claim['epsilon']:8.2f} {claim['epsilon_rdp']:8.2f} {claim['sigma']:6.2f}"
        print(f"delta {claim['delta']:.0e}, sampled {claim['rate']:.3f}      {cost}  {clock.step:6.3f} "
              f"{clock.step / plain:6.2f}  {far:7.1f}", flush=True)  # fmt: skip


def audit(folder: Path, subjects: int, steps: int) -> None:
    """The audited epsilon of trainings that keep and that break their claim."""
    context = workplace(folder / "audit")
    train, _ = cohort(context.store, 0, subjects, one=True)
    holdout, _ = cohort(context.store, 10_000, 60, one=True)
    auxiliary, _ = cohort(context.store, 20_000, 300, one=True)
    sets = {"train": train, "holdout": holdout, "auxiliary": auxiliary}
    rules = policy.load("default")
    print(f"audit: {subjects} canaries, {steps} steps, one image each")
    print("training                  claimed  audited  reach  guesses right  AUC   verdict")
    for name, epsilon, broken in (("epsilon 1", 1.0, False), ("epsilon 1, noise left out", 1.0, True)):
        options = flow_dp.Options(
            steps=steps, subjects=64, multiplicity=1, epsilon=epsilon, canaries=subjects, drop=0, **REMEMBERING
        )
        noise = (lambda count: np.zeros(count)) if broken else dpsgd.noise
        with mock.patch.object(dpsgd, "noise", noise):
            weights = flow_dp.train(Clock().on(context), Examples(train, Form(SIDE, SIDE), tuple(CLASSES)), options)
        tables: dict[str, list[pl.DataFrame]] = {}
        for role, images in sets.items():
            labels = [CLASSES.index(label) for label in images.labels]
            for score, values in flow_dp.probe(context.store, weights, images.grey(), labels, None, 3, options).items():
                rows = {"id": images.table["id"], "role": role, "score": values}
                tables.setdefault(score, []).append(pl.DataFrame(rows))
        probes = {score: pl.concat(parts) for score, parts in tables.items()}
        claim = flow_dp.claim(context.store, weights)
        exam = Examination(sets, context, {}, probes, claim)
        settings = examining.options_of("privacy_audit", rules, 0.05, {})
        (finding,) = privacy_audit.measure(exam, settings).findings
        bound = f"{claim['epsilon']:6.2f} {finding.value or 0:8.2f} {finding.details['reach']:6.2f}"
        print(f"{name:26} {bound} {finding.n['guesses']:8d} {finding.n['right']:5d}  {told(exam, claim):.3f} "
              f"{judge(finding, rules).verdict}", flush=True)  # fmt: skip
        (context.scratch / "released.pt").unlink()  # the next training releases and throws its own


def told(exam: Examination, claim: Mapping[str, Any]) -> float:
    """AUC of the denoising score alone, canaries in training against those left out."""
    from chambit.measure import interval

    score = exam.probes["denoising"].filter(pl.col("role") == "train")["score"].to_numpy()
    return interval.auroc(score, ~np.isin(exam["train"].subjects, claim["left_out"]))


class Clock:
    """Seconds per step, without the accountant and without the first ten steps."""

    def __init__(self) -> None:
        self.seen: list[tuple[int, float]] = []

    @property
    def step(self) -> float:
        """Seconds of one step."""
        (a, first), (b, last) = self.seen[0], self.seen[-1]
        return (last - first) / (b - a)

    def on(self, context: Context) -> Context:
        """The context, its progress listened to."""

        def tell(event: Any) -> None:
            if event.unit == "steps":
                self.seen.append((event.done, time.monotonic()))

        return Context(context.step, context.store, context.ledger, context.engine, tell, context.scratch)


def drawn(store: Store, stage: Any, weights: str, options: Any, count: int, like: ImageSet) -> np.ndarray:
    """Synthetic images in the classes' shares of the training images."""
    labels = [CLASSES.index(label) for label in like.labels[:count]]
    parts = []
    for k in range(0, count, 128):
        part = labels[k : k + 128]
        seeds = [10_000 + i for i in range(k, k + len(part))]
        given = {"label": np.array(part), "finding": np.array(part) == 0}
        parts.append(stage.sample(store, weights, given, seeds, options)["image"])
    return np.concatenate(parts)


def cohort(store: Store, first: int, subjects: int, one: bool = False) -> tuple[ImageSet, np.ndarray]:
    """Phantom patients as a set, with the masks of their findings; `one`: the first image of each alone."""
    visits = [v for v in chest.visits(first, subjects, seed=11) if v.visit == 1 or not one]
    pixels, masks = chest.render(visits, pixels=SIDE, seed=11)
    grey = np.minimum(pixels * 16, 65535).astype(np.uint16)
    blocks, rows, digests = [], [], []
    for _, part in imageset.chunks(len(grey)):
        block, own = imageset.put_block(store, grey[part.start : part.stop])
        blocks += [block] * len(part)
        rows += range(len(part))
        digests += own
    columns = {
        "id": [f"{v.subject}-{v.visit}" for v in visits],
        "sha256": digests,
        "block": blocks,
        "row": rows,
        "subject": [v.subject for v in visits],
        "label": [v.finding for v in visits],
    }
    return ImageSet(store, pl.DataFrame(columns)), masks


def workplace(folder: Path) -> Context:
    """A context on a folder, without a pipeline."""
    step = Step("train", "1", {}, {}, lambda _: {}, seed=7)
    return Context(step, Store(folder), Ledger.beside(folder), inline.Engine(), lambda _: None, folder / "scratch")


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
