"""`chambit audit`: the same evidence for a synthetic set that somebody else made."""

import math
import re
from pathlib import Path
from typing import TYPE_CHECKING

import click

from chambit.commands import _closing, _progress

if TYPE_CHECKING:
    from chambit.measure.weights import Weights

FOLDER = click.Path(path_type=Path)


@click.command("audit")
@click.option("--train", type=FOLDER, metavar="DIR", help="Real images the generator was trained on.")
@click.option(
    "--holdout",
    type=FOLDER,
    metavar="DIR",
    help="Real images of other subjects, same source, never seen.",
)
@click.option(
    "--real",
    type=FOLDER,
    metavar="DIR",
    help="Real images, in place of --train and --holdout, where none were held out: no safety test can be made.",
)
@click.option("--synthetic", type=FOLDER, required=True, metavar="DIR", help="The synthetic images to be released.")
@click.option("--test", type=FOLDER, metavar="DIR", help="Real images for utility; without them utility is NOT_RUN.")
@click.option(
    "--auxiliary",
    type=FOLDER,
    metavar="DIR",
    help="Real images that fit the detectors.  [default: test, else a fifth of holdout]",
)
@click.option(
    "--labels",
    type=FOLDER,
    metavar="CSV",
    help="Columns file,subject,label; files of all folders, each row used where it fits.",
)
@click.option(
    "--donors",
    type=FOLDER,
    metavar="CSV",
    help="Columns file,part,subject,share: training subjects each composed image was made of.",
)
@click.option("--class-name", "names", multiple=True, metavar="OLD=NEW", help="Rename a label; may be repeated.")
@click.option(
    "--size",
    type=click.IntRange(16, 1024),
    metavar="N",
    help="Working size N x N.  [default: that of the training images, at most 128]",
)
@click.option(
    "--margin",
    type=click.FloatRange(0, 0.5, min_open=True, max_open=True),
    metavar="M",
    help="Non-inferiority margin in AUROC.  [default: the policy's]",
)
@click.option(
    "--policy",
    default="default",
    show_default=True,
    metavar="NAME",
    help="A built-in policy or the path of one.",
)
@click.option(
    "--extractor",
    "extractors",
    multiple=True,
    metavar="NAME",
    help="What the distances look through; may be repeated, the first is judged.  [default: the policy's]",
)
@click.option(
    "--weights",
    multiple=True,
    metavar="NAME=FILE#SHA256",
    help="Weights of an extractor and the SHA-256 the file must have; may be repeated. Nothing is downloaded.",
)
@click.option("--text", is_flag=True, help="With --real: look for text in the pixels, too, as other audits always do.")
@click.option("--engine", default="processes", show_default=True, metavar="NAME", help="How chunks are spread.")
@click.option(
    "--workers", type=click.IntRange(min=0), default=0, metavar="N", help="Worker processes; 0 means one for each core."
)
@click.option("--out", type=FOLDER, required=True, metavar="DIR", help="Where the files go.")
@click.option("--gate", is_flag=True, help="Leave with status 1 unless the verdict is PASS or CONDITIONAL.")
def command(
    train: Path | None,
    holdout: Path | None,
    real: Path | None,
    synthetic: Path,
    test: Path | None,
    auxiliary: Path | None,
    labels: Path | None,
    donors: Path | None,
    names: tuple[str, ...],
    size: int | None,
    margin: float | None,
    policy: str,
    extractors: tuple[str, ...],
    weights: tuple[str, ...],
    text: bool,
    engine: str,
    workers: int,
    out: Path,
    gate: bool,
) -> None:
    """Examine a synthetic set that somebody else made; no generator is needed.

    Each DIR is a folder of images (class sub-folders, or --labels), a folder of DICOM files, or a MedMNIST-style .npz;
    one part of an .npz is named as FILE.npz#train. With two folders, real and synthetic, only likeness is measured.
    """
    if margin is not None and math.isnan(margin):
        raise click.BadParameter("not a number", param_hint="--margin")
    from chambit.core.study import Run
    from chambit.pipeline import audit as pipeline

    given = {
        "train": train,
        "holdout": holdout,
        "synthetic": synthetic,
        "test": test,
        "auxiliary": auxiliary,
        "real": real,
    }
    paths = {role: path for role, path in given.items() if path is not None}
    renamed = dict(_renaming(name) for name in names)
    sources = {
        role: pipeline.source_of(path, labels, renamed, role, [other for other in paths.values() if other != path])
        for role, path in paths.items()
    }
    square = (size, size) if size else None
    files = dict(_weights(text) for text in weights)
    spread = Run(engine=engine, workers=workers)
    wanted = pipeline.request(sources, policy, margin, square, spread, donors, extractors, files, text)
    with _progress.told() as tell:
        closed = pipeline.run(wanted, out.resolve(), tell)
    _closing.show(closed, gate)


def _renaming(text: str) -> tuple[str, str]:
    old, equals, new = text.partition("=")
    if not equals or not new:
        raise click.BadParameter(f"'{text}' is not OLD=NEW", param_hint="--class-name")
    return old, new


def _weights(text: str) -> tuple[str, "Weights"]:
    from chambit.measure.weights import Weights

    name, equals, rest = text.partition("=")
    path, mark, sha256 = rest.rpartition("#")
    if not (name and equals and path and mark) or not re.fullmatch("[0-9a-f]{64}", sha256):
        raise click.BadParameter(f"'{text}' is not NAME=FILE#SHA256 (64 hexadecimal digits)", param_hint="--weights")
    return name, Weights(Path(path).resolve(), sha256)
