"""What a training will need, said before it starts: size, operations, memory, time on this machine.

Operations and activations are counted on shapes alone. Time follows from a short product of matrices in bfloat16,
measured here and now, of which training reaches a share:

    seconds a step = gflop / (share * peak) + overhead

`SHARE` and `OVERHEAD` are of the small UNet on two processor cores with matrix units: 6 to 9 per cent of the peak for
narrow networks, 17 for wide ones. It is an estimate to within a factor of two; how busy the machine is at the moment of
the measurement enters it.
"""

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from chambit.generate import codec as codecs
from chambit.generate.items import Form
from chambit.generate.options import Diffusion, Trained
from chambit.generate.training import cost, device, style, trained
from chambit.generate.training.conditioning import Told

SHARE = 0.08
OVERHEAD = 0.01  # seconds a step, for what is not arithmetic
COPIES = 6  # of every parameter: weight, gradient, two moments, average, and the network that looks
SAVED = 3.0  # bytes kept for the backward pass, for each byte of a layer's output in bfloat16
SIDE = 1024  # of the measured matrices


class Plan(NamedTuple):
    """What a training needs.

    Attributes:
        parameters: of the network that is sampled.
        gflop_per_step: the mean, forward and backward, a multiplication and addition being two.
        memory: bytes of weights, activations and items.
        available: bytes this machine has left; 0 where it does not say.
        peak: GFLOP/s of the measured product of matrices.
        steps_per_second: expected.
        minutes: expected for all steps, of the codec too.
        warnings: what will not fit, in words.
    """

    parameters: int
    gflop_per_step: float
    memory: int
    available: int
    peak: float
    steps_per_second: float
    minutes: float
    warnings: tuple[str, ...]


class _Sized(NamedTuple):
    """A codec of which only the sizes are known."""

    shape: tuple[int, int]
    colours: int
    size: int
    mean: torch.Tensor
    std: torch.Tensor
    residual: float = float("nan")

    def encode(self, images: np.ndarray) -> torch.Tensor:
        """Not possible."""
        raise NotImplementedError

    def decode(self, latents: torch.Tensor) -> np.ndarray:
        """Not possible."""
        raise NotImplementedError

    def arrays(self) -> dict[str, np.ndarray]:
        """Not possible."""
        raise NotImplementedError


def plan(
    form: Form,
    options: Trained,
    classes: int,
    *,
    items: int = 0,
    masks: bool = False,
    factors: tuple[int, ...] = (),
    numbers: int = 0,
    peak: float | None = None,
) -> Plan:
    """What training on items of this form needs.

    Args:
        form: of the items.
        options: of the stage.
        classes: their number.
        items: how many are trained on, for the memory they take.
        masks: whether they have masks of the finding.
        factors: number of levels of each factor.
        numbers: length of the vector.
        peak: GFLOP/s; None measures it, which takes a third of a second.
    """
    frames = form.length if form.axis else 0
    told = Told(classes, masks, masks and options.boxes > 0, frames, factors, np.zeros((2, numbers), np.float32))
    codec = _sized(form, options)
    told = told._replace(styles=style.numbers(codec, options.styles))
    shape = (*told.lead(), *codecs.grid(codec))
    with torch.random.fork_rng(devices=[]), torch.device("meta"):
        network = trained.network(0, codec, told, options)
    first = options.frames_first if isinstance(options, Diffusion) else 0.0
    gflop = cost.step(network, shape, told.maps(codec), options.batch, first)
    parameters = sum(parameter.numel() for parameter in network.parameters())
    pixels = form.length * form.height * form.width * form.channels
    numbers_each = int(np.prod(shape)) + pixels + told.maps(codec) * int(np.prod((*told.lead(), *shape[-2:])))
    activations = SAVED * 2 * options.batch * cost.outputs(network, shape, told.maps(codec))
    memory = int(4 * COPIES * parameters + activations + 4 * items * numbers_each)
    measured = peak_of(device.choose()) if peak is None else peak
    rate = 1 / (gflop / (SHARE * measured) + OVERHEAD)
    steps = options.steps + (options.codec_steps if options.codec == "kl" else 0)
    there = available(device.choose())
    warnings = []
    if there and memory > there:
        said = f"needs about {memory / 2**30:.1f} GiB, and {there / 2**30:.1f} GiB are left"
        warnings.append(f"{said}: give a smaller `batch` or `width`, or a larger `block`")
    return Plan(parameters, gflop, memory, there, measured, rate, steps / rate / 60, tuple(warnings))


def peak_of(where: torch.device, seconds: float = 0.3) -> float:
    """GFLOP/s of the best of some products of two bfloat16 matrices of 1024 x 1024."""
    generator = torch.Generator().manual_seed(0)
    a = torch.randn(SIDE, SIDE, generator=generator).to(where, torch.bfloat16)
    best, until = float("inf"), time.monotonic() + seconds
    tried = 0
    while tried < 3 or time.monotonic() < until:
        began = time.perf_counter()
        (a @ a).sum().item()  # asking for a number waits for a graphics processor
        best, tried = min(best, time.perf_counter() - began), tried + 1
    return 2 * SIDE**3 / best / 1e9


def available(where: torch.device) -> int:
    """Bytes that are left: of the graphics processor, or of main memory within the limit of this group of processes."""
    if where.type == "cuda":
        return int(torch.cuda.mem_get_info(where)[0])
    found = [number for number in _left() if number > 0]
    return min(found, default=0)


def _left(root: Path = Path("/")) -> Iterator[int]:
    meminfo = root / "proc" / "meminfo"
    if meminfo.exists():
        fields = dict(line.split(":", 1) for line in meminfo.read_text().splitlines() if ":" in line)
        yield int(fields.get("MemAvailable", "0 kB").split()[0]) * 1024
    elif hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        yield os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    limit, used = (root / "sys" / "fs" / "cgroup" / name for name in ("memory.max", "memory.current"))
    if limit.exists() and used.exists() and limit.read_text().strip().isdigit():
        yield int(limit.read_text()) - int(used.read_text())


def _sized(form: Form, options: Trained) -> codecs.Codec:
    size, keep = options.block, min(options.keep, options.block)
    chroma = keep if options.chroma is None else min(options.chroma, keep)
    channels = {"dct": keep**2 + (form.channels - 1) * chroma**2, "identity": form.channels * size**2, "kl": keep**2}
    if options.codec == "pca":
        size = max(form.height, form.width)
    count = channels.get(options.codec, options.components)
    return _Sized((form.height, form.width), form.channels, size, torch.zeros(count), torch.ones(count))
