"""Synthetic images that exist already: a folder with labels.csv; each is handed out at most once, by label and order.

For sets that another program made. labels.csv has the columns `file` (relative to the folder) and `label`. Files are in
any format Chambit reads, one image each; they are brought to the form of the items. Nothing is trained and the real
images are not looked at.
"""

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from pydantic import Field

from chambit.core.errors import InputError, Problem
from chambit.core.evidence import Frozen
from chambit.core.steps import Context
from chambit.core.store import Store
from chambit.generate.items import Arrays, Examples, Ports

version = "1"
WHOLE = True
"""`sample` wants all items in one call, or `rank` beside the labels (see `generate.prompted.handing`)."""


class Options(Frozen):
    """folder: of the images; table: its labels; labels: a label there -> the study's class, where they differ."""

    folder: Path
    table: str = "labels.csv"
    labels: dict[str, str] = Field(default_factory=dict)


def ports(options: Options) -> Ports:
    """A label goes in, an image comes out."""
    return Ports(needs=("label",), makes=("image",))


def train(context: Context, examples: Examples, options: Options, watch: object = None) -> str:
    """Read the images, bring them to the form of the items, keep them.

    Args:
        context: of the running step.
        examples: the form and the classes are used, the images are not.
        options: see `Options`.
        watch: not called: nothing is learned from the cohort.

    Returns:
        Digest of images and labels.

    Raises:
        InputError: with every row of the table whose file is missing, lies outside, or cannot be read.
    """
    from chambit.generate.prompted import handing

    handing.refuse_axis(examples.form, "folder")
    rows = _rows(options)
    names = [label for _, label in rows]
    numbers = handing.numbers_of(names, options.labels, examples.classes, f"{options.folder / options.table}")
    images = np.zeros((len(rows), *examples.form.shape), np.float32)
    problems: list[Problem] = []
    for number, (file, _) in enumerate(rows):
        try:
            images[number] = handing.fitted(file, examples.form)
        except InputError as error:
            problems += error.problems or [Problem(str(file), error.summary)]
        if (number + 1) % 50 == 0 or number + 1 == len(rows):
            context.progress(number + 1, len(rows), "images")
    if problems:
        raise InputError("Images of the folder cannot be used.", problems)
    told = {"classes": list(examples.classes), "files": [file.name for file, _ in rows]}
    return handing.put(context.store, images, numbers, told)


def sample(store: Store, weights: str, given: Arrays, seeds: Sequence[int], options: Options) -> dict[str, np.ndarray]:
    """Hand out images by label and order; the seeds change nothing.

    Args:
        store: where they are.
        weights: digest that `train` returned.
        given: `label`, and `rank` where the sample comes in parts.
        seeds: one for each item; unused.
        options: those of training.

    Returns:
        `image`: float32 (N, H, W[, 3]) in [0, 1].

    Raises:
        InputError: when fewer images of a label exist than are asked for.
    """
    from chambit.generate.prompted import handing

    return {"image": handing.handed(store, weights, given)}


def _rows(options: Options) -> list[tuple[Path, str]]:
    """File and label of each row, in the order of the table."""
    table = options.folder / options.table
    try:
        with table.open(encoding="utf-8-sig", newline="") as opened:
            rows = list(csv.DictReader(opened))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        problem = Problem(str(table), f"cannot be read ({error})", "a CSV in UTF-8 with the columns file,label")
        raise InputError("The folder has no labels.", [problem]) from error
    if not rows or not {"file", "label"} <= set(rows[0]):
        problem = Problem(str(table), "has no rows with the columns file and label", "add them")
        raise InputError("The folder has no labels.", [problem])
    root, found, problems = options.folder.resolve(), [], []
    for number, row in enumerate(rows, start=2):
        path = (options.folder / (row["file"] or "")).resolve()
        if not path.is_relative_to(root):
            problems.append(Problem(f"{table}: line {number}", f"{row['file']} lies outside the folder", "move it in"))
        elif not path.is_file():
            problems.append(Problem(f"{table}: line {number}", f"{row['file']} is missing", "add it, or drop the row"))
        found.append((path, row["label"] or ""))
    if problems:
        raise InputError("Files of the folder are missing.", problems)
    return found
