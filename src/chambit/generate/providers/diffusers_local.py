"""A diffusion pipeline on this machine, read from a folder in the layout of diffusers (extra `diffusers`).

The folder has `model_index.json` and a subfolder for each part, as RoentGen-v2 (arXiv:2508.16783) is given out. It is
read with `local_files_only` after every file was checked against `sha256`, the digest of names and contents that
`chambit.generate.providers.diffusers_local.fingerprint` gives; weights must be safetensors, because pickles run code.
Each image comes from a generator of its own seed on the CPU, so it does not depend on the others.
"""

import io
import threading
from pathlib import Path
from typing import Any

from pydantic import Field

from chambit.core import digest
from chambit.core.errors import InputError, Problem
from chambit.core.evidence import Frozen
from chambit.generate.prompted import secrets
from chambit.generate.prompted.request import Answer, Ask, Request

version = "1"
LEAVES_SITE = False
KEY = ""
_PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl")


class Options(Frozen):
    """folder: of the pipeline; sha256: its fingerprint; steps, guidance: of the sampler; device: cpu or cuda."""

    folder: Path
    sha256: str = Field(pattern="^[0-9a-f]{64}$")
    steps: int = Field(50, ge=1)
    guidance: float = Field(4.0, ge=0)
    device: str = Field("cpu", pattern="^(cpu|cuda)$")


def hosts(options: Options) -> tuple[str, ...]:
    """None."""
    return ()


def fingerprint(folder: Path) -> str:
    """SHA-256 over the relative name and SHA-256 of every file below a folder, in order of name."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return digest.of_json([[path.relative_to(folder).as_posix(), digest.of_file(path)] for path in files])


def opened(options: Options) -> Ask:
    """The pipeline as a call of one image; calls wait for one another, since the network is one.

    Raises:
        InputError: when the folder is no pipeline, holds pickles, or is not what the plan names.
    """
    _check(options)
    diffusers = secrets.library("diffusers", "diffusers")
    import torch

    pipeline: Any = diffusers.DiffusionPipeline.from_pretrained(
        str(options.folder), local_files_only=True, use_safetensors=True
    ).to(options.device)
    pipeline.set_progress_bar_config(disable=True)
    lock = threading.Lock()

    def ask(request: Request) -> Answer:
        across, down = map(int, request.aspect.split(":"))
        noise = torch.Generator("cpu").manual_seed(request.seed)
        with lock:
            made = pipeline(
                request.prompt,
                width=request.pixels,
                height=round(request.pixels * down / across),
                num_inference_steps=options.steps,
                guidance_scale=options.guidance,
                generator=noise,
            )
        if any(getattr(made, "nsfw_content_detected", None) or []):
            return Answer(None, "SAFETY_CHECKER", model=options.sha256[:16])
        buffer = io.BytesIO()
        made.images[0].save(buffer, "PNG")
        return Answer(buffer.getvalue(), "STOP", model=options.sha256[:16])

    return ask


def _check(options: Options) -> None:
    folder = options.folder
    problems = []
    if not (folder / "model_index.json").exists():
        problems.append(Problem(str(folder), "has no model_index.json", "give the folder of a diffusers pipeline"))
    else:
        problems += [
            Problem(str(path.relative_to(folder)), "is a pickle, which can run code", "convert it to safetensors")
            for path in sorted(folder.rglob("*"))
            if path.suffix in _PICKLES
        ]
        if (found := fingerprint(folder)) != options.sha256:
            problems.append(Problem(str(folder), f"its fingerprint is {found}", "name the weights that were examined"))
    if problems:
        raise InputError("The pipeline is not used.", problems)
