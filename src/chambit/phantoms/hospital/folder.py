"""Write the folder: every patient's examinations as an archive (PACS) and as desks would hand them over.

    patients -> examinations -> what each file is (`_plan`) -> its image, lettering, file, name -> labels.csv, DICOMDIR

Two thirds of the examinations come from the archive, the others from desks. Forms, lettering, outliers, duplicates and
wrong labels follow each other in fixed turns, so that also a small folder has many kinds and shares are exact.
"""

import csv
import datetime
import io
import itertools
import os
import re
import unicodedata
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from chambit.core.seeds import generator
from chambit.phantoms import chest
from chambit.phantoms.hospital import headers, lettering, objects, outliers, pictures
from chambit.phantoms.hospital.case import Case
from chambit.phantoms.hospital.headers import Put
from chambit.phantoms.hospital.index import Listed, directory
from chambit.phantoms.hospital.key import AnswerKey, FileTruth, Plant
from chambit.phantoms.hospital.lettering import CONTRASTS, HEIGHTS, Line, Written
from chambit.phantoms.hospital.people import HOSPITAL, person

DUPLICATES: Final = ("exact", "reencoded", "other_subject")
"""Kinds of duplicates: the same bytes under another name, a JPEG of it, the same pixels under another patient."""

_FIRST_DAY: Final = datetime.date(2021, 1, 4)
_OTHER: Final = 1_000_000  # index of the first person who owns a duplicate only
_LABELS: Final = {"normal": "consolidation", "consolidation": "normal"}


class Options(NamedTuple):
    """How much of everything is planted; shares are of the examinations.

    Attributes:
        burned: images with burned-in text; never on an outlier.
        outliers: images or files that should be set aside.
        duplicates: examinations that are there twice.
        mislabelled: images whose label in labels.csv is wrong.
        contrast: of the consolidations, in cm of lung that is filled up.
    """

    burned: float = 0.6
    outliers: float = 0.03
    duplicates: float = 0.03
    mislabelled: float = 0.02
    contrast: float = 2.5


class _Planned(NamedTuple):
    """What one examination's file will be."""

    case: Case
    visit: chest.Visit
    form: str
    outlier: str
    duplicate: str
    mislabelled: bool
    sometimes: tuple[str, ...]
    lettering: tuple[int, int] | None


def write(folder: Path, patients: int, seed: int, pixels: int = 512, options: Options | None = None) -> AnswerKey:
    """Write a folder as a hospital would hand it over, with labels.csv and planted identifiers.

    Args:
        folder: where to write; made if absent, and to be empty.
        patients: number of patients; each has one to three examinations of one file.
        seed: with it alone the same files are written again, byte for byte on one numerical stack.
        pixels: height and width, a multiple of 16 from 128 on.
        options: how much is planted.

    Returns:
        The answer key; it is not written into the folder. Images are written one by one, only the key is kept.

    Raises:
        ValueError: for a size that does not fit, a share outside [0, 1], or a folder that is not empty.
    """
    told = options or Options()
    if pixels < 128 or pixels % 16 or patients < 1:
        raise ValueError("pixels must be a multiple of 16 from 128 on and patients at least 1")
    if not all(0 <= share <= 1 for share in (told.burned, told.outliers, told.duplicates, told.mislabelled)):
        raise ValueError("shares must lie in [0, 1]")
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        raise ValueError(f"{folder.name} is not empty")
    return _Writer(folder, seed, pixels, told).run(patients)


class _Writer:
    """Keeps what the files of one folder share: turns, rows of labels.csv, the directory, the key."""

    def __init__(self, folder: Path, seed: int, pixels: int, options: Options) -> None:
        self.folder, self.seed, self.pixels, self.options = folder, seed, pixels, options
        self.forms = [form for form in objects.FORMS if objects.writable(form)]
        self.plants: list[Plant] = []
        self.truths: list[FileTruth] = []
        self.rows: list[tuple[str, ...]] = []
        self.listed: list[Listed] = []
        self.examinations = self.archived = self.desked = self.lettered = self.files = self.odd = self.twice = 0

    def run(self, patients: int) -> AnswerKey:
        for index in range(patients):
            for visit in chest.visits(index, 1, seed=self.seed):
                self._examination(self._plan(visit))
        self._directory()
        _put(self.folder / "labels.csv", self._labels())
        return AnswerKey(tuple(self.plants), tuple(self.truths), self._left_out())

    def _plan(self, visit: chest.Visit) -> _Planned:
        told, turn = self.options, self.examinations
        self.examinations += 1
        outlier = outliers.OUTLIERS[self.odd % len(outliers.OUTLIERS)] if _due(turn, told.outliers, 0.5) else ""
        self.odd += bool(outlier)
        twice = not outlier and _due(turn, told.duplicates, 0.25)
        duplicate = DUPLICATES[self.twice % len(DUPLICATES)] if twice else ""
        self.twice += bool(duplicate)
        if turn % 3 == 1:
            form = list(pictures.FORMS)[self.desked % len(pictures.FORMS)]
            self.desked += 1
        else:
            form = self.forms[self.archived % len(self.forms)].name
            self.archived += 1
        if outlier in outliers.BYTES:
            # a form whose header survives and whose end says nothing, so that the key stays true
            form = "dicom explicit" if outlier == "truncated" else "dicom implicit inverse"
        cell = None
        if not outlier and form != "nifti" and _due(turn, told.burned, 0.75):
            # four heights and three contrasts share no factor: all pairs come in twelve turns
            cell = HEIGHTS[self.lettered % len(HEIGHTS)], CONTRASTS[self.lettered % len(CONTRASTS)]
            self.lettered += 1
        kinds = [kind for at, kind in enumerate(headers.SOMETIMES) if (at + self.archived) % 3 == 0]
        if outlier in outliers.BYTES:
            kinds = [kind for kind in kinds if kind != "dicom.trailing_padding"]
        case = self._case(visit, visit.index)
        wrong = not outlier and _due(turn, told.mislabelled, 0.0)
        return _Planned(case, visit, form, outlier, duplicate, wrong, tuple(kinds), cell)

    def _case(self, visit: chest.Visit, index: int) -> Case:
        rng = generator(self.seed, "hospital days", visit.index)
        first = _FIRST_DAY + datetime.timedelta(days=int(rng.integers(600)))
        owner = person(self.seed, index, visit.sex, visit.age_band, first)
        micro = int(rng.integers(1, 10**6, size=4)[visit.visit])
        seconds = int(rng.integers(8 * 3600, 18 * 3600, size=4)[visit.visit])
        day = first + datetime.timedelta(days=97 * (visit.visit - 1))
        when = datetime.datetime.combine(day, datetime.time()) + datetime.timedelta(seconds=seconds, microseconds=micro)
        self.files += 1
        return Case(self.seed, self.files, owner, when, visit.site, visit.view)

    def _examination(self, plan: _Planned) -> None:
        image = chest.render([plan.visit], pixels=self.pixels, seed=self.seed, contrast=self.options.contrast)[0][0]
        grey = image.astype(np.float32) * np.float32(255 / 4095)
        rng = generator(self.seed, "hospital outlier", plan.case.number)
        if plan.outlier in outliers.PIXELS:
            grey = outliers.PIXELS[plan.outlier](grey, rng)
        frames, written = self._letters(plan, _moving(grey, rng, self._frames(plan.form)))
        content, puts, ending = self._encode(plan, plan.form, frames)
        if plan.outlier in outliers.BYTES:
            content = outliers.BYTES[plan.outlier](content, rng)
        name, named = _named(plan.case, plan.form, ending)
        label = plan.visit.finding
        told = _LABELS[label] if plan.mislabelled else label
        truth = FileTruth(name, plan.case.person.mrn, label, told, plan.form, plan.outlier)
        self._keep(plan.case, truth, content, puts | named, written)
        if plan.duplicate:
            self._duplicate(plan, truth, frames, content, puts, ending, written)

    def _duplicate(
        self,
        plan: _Planned,
        truth: FileTruth,
        frames: NDArray[np.float32],
        content: bytes,
        puts: dict[str, Put],
        ending: str,
        written: Sequence[Written],
    ) -> None:
        case, form = self._case(plan.visit, plan.visit.index), plan.form
        if plan.duplicate == "reencoded":
            content, puts, form, ending = pictures.plain_jpeg(frames[0], 85), {}, "jpeg", ".jpg"
            written = [one for one in written if one.box.frame == 0]
        elif plan.duplicate == "other_subject":
            case = self._case(plan.visit, _OTHER + self.twice)
            form = "dicom explicit"
            made = objects.encode(case, objects.FORMS[0], frames[:1], ())
            content, puts, ending = made.content, made.puts, ".dcm"
            written = [one for one in written if one.box.frame == 0]
        name, named = _named(case, form, ending)
        again = truth._replace(
            file=name, subject=case.person.mrn, form=form, duplicate_of=truth.file, duplicate=plan.duplicate
        )
        self._keep(case, again, content, puts | named, written)

    def _frames(self, form: str) -> int:
        return next((one.frames for one in objects.FORMS if one.name == form), 1)

    def _letters(self, plan: _Planned, frames: NDArray[np.float32]) -> tuple[NDArray[np.float32], list[Written]]:
        if plan.lettering is None:
            return frames, []
        height, contrast = plan.lettering
        lines = _lines(plan.case, height, self.pixels)
        written = []
        for number, frame in enumerate(frames):
            for one in lettering.burn(frame, lines, height, contrast):
                written.append(one._replace(box=one.box._replace(frame=number)))
        return frames, written

    def _encode(self, plan: _Planned, form: str, frames: NDArray[np.float32]) -> tuple[bytes, dict[str, Put], str]:
        if form in pictures.FORMS:
            made = pictures.FORMS[form](plan.case, frames[0])
            return made.content, made.puts, pictures.suffix(form, made.content)
        how = next(one for one in objects.FORMS if one.name == form)
        made = objects.encode(plan.case, how, frames, plan.sometimes)
        return made.content, made.puts, ".dcm" if plan.case.number % 4 else ""

    def _keep(
        self, case: Case, truth: FileTruth, content: bytes, puts: dict[str, Put], written: Sequence[Written]
    ) -> None:
        path = self.folder / truth.file
        path.parent.mkdir(parents=True, exist_ok=True)
        _put(path, content)
        self.truths.append(truth)
        subject, file = truth.subject, truth.file
        self.plants += [Plant(file, subject, kind, put.place, put.values) for kind, put in puts.items()]
        for text, box in written:
            self.plants.append(Plant(file, subject, f"burned.{box.script}", "pixels", (text,), box))
        self.rows.append(
            (unicodedata.normalize("NFC", file), subject, truth.told, case.view, case.site, case.person.sex)
        )
        if file.startswith("pacs/ST") and file.endswith(_disc(case)) and not truth.outlier + truth.duplicate:
            form = next(form for form in objects.FORMS if form.name == truth.form)
            if form.preamble:
                below = PurePosixPath(file).relative_to("pacs")
                self.listed.append(Listed(case, below, str(objects.sop_class(form))))

    def _directory(self) -> None:
        listed = sorted(self.listed, key=lambda one: (one.case.person.mrn, one.case.number))
        if not listed:
            return
        content, puts = directory(listed)
        _put(self.folder / "pacs" / "DICOMDIR", content)
        self.truths.append(FileTruth("pacs/DICOMDIR", "", "", "", "dicom directory"))
        for subject, put in puts:
            self.plants.append(Plant("pacs/DICOMDIR", subject, "dicom.dicomdir", put.place, put.values))

    def _labels(self) -> bytes:
        held = io.StringIO()
        csv.writer(held, lineterminator="\n").writerows(
            [("file", "subject", "label", "view", "site", "sex"), *self.rows]
        )
        return held.getvalue().encode("utf-8")

    def _left_out(self) -> tuple[str, ...]:
        out = [f"{form.name}: no encoder ({form.encoder})" for form in objects.FORMS if not objects.writable(form)]
        if not lettering.hangul():
            out.append("burned-in Hangul: no font (pylopdf-fonts-ko)")
        return tuple(out)


def _due(turn: int, share: float, phase: float) -> bool:
    """Whether one of equally spaced turns falls here; of n turns n * share do, but for one."""
    return int((turn + 1) * share + phase) > int(turn * share + phase)


def _moving(grey: NDArray[np.float32], rng: np.random.Generator, frames: int) -> NDArray[np.float32]:
    """Frames (frames, rows, columns) of a breath: each a pixel or two below the one before, with its own noise."""
    if frames == 1:
        return grey[None].copy()
    rows, step = grey.shape[0], max(1, grey.shape[0] // 256)
    moved = [np.pad(grey, ((step * number, 0), (0, 0)), mode="edge")[:rows] for number in range(frames)]
    shaken = [frame + 2 * rng.standard_normal(grey.shape, dtype=np.float32) for frame in moved]
    return np.clip(np.stack(shaken), 0, 255)


def _lines(case: Case, height: int, pixels: int) -> list[Line]:
    """What is written on the image: in both scripts where there is a Hangul font, and only what has room."""
    who = case.person
    texts = {"latin": [who.name.latin.upper(), who.mrn, f"{case.when:%Y-%m-%d}", who.resident], "hangul": []}
    if lettering.hangul():
        korean = (who.name.local, HOSPITAL, f"등록번호 {who.mrn}", who.department)
        texts["hangul"] = [text for text in korean if re.search("[가-힣]", text)]
    room = pixels // 2 - pixels // 32
    fitting = [
        [Line(text, script) for text in texts[script] if lettering.ink(text, height).shape[1] <= room]
        for script in ("hangul", "latin")
    ]
    turns = itertools.zip_longest(*fitting)
    return [line for turn in turns for line in turn if line is not None][: 5 if height <= 24 else 4]


def _named(case: Case, form: str, ending: str) -> tuple[str, dict[str, Put]]:
    """A path for a file and what it gives away, in the ways of archives, viewers, phones and tidy people."""
    who, mark = case.person, case.mark("name")
    day, number, style = f"{case.when:%Y%m%d}", _disc(case), case.number // 2 % 4
    local, roman = who.name.local.replace(" ", "_"), "_".join(who.name.roman).upper()
    if form.startswith("dicom"):
        if style == 0:
            put = Put("folder", (mark, who.mrn, roman))
            return f"pacs/{who.mrn}_{roman}/{day}_{mark}/{number}{ending}", {"name.folder": put}
        if style == 1:
            return f"pacs/{case.uid(1)}/{case.uid(3)}{ending}", {"name.file": Put("file", (case.uid(3), case.uid(1)))}
        if style == 2:
            put = Put("file", (mark, local, day))
            return f"pacs/ST{case.number:06d}/{local}_{day}_{mark}{ending}", {"name.file": put}
        return f"pacs/ST{case.number:06d}/{_disc(case)}", {}
    if style == 0:
        put = Put("file", (mark, local, who.resident))
        return f"desk/{who.department}/{local}_{who.resident}_{mark}{ending}", {"name.file": put}
    if style == 1:
        # as a Mac writes it: Hangul in parts (NFD)
        name = unicodedata.normalize("NFD", f"desk/연구/{local}_{mark}/{number}{ending}")
        return name, {"name.folder": Put("folder", (mark, local))}
    if style == 2:
        put = Put("file", (mark, f"{case.when:%Y%m%d_%H%M%S}"))
        return f"desk/export/IMG_{case.when:%Y%m%d_%H%M%S}_{mark}{ending}", {"name.file": put}
    return f"desk/export/{number}{ending}", {}


def _disc(case: Case) -> str:
    """A file's name on a disc, where a DICOMDIR may name it: eight capitals or digits (PS3.10 8.2)."""
    return f"IM{case.number:06d}"


def _put(path: Path, content: bytes) -> None:
    """Write under a temporary name first, so that no reader meets half a file."""
    part = path.with_name(".part")
    part.write_bytes(content)
    os.replace(part, path)
