"""One original at a time: its text found and made black, its header cleaned, the result read again; or set aside.

A file leaves here in one of two ways. Cleaned: written under a new name, after its own bytes were searched for its own
identifiers and its pixels were read a second time. Set aside: nothing was written, and a reason and a remedy say why.
"""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from chambit.core.errors import InputError, Problem
from chambit.core.store import Store, write_atomically
from chambit.images import readers
from chambit.images.image import Image
from chambit.prepare import burned, deidentify, faces, identifiers
from chambit.prepare.listing import Entry
from chambit.prepare.redaction import Redaction

VOLUMES = ("nifti",)
"""Readers whose files are volumes made by reconstruction: nobody burns text into them, but they may show a face."""

SECTIONED = ("CT", "MR", "PT")
"""DICOM modalities whose single files may together show a head."""


class Job(NamedTuple):
    """What a worker is given: files, the key, where cleaned files go, and how text is looked for."""

    entries: Sequence[Entry]
    root: Path
    key: deidentify.Key
    folder: Path
    options: burned.Options
    faces: faces.Options


class Outcome(NamedTuple):
    """A cleaned file in memory and what was done, before it is written."""

    cleaned: deidentify.Cleaned
    redactions: Sequence[Redaction]
    doubtful: Sequence[Redaction]
    kept: Sequence[Redaction]
    rounds: int
    remaining: int
    frames: int


class Pair(NamedTuple):
    """An original and what became of it, for the search of what was written."""

    entry: Entry
    output: Path


def search_chunk(store: Store, pairs: Sequence[Pair]) -> str:
    """Search files as they lie in the output for the identifiers of their originals; keeps what was found, masked."""
    found = {str(pair.output): deidentify.residuals(pair.output.read_bytes(), seeds(pair.entry)) for pair in pairs}
    return store.put_json({name: hits for name, hits in found.items() if hits})


def clean_chunk(store: Store, job: Job) -> str:
    """Clean some files; keeps a JSON record of each. It names originals, so it stays in the closed network."""
    return store.put_json([record(entry, job) for entry in job.entries])


def record(entry: Entry, job: Job) -> dict[str, Any]:
    """Clean one file and its mask, write both, and say what was done; a file that cannot be cleaned is set aside."""
    told: dict[str, Any] = {"file": entry.name, "label": entry.label, "fields": dict(entry.fields)}
    if entry.refused:
        return told | {"state": "set aside", "reason": entry.refused, "remedy": entry.remedy, "why": "listing"}
    try:
        name, reader = readers.find(entry.path)
        deep = name in VOLUMES and readers.frames(entry.path, reader) > 1
        volume = _volume(entry, job) if deep else {}
        outcome = outcome_of(entry, job, deep)
        mask = _mask(entry, job, outcome.cleaned)
    except InputError as error:
        problem = error.problems[0]
        why = "face" if isinstance(error, _FaceError) else "file"
        return told | {"state": "set aside", "reason": problem.what, "remedy": problem.remedy, "why": why}
    write_atomically(job.folder / outcome.cleaned.name, outcome.cleaned.data)
    did = Counter(action.did for action in outcome.cleaned.actions)
    return told | volume | {
        "state": "cleaned",
        "output": outcome.cleaned.name,
        "mask": mask,
        "subject": outcome.cleaned.subject,
        "section": name == "dicom" and _modality(entry.path) in SECTIONED,
        "did": dict(sorted(did.items())),
        "seeds": len(outcome.cleaned.identifiers),
        "pixels": outcome.cleaned.pixels,
        "redactions": [box._asdict() for box in outcome.redactions],
        "doubtful": [box._asdict() for box in outcome.doubtful],
        "kept": [box._asdict() for box in outcome.kept],
        "rounds": outcome.rounds,
        "remaining": outcome.remaining,
        "frames": outcome.frames,
    }  # fmt: skip


def outcome_of(entry: Entry, job: Job, volume: bool) -> Outcome:
    """Clean one file in memory: look, redact, look again at the result, search its bytes.

    Raises:
        InputError: when it cannot be read or cleaned, text is left after the last look, or an identifier is found.
    """
    known = seeds(entry)
    if volume:
        cleaned = deidentify.clean(entry.path, entry.name, job.key, subject=entry.subject)
        _searched(entry, cleaned, known)
        return Outcome(cleaned, (), (), (), 0, 0, 0)
    frames = shown(entry.path)
    looked = burned.look(frames, known, job.options)
    redactions = list(looked.redactions)
    cleaned = _cleaned(entry, job, redactions)
    second = burned.second_look(shown_bytes(cleaned.data, job.folder), known, job.options, redactions)
    if second.redactions:
        redactions += second.redactions
        cleaned = _cleaned(entry, job, redactions)
    if not second.clean:
        what = f"text is still found after {second.rounds} rounds of redaction ({len(second.remaining)} places)"
        raise InputError(
            "Text is left.", [Problem(_shown_name(entry), what, "blank the region by hand, or leave it out")]
        )
    _searched(entry, cleaned, known)
    return Outcome(cleaned, redactions, second.doubtful, looked.kept, second.rounds, len(second.remaining), len(frames))


def seeds(entry: Entry) -> frozenset[str]:
    """Direct identifiers of a file: of its header, and the subject that the labels file names."""
    return deidentify.identifiers_of(entry.path) | ({entry.subject} if entry.subject else set())


def shown(path: Path) -> np.ndarray:
    """What a viewer shows of each frame, uint8 (F, H, W), or (F, H, W, 3) where a frame has colour.

    Raises:
        InputError: when the file cannot be read, or its frames differ in size.
    """
    return _stacked(path, [image for _, image in readers.open_any(path)])


def shown_bytes(data: bytes, folder: Path) -> np.ndarray:
    """As `shown`, of a file in memory: what will be released is what is read again."""
    import tempfile

    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=folder, prefix=".reading-") as file:
        file.write(data)
        file.flush()
        return shown(Path(file.name))


def _stacked(path: Path, images: Sequence[Image]) -> np.ndarray:
    if len({image.pixels.shape[:2] for image in images}) != 1:
        raise readers.refusal(path, "its frames differ in size", "save each as a file of its own")
    colour = any(image.colour for image in images)
    return np.stack([_eight(image, colour) for image in images])


def _eight(image: Image, colour: bool) -> np.ndarray:
    if not colour:
        return np.asarray(np.rint(255 * image.grey()), np.uint8)
    pixels = image.pixels if image.pixels.ndim == 3 else np.repeat(image.pixels[:, :, None], 3, axis=2)
    return np.asarray(np.rint(pixels * (255 / image.white)), np.uint8)


def _cleaned(entry: Entry, job: Job, redactions: Sequence[Redaction]) -> deidentify.Cleaned:
    boxes = as_stored(entry.path, redactions)
    return deidentify.clean(entry.path, entry.name, job.key, boxes, subject=entry.subject, looked_at=True)


def as_stored(path: Path, boxes: Sequence[Redaction]) -> Sequence[Redaction]:
    """Boxes of the picture as it is shown, in the pixels of the file: EXIF may say that it is shown turned."""
    from PIL import Image as Pillow
    from PIL import UnidentifiedImageError

    way = Pillow.Transpose
    back = {2: way.FLIP_LEFT_RIGHT, 3: way.ROTATE_180, 4: way.FLIP_TOP_BOTTOM, 5: way.TRANSPOSE, 6: way.ROTATE_90,
            7: way.TRANSVERSE, 8: way.ROTATE_270}  # fmt: skip
    try:
        with Pillow.open(path) as picture:
            # Pillow itself turns a TIFF when it loads it
            turned = 1 if picture.format == "TIFF" else picture.getexif().get(274, 1)
            wide, high = picture.size
    except UnidentifiedImageError:
        return boxes  # DICOM and others have no such field
    if turned not in back:
        return boxes
    shown_size = (high, wide) if turned >= 5 else (wide, high)
    out = []
    for box in boxes:
        mask = Pillow.new("1", shown_size)
        mask.paste(1, (box.x0, box.y0, box.x1, box.y1))
        if place := mask.transpose(back[turned]).getbbox():
            out.append(box._replace(x0=place[0], y0=place[1], x1=place[2], y1=place[3]))
    return out


def _searched(entry: Entry, cleaned: deidentify.Cleaned, known: frozenset[str]) -> None:
    """Search the bytes that would be released.

    Raises:
        InputError: when an identifier of the original stands in them.
    """
    if left := deidentify.residuals(cleaned.data, known | cleaned.identifiers):
        what = f"the cleaned file still holds {len(left)} identifier(s): {', '.join(left[:3])}"
        raise InputError(
            "Identifiers are left.", [Problem(_shown_name(entry), what, "leave it out and report this format")]
        )


def _mask(entry: Entry, job: Job, owner: deidentify.Cleaned) -> str:
    """Clean and write the mask that belongs to a file; its new name, or "" where there is none.

    Raises:
        InputError: when the mask cannot be cleaned: then neither is its image kept, for it would lose its label.
    """
    name = entry.fields.get("mask", "")
    if not name:
        return ""
    path = job.root / name
    cleaned = deidentify.clean(path, name, job.key, subject=entry.subject)
    new = f"{Path(owner.name).with_suffix('')}.mask{cleaned.suffix}"
    write_atomically(job.folder / new, cleaned.data)
    return new


def _modality(path: Path) -> str:
    from pydicom import dcmread

    return str(dcmread(path, stop_before_pixels=True, force=True, specific_tags=["Modality"]).get("Modality", ""))


class _FaceError(InputError):
    """A volume that shows a face, or may show one."""


def _volume(entry: Entry, job: Job) -> dict[str, Any]:
    """What the surface of a volume shows; its picture goes into the closed part of the output.

    Raises:
        InputError: when a face is seen or cannot be excluded.
    """
    face = faces.find(faces.read(entry.path), job.faces)
    write_atomically(job.folder.parent / "faces" / f"{job.key.name(entry.name)}.png", face.picture)
    try:
        faces.require_none(face, _shown_name(entry))
    except InputError as error:
        raise _FaceError(error.summary, error.problems) from None
    return {"face": face.why}


def _shown_name(entry: Entry) -> str:
    return identifiers.redacted(entry.name.rsplit("/", 1)[-1])
