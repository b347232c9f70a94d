"""Generators at equal seconds of one processor: `python benchmarks/generators.py [--data FILE.npz] [--only flow,gan]`.

Data: drawn chest radiographs (phantoms), or an .npz of the MedMNIST layout (`train_images` uint8 (N, H, W),
`train_labels`, `val_images`, `val_labels`), given by its path. Every generator trains for the same seconds of processor
time (`time.process_time`, one thread), draws as many images as there are real ones to compare with, and is judged by

    FD        Frechet distance of Chambit's texture features to held-out real images; the floor is real against real
    label     AUROC of the label asked for, by a classifier trained on real images (chance 0.5); `flow-masks` is told
              the place of the finding too, where there are masks
    peak      share of the machine's product of bfloat16 matrices that training reached

The two rows `monai-*` are MONAI's own network with MONAI's own schedulers in the loop its tutorials show.
A contact sheet of each is written to --out when it is given.
"""

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl
import torch

from chambit.core import extensions
from chambit.core.engines import inline
from chambit.core.ledger import Ledger
from chambit.core.steps import Context, Step
from chambit.core.store import Store
from chambit.generate.items import Examples, Form
from chambit.generate.training import planner
from chambit.images import imageset
from chambit.images.imageset import ImageSet
from chambit.measure import classifier, similarity
from chambit.measure.embed import texture
from chambit.measure.interval import auroc
from chambit.measure.utility import frechet
from chambit.phantoms import chest

STAGES = {
    "flow": ("flow", {}),
    "edm": ("edm", {}),
    "ddpm-v": ("ddpm", {}),
    "ddpm-eps": ("ddpm", {"predicts": "eps", "schedule": "linear"}),
    "gan": ("gan", {"codec": "dct"}),
    "pca-gan": ("gan", {}),
    "pca-flow": ("flow", {"codec": "pca"}),
    "kl-flow": ("flow", {"codec": "kl", "block": 4, "keep": 2}),
    "flow-masks": ("flow", {}),
}
MONAI = ("monai-ddim", "monai-rflow")
JUDGED = 1200  # steps of the judge
ENOUGH = 10**6  # steps; time ends a training


class Data(NamedTuple):
    """Real images float32 (N, H, W) in [0, 1] with labels 0 and 1: to train on, to judge with, to compare with.

    Also `masks` of the training images, bool (N, H, W), or None.
    """

    train: np.ndarray
    train_labels: np.ndarray
    judge: np.ndarray
    judge_labels: np.ndarray
    test: np.ndarray
    test_labels: np.ndarray
    masks: np.ndarray | None = None


class Made(NamedTuple):
    """What a generator made, and how."""

    images: np.ndarray
    labels: np.ndarray
    steps: int
    seconds: float
    drawing: float
    parameters: int
    gflop_per_step: float


class OutOfTimeError(Exception):
    """Raised where the seconds of a training are over."""


def phantoms(count: int, side: int) -> Data:
    """Drawn chest radiographs of different patients in all three parts."""
    visits = chest.visits(0, count, seed=1)
    pixels, masks = chest.render(visits, pixels=side, seed=1)
    images = (pixels / np.float32(4095)).astype(np.float32)
    labels = np.array([visit.finding != "normal" for visit in visits]).astype(int)
    part = np.array([visit.index % 4 for visit in visits])  # half of the patients train
    # the judge has patients of its own, and more of them: one that reads real images badly cannot read others well
    visits = chest.visits(0, 2 * count, seed=2)
    others = (chest.render(visits, pixels=side, seed=2)[0] / np.float32(4095)).astype(np.float32)
    told = np.array([visit.finding != "normal" for visit in visits]).astype(int)
    return _dealt(images, labels, part)._replace(masks=masks[part < 2], judge=others, judge_labels=told)


def medmnist(path: Path, count: int) -> Data:
    """Images of a MedMNIST file."""
    with np.load(path) as file:
        images = np.concatenate([file["train_images"], file["val_images"]])[..., :].astype(np.float32) / 255
        labels = np.concatenate([file["train_labels"], file["val_labels"]]).reshape(-1).astype(int)
    chosen = np.random.default_rng(0).permutation(len(images))[:count]
    return _dealt(images[chosen], np.minimum(labels[chosen], 1), np.arange(len(chosen)) % 4)


def _dealt(images: np.ndarray, labels: np.ndarray, part: np.ndarray) -> Data:
    parts = [part < 2, part == 2, part == 3]
    return Data(*(array[which] for which in parts for array in (images, labels)))


def with_stage(
    name: str, data: Data, seconds: float, width: int | None, guidance: Sequence[float] = (1.0,)
) -> Iterator[tuple[str, Made]]:
    """Train a stage of Chambit for so long and draw, once for each strength; the seconds of a codec count."""
    stage_name, options = STAGES[name]
    stage = extensions.load("chambit.generate.stages", stage_name)
    base: dict[str, Any] = {"look": 0, "checkpoint": ENOUGH} | ({} if width is None else {"width": width})
    # first as many steps as there may be, to see how fast it is; then as many as fit, so that the schedule ends
    with tempfile.TemporaryDirectory() as folder:
        data = data if name == "flow-masks" else data._replace(masks=None)

        def pilot(steps: int, codec_steps: int) -> float:
            counts = {"steps": steps, "codec_steps": codec_steps}
            return _train(stage, data, Path(folder) / f"pilot {steps} {codec_steps}", base | options | counts)[1]

        # short runs differ by their steps alone, because fitting a codec takes as long in a short run as in a long one
        short, learnt = pilot(20, 20), options.get("codec") == "kl"
        step = max((pilot(80, 20) - short) / 60, 1e-4)
        codec_step = max((pilot(20, 60) - short) / 40, 1e-4) if learnt else 0.0
        left = seconds - max(0.0, short - 20 * step - 20 * codec_step)
        share = 0.35 if learnt else 1.0
        steps = {"steps": max(10, int(left * share / step))}
        steps |= {"codec_steps": max(10, int(left * (1 - share) / codec_step))} if learnt else {}
        used = base | options | steps
        (store, weights), spent = _train(stage, data, Path(folder) / "run", used)
        facts = stage.facts(store, weights)
        for strength in guidance:
            told = {} if strength == 1 else {"guidance": strength}
            checked = stage.Options.model_validate(used | told)
            began, images = time.process_time(), []
            for first in range(0, len(data.test), 128):
                labels = data.test_labels[first : first + 128]
                seeds = list(range(first, first + len(labels)))
                given = {"label": labels, "finding": labels == 1}
                images.append(stage.sample(store, weights, given, seeds, checked)["image"])
            drawing = time.process_time() - began
            yield (
                name + (f" g{strength:g}" if told else ""),
                Made(np.concatenate(images), data.test_labels, checked.steps, spent, drawing, facts["parameters"],
                     facts["gflop_per_step"]),
            )  # fmt: skip


def _train(stage: Any, data: Data, folder: Path, options: dict[str, Any]) -> tuple[tuple[Store, str], float]:
    step = Step("train", "1", {}, {}, lambda _: {}, seed=7)
    ledger = Ledger.beside(folder)
    context = Context(step, Store(folder), ledger, inline.Engine(), lambda _: None, folder / "scratch")
    pixels = (data.train * 255).round().astype(np.uint8)
    rows: dict[str, list[Any]] = {"sha256": [], "block": [], "row": []}
    for first in range(0, len(pixels), imageset.BLOCK):
        block, digests = imageset.put_block(context.store, pixels[first : first + imageset.BLOCK])
        rows["sha256"] += digests
        rows["block"] += [block] * len(digests)
        rows["row"] += range(len(digests))
    names = [str(k) for k in range(len(pixels))]
    table = pl.DataFrame(rows | {"id": names, "subject": names, "label": [str(one) for one in data.train_labels]})
    examples = Examples(ImageSet(context.store, table), Form(*pixels.shape[1:]), ("0", "1"), data.masks)
    began = time.process_time()
    weights = stage.train(context, examples, stage.Options.model_validate(options))
    spent = time.process_time() - began
    ledger.close()
    return (context.store, weights), spent


def with_monai(name: str, data: Data, seconds: float, batch: int = 32) -> Made:
    """MONAI's DiffusionModelUNet on pixels, with its DDIM or rectified-flow scheduler; needs the package einops."""
    from monai.networks.nets import DiffusionModelUNet
    from monai.networks.schedulers import DDIMScheduler, RFlowScheduler

    torch.manual_seed(0)
    network = DiffusionModelUNet(
        spatial_dims=2, in_channels=1, out_channels=1, channels=(16, 32, 48), attention_levels=(False, False, True),
        num_res_blocks=1, num_head_channels=16, norm_num_groups=8, num_class_embeds=2,
    )  # fmt: skip
    flow = name == "monai-rflow"
    side = data.train.shape[1]
    scheduler: Any = RFlowScheduler(num_train_timesteps=1000) if flow else DDIMScheduler(num_train_timesteps=1000)
    optimiser = torch.optim.AdamW(network.parameters(), lr=1e-3)
    x, y = torch.from_numpy(data.train)[:, None] * 2 - 1, torch.from_numpy(data.train_labels)
    began, steps = time.process_time(), 0
    while time.process_time() - began < seconds:
        chosen = torch.randint(len(x), (batch,))
        noise, t = torch.randn(batch, 1, side, side), torch.randint(1000, (batch,))
        noisy = scheduler.add_noise(original_samples=x[chosen], noise=noise, timesteps=t)
        with torch.autocast("cpu", torch.bfloat16):
            said = network(noisy, t, class_labels=y[chosen])
        target = x[chosen] - noise if flow else noise
        torch.autograd.backward((said.float() - target).square().mean())
        optimiser.step()
        optimiser.zero_grad()
        steps += 1
    spent = time.process_time() - began
    began = time.process_time()
    images = []
    labels = torch.from_numpy(data.test_labels)
    with torch.inference_mode():
        for part in labels.split(128):
            z = torch.randn(len(part), 1, side, side)
            scheduler.set_timesteps(30 if flow else 50)
            times = scheduler.timesteps
            for now, then in zip(times, [*times[1:], 0], strict=True):
                with torch.autocast("cpu", torch.bfloat16):
                    said = network(z, torch.full((len(part),), float(now)), class_labels=part)
                z = scheduler.step(said.float(), now, z, then)[0] if flow else scheduler.step(said.float(), now, z)[0]
            images.append(((z[:, 0] + 1) / 2).clamp(0, 1).numpy())
    gflop = 3 * batch * _gflop(network, side)
    return Made(np.concatenate(images), data.test_labels, steps, spent, time.process_time() - began,
                sum(p.numel() for p in network.parameters()), gflop)  # fmt: skip


def _gflop(network: Any, side: int) -> float:
    from torch.utils.flop_counter import FlopCounterMode

    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        network(torch.zeros(1, 1, side, side), torch.zeros(1), class_labels=torch.zeros(1, dtype=torch.int64))
    return counter.get_total_flops() / 1e9


def judge(data: Data) -> Callable[[np.ndarray], np.ndarray]:
    """A classifier trained on real images that no generator saw: score of class 1."""
    network = classifier.train(data.judge, data.judge_labels, 2, JUDGED, 0)
    return lambda images: np.asarray(classifier.scores(network, images)[:, 1])


def distance(real: np.ndarray, images: np.ndarray, scale: np.ndarray) -> float:
    """Frechet distance of standardised texture features."""
    return float(frechet.distance(texture.features(real) / scale, texture.features(images) / scale))


def contact(images: np.ndarray, labels: np.ndarray, path: Path) -> None:
    """Two rows of twelve, class 0 above class 1, as PNG."""
    from PIL import Image

    rows = [np.concatenate(list(images[labels == label][:12]), 1) for label in (0, 1)]
    width = min(row.shape[1] for row in rows)
    sheet = np.concatenate([row[:, :width] for row in rows])
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray((sheet * 255).round().astype(np.uint8)).resize((2 * width, 2 * len(sheet))).save(path)


def every(given: argparse.Namespace, data: Data) -> Iterator[tuple[str, Made]]:
    """Each generator that was asked for, trained and drawn from, one after the other."""
    strengths = [float(one) for one in given.guidance.split(",")]
    for name in given.only.split(","):
        if name in MONAI:
            yield name, with_monai(name, data, given.seconds)
        else:
            yield from with_stage(name, data, given.seconds, given.width, strengths)


def main() -> None:
    """Run and print one line for each generator."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help=".npz of the MedMNIST layout; without it phantoms of 64 pixels")
    parser.add_argument("--seconds", type=float, default=60.0, help="of one processor, for each generator")
    parser.add_argument("--only", default=",".join([*STAGES, *MONAI]), help="names with commas between")
    parser.add_argument("--count", type=int, default=1600, help="real images, or drawn patients")
    parser.add_argument("--side", type=int, default=64, help="pixels of the phantoms")
    parser.add_argument(
        "--guidance", default="1", help="strengths to draw with after one training, for stages that have it"
    )
    parser.add_argument("--width", type=int, help="of Chambit's network; each stage's own without it")
    parser.add_argument("--out", type=Path, help="a folder for contact sheets")
    given = parser.parse_args()
    torch.set_num_threads(1)
    data = medmnist(given.data, given.count) if given.data else phantoms(given.count, given.side)
    peak = planner.peak_of(torch.device("cpu"))
    scored = judge(data)
    scale = np.maximum(texture.features(np.concatenate([data.train, data.test])).std(0), similarity.FLOOR)
    floor = distance(data.test, data.train[: len(data.test)], scale)
    real = auroc(scored(data.test), data.test_labels == 1)
    print(f"{len(data.train)} real images train, {len(data.test)} compare, {data.train.shape[1]} pixels; one thread,")
    print(f"{given.seconds:g} processor seconds each; bf16 peak {peak:.0f} GFLOP/s; real against real: FD {floor:.2f},")
    print(f"label {real:.3f}")
    columns = [("Mpar", 5), ("GF/step", 8), ("steps", 6), ("steps/s", 8), ("peak", 6), ("images/s", 9), ("FD", 8)]
    print(f"{'':12} " + " ".join(f"{name:>{width}}" for name, width in [*columns, ("label", 6)]))
    for name, made in every(given, data):
        rate = made.steps / made.seconds
        print(
            f"{name:12} {made.parameters / 1e6:5.2f} {made.gflop_per_step:8.2f} {made.steps:6d} {rate:8.2f} "
            f"{rate * made.gflop_per_step / peak:6.1%} {len(made.images) / made.drawing:9.1f} "
            f"{distance(data.test, made.images, scale):8.2f} {auroc(scored(made.images), made.labels == 1):6.3f}",
            flush=True,
        )
        if given.out:
            contact(made.images, made.labels, given.out / f"{name.replace(' ', '-')}.png")
    if given.out:
        contact(data.test, data.test_labels, given.out / "real.png")


if __name__ == "__main__":
    main()
