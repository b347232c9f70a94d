"""Steps that make the cohort: draw phantoms (or take files as they are), take in, split by subject, gather masks."""

import io
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

import numpy as np
import polars as pl

from chambit.core import digest, extensions
from chambit.core.errors import InputError
from chambit.core.steps import Context, Outputs, Step
from chambit.core.store import Store, write_atomically
from chambit.core.study import Files, Phantoms, Study, resolve
from chambit.images.imageset import ImageSet
from chambit.pipeline import masking
from chambit.pipeline.plan import Made, Planned
from chambit.prepare import intake
from chambit.prepare.split import proof, split

PATIENTS_A_CHUNK = 16  # small, so that all workers end at about the same time
KINDS = "chambit.phantoms.kinds"


def planned(study: Study, study_file: Path, out: Path) -> list[Planned]:
    """The steps from real files (or none, for phantoms) to a split cohort."""
    cohort = study.cohort
    steps = []
    if (phantoms := cohort.phantoms) is not None:
        images = kind_of(phantoms).images(phantoms.patients, kind_options(phantoms))
        folder = out / "cohort"
        rate = kind_of(phantoms).RATE * (64 / phantoms.pixels) ** 1.3
        steps.append(Planned("phantoms", lambda _: _phantoms(study, phantoms, folder), images, "images", rate, 0))
        files = drawn_files(phantoms, folder)
    else:
        given = used(study)
        assert given is not None  # the study's own validator has seen to it
        files, images = given, _count(study_file, given)
    megabytes = images * (files.size[0] * files.size[1] if files.size else 128 * 128) * 2 / 1e6
    steps.append(
        Planned(
            "intake",
            lambda made: _intake(study, study_file, files, "R", made),
            images,
            "files",
            700.0,
            megabytes,
        )
    )
    if cohort.test is not None:
        extra = cohort.test
        steps.append(
            Planned(
                "intake test",
                lambda made: _intake(study, study_file, extra, "V", made, "intake test"),
                _count(study_file, extra),
                "files",
                700.0,
                1,
            )
        )
    steps.append(Planned("split", lambda made: _split(study, made), images, "images", 20000.0, 1))
    root = resolve(study_file, files.path)
    steps.append(
        Planned(
            "masks",
            lambda made: masking.step(study.seed, root, made, study.examine.parts_from),
            images,
            "images",
            2000.0,
            1,
        )
    )
    return steps


def kind_of(phantoms: Phantoms) -> ModuleType:
    """The kind of an embedded cohort."""
    return extensions.load(KINDS, phantoms.kind)


def kind_options(phantoms: Phantoms) -> Any:
    """The options of that kind, validated by the kind itself."""
    return kind_of(phantoms).Options.model_validate(phantoms.options)


def drawn_files(phantoms: Phantoms, folder: Path) -> Files:
    """The files of an embedded cohort, read like anybody's."""
    form = _form(phantoms)
    colour: Literal["refuse", "keep"] = "keep" if form["channels"] == 3 else "refuse"
    return Files(path=folder, size=(phantoms.pixels,) * 2, colour=colour, axis=form["axis"])


def _form(phantoms: Phantoms) -> Mapping[str, Any]:
    """Channels and axis of what a kind draws, which may depend on its options."""
    kind = kind_of(phantoms)
    found: Mapping[str, Any] = kind.form(kind_options(phantoms)) if hasattr(kind, "form") else kind.FORM
    return found


def axis(study: Study) -> str:
    """What the frames of one item are: "" for pictures, "time" or "depth"."""
    if study.cohort.phantoms is not None:
        return str(_form(study.cohort.phantoms)["axis"])
    return study.cohort.files.axis if study.cohort.files else ""


def coloured(study: Study) -> bool:
    """Whether the cohort keeps colour."""
    if study.cohort.phantoms is not None:
        return bool(_form(study.cohort.phantoms)["channels"] == 3)
    return study.cohort.files is not None and study.cohort.files.colour == "keep"


def used(study: Study) -> Files | None:
    """The files of the cohort: those that `chambit prepare` left where the study has its originals prepared."""
    files, prepare = study.cohort.files, study.prepare
    if files is None or prepare is None:
        return files
    # names of classes, frames and subjects were settled when the files were prepared
    return files.model_copy(
        update={"path": prepare.into / "files", "labels": prepare.into / "labels.csv", "part": "", "class_names": {},
                "subjects": "file"}
    )  # fmt: skip


def source(study_file: Path, files: Files) -> intake.Source:
    """Where files of a study lie on this machine."""
    path = resolve(study_file, files.path)
    labels = resolve(study_file, files.labels) if files.labels else None
    return intake.Source(path, files.part, labels, files.class_names, subjects=files.subjects)


def _count(study_file: Path, files: Files) -> int:
    return len(intake.files(source(study_file, files)))


def _phantoms(study: Study, phantoms: Phantoms, folder: Path) -> Step:
    kind = kind_of(phantoms)
    options = phantoms.model_dump() | {"options": kind_options(phantoms).model_dump(), "drawing": kind.version}

    def run(context: Context) -> Outputs:
        tasks = {
            f"{first:06d}": options | {"first": first, "count": min(PATIENTS_A_CHUNK, phantoms.patients - first),
                                       "seed": context.seed("cohort") % 2**31, "folder": str(folder)}
            for first in range(0, phantoms.patients, PATIENTS_A_CHUNK)
        }  # fmt: skip
        sizes = {key: task["count"] for key, task in tasks.items()}

        def still(_: str, output: str) -> bool:
            return all((folder / row["file"]).exists() for row in context.store.get_json(output))

        made = context.map(_draw, tasks, unit="patients", sizes=sizes, still=still)
        rows = [row for key in made.values() for row in context.store.get_json(key)]
        labels = pl.DataFrame(rows).drop("sha256")
        buffer = io.BytesIO()
        labels.write_csv(buffer)
        write_atomically(folder / "labels.csv", buffer.getvalue())
        return {"files": context.store.put_json(rows)}

    # the files lie outside the store: someone may have removed them
    present = (folder / "labels.csv").exists
    images = kind.images(phantoms.patients, kind_options(phantoms))
    return Step("phantoms", "2", options, {}, run, study.seed, images, present)


def _draw(store: Store, task: Mapping[str, Any]) -> str:
    """Draw some patients and write their files; keeps one row per image."""
    kind, folder = extensions.load(KINDS, task["kind"]), Path(task["folder"])
    options = kind.Options.model_validate(task["options"])
    rows = kind.draw(folder, task["first"], task["count"], task["pixels"], task["seed"], options)
    return store.put_json([row | {"sha256": digest.of_file(folder / row["file"])} for row in rows])


def _intake(study: Study, study_file: Path, files: Files, prefix: str, made: Made, name: str = "intake") -> Step:
    where = source(study_file, files)
    options = files.model_dump(mode="json", exclude={"path", "labels"}) | {"prefix": prefix}
    inputs = {"files": intake.inputs_digest(where)}

    def run(context: Context) -> Outputs:
        rules = intake.Rules(files.size, files.resize, files.frames, files.colour)
        outputs = intake.take_in(context, where, rules, prefix=prefix)
        told = context.store.get_json(outputs["accounts"])
        # a file that is listed but ended nowhere counts as found, so that it is missed
        lost = len(intake.files(where)) - told["files_accepted"] - told["files_set_aside"]
        return outputs | {"found": context.store.put_json(told["images"] + lost)}

    return Step(name, "3", options, inputs, run, study.seed)


def _split(study: Study, made: Made) -> Step:
    inputs = {"images": made["intake"]["images"]}
    if "intake test" in made:
        inputs["test"] = made["intake test"]["images"]

    def run(context: Context) -> Outputs:
        table = context.store.get_table(inputs["images"])
        if problems := intake.check_classes(table, 2):
            raise InputError("The cohort cannot be used.", problems)
        left_out = 0  # test images with the same pixels as an image of another part
        shares = study.cohort.split.model_dump(exclude={"test_where"})
        table = split(table, shares, seed=context.seed() % 2**31, test_where=study.cohort.split.test_where)
        if "test" in inputs:
            test = context.store.get_table(inputs["test"]).with_columns(pl.lit("test").alias("split"))
            mine, theirs = (ImageSet(context.store, part).full_scale_digests() for part in (table, test))
            new = ~np.isin(theirs, mine)
            left_out = int((~new).sum())
            table = pl.concat([table, test.filter(pl.Series(new))], how="diagonal")
        found = proof(table) | {"left_out": left_out}
        keep = context.store.put_table
        parts = {
            part: keep(table.filter(pl.col("split") == part)) for part in ("train", "holdout", "auxiliary", "test")
        }
        return {"table": keep(table), "proof": context.store.put_json(found), **parts}

    return Step("split", "1", study.cohort.split.model_dump(mode="json"), inputs, run, study.seed)
