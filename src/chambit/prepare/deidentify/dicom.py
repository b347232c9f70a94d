"""De-identification of one DICOM file: a new data set, a new file meta, and a look at the bytes that were written.

No element of the source is copied as bytes but pixels, tables and numbers: a data set is built from decoded values in
UTF-8, with an empty preamble and nothing after the last element. Then the bytes are read again and held against the
rules, against the UIDs and identifiers of the source, and against the digest of its pixels.
"""

import io
import logging
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

from chambit.core.errors import InputError
from chambit.prepare.deidentify import attributes, frames, known
from chambit.prepare.deidentify.key import Key
from chambit.prepare.deidentify.profile import DICOM_ROOT, DUMMY, ESSENTIAL, Rule, rule
from chambit.prepare.deidentify.records import AGAIN, Action, Body, failed, refused
from chambit.prepare.deidentify.residue import residuals
from chambit.prepare.deidentify.walk import Walk, rebuilt
from chambit.prepare.redaction import Redaction

_DIRECTORY = "1.2.840.10008.1.3.10"


class Result(NamedTuple):
    """A cleaned DICOM file, its subject's pseudonym and the identifiers of its header."""

    body: Body
    subject: str
    identifiers: frozenset[str]


class Asked(NamedTuple):
    """What is asked for one file.

    Attributes:
        relative: its name below the folder, for errors (masked) and for what it lacks.
        subject: who it shows, or "" for its PatientID.
        redactions: boxes to blank.
        looked_at: whether all pixels were looked at.
        overlays: whether overlays are kept.
    """

    relative: str
    subject: str
    redactions: Sequence[Redaction]
    looked_at: bool
    overlays: bool


def clean(data: bytes, key: Key, asked: Asked) -> Result:
    """A DICOM file by the profile, its pixels as they were outside the boxes.

    Raises:
        InputError: for a DICOMDIR, a file without pixels, damage, pixels that must and cannot be decoded, and when the
            result does not pass its check.
    """
    relative = asked.relative
    with _quiet():
        source = _parsed(data, relative)
        try:
            pixels = frames.which(source, relative)
            names = known.of_dataset(source)
            who = asked.subject or next(iter(known.texts(source.get("PatientID"))), "")
            subject = key.subject(who or f"file {relative}")
            walk = Walk(key, subject, key.days(subject), attributes.Words(names), asked.overlays, {})
            out = rebuilt(source, walk)
            out.PatientID = out.PatientName = subject
            _place(out, source, key, asked)
            redact = bool(asked.redactions)
            digest = _blanked(out, source, asked, walk) if redact else _untouched(out, source, pixels, walk, relative)
            attributes.write_method(out, pixels_cleaned=redact or asked.looked_at, looked_at=asked.looked_at)
            written = _written(out, relative)
            _check(written, source, pixels, digest, asked, names, subject)
        except InputError:
            raise
        except MemoryError:
            raise refused(relative, "too large for this machine's memory", "split it into single frames") from None
        except Exception as error:  # a damaged header shows as many kinds of exception
            what = f"damaged: its header cannot be understood ({type(error).__name__})"
            raise refused(relative, what, AGAIN) from None
    actions = [*_meta_actions(source, data), *walk.actions]
    return Result(Body(written, ".dcm", actions, digest), subject, names)


def identifiers(data: bytes, relative: str) -> frozenset[str]:
    """Direct identifiers of a DICOM file's header.

    Raises:
        InputError: when it cannot be parsed.
    """
    with _quiet():
        return known.of_dataset(_parsed(data, relative, directory=True))


@contextmanager
def _quiet() -> Iterator[None]:
    # pydicom quotes odd values, which can be a name or a number of a patient, in warnings and in its log
    import pydicom.config

    log = logging.getLogger("pydicom")
    level = log.level
    log.setLevel(logging.CRITICAL + 1)
    try:
        with warnings.catch_warnings(), pydicom.config.disable_value_validation():
            warnings.simplefilter("ignore")
            yield
    finally:
        log.setLevel(level)


def _parsed(data: bytes, relative: str, *, directory: bool = False) -> Any:
    from pydicom import dcmread
    from pydicom.dataset import FileMetaDataset
    from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

    try:
        source = dcmread(io.BytesIO(data), force=True)
        meta = getattr(source, "file_meta", None)
        source.file_meta = meta if meta is not None else FileMetaDataset()
        listing = source.file_meta.get("MediaStorageSOPClassUID") == _DIRECTORY or "DirectoryRecordSequence" in source
        if "TransferSyntaxUID" not in source.file_meta:
            implicit, little = source.original_encoding
            explicit = ExplicitVRLittleEndian if little else ExplicitVRBigEndian
            source.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian if implicit else explicit
    except Exception as error:
        raise refused(relative, f"damaged: cannot be parsed as DICOM ({type(error).__name__})", AGAIN) from None
    if listing and not directory:
        what = "left out: an index of the original files (DICOMDIR), with their names and patients"
        raise refused(relative, what, "none is needed; a new index can be made of the new files")
    return source


def _place(out: Any, source: Any, key: Key, asked: Asked) -> None:
    """Class, instance and file meta of the new file; nothing of the old file meta but class and transfer syntax."""
    from pydicom.dataset import FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian

    old = source.file_meta
    if not out.get("SOPClassUID"):
        out.SOPClassUID = old.get("MediaStorageSOPClassUID") or ""
    if not out.SOPClassUID:
        raise refused(asked.relative, "damaged: its header lacks SOPClassUID", AGAIN)
    if not out.get("SOPInstanceUID"):
        out.SOPInstanceUID = key.uid(str(old.get("MediaStorageSOPInstanceUID") or f"file {asked.relative}"))
    out.file_meta = FileMetaDataset()
    out.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian if asked.redactions else old.TransferSyntaxUID
    out.SpecificCharacterSet = "ISO_IR 192"


def _untouched(out: Any, source: Any, pixels: str, walk: Walk, relative: str) -> str:
    kept = frames.kept(source, pixels, relative)
    element = source[pixels]
    out.add_new(element.tag, element.VR, kept.value)
    out[pixels].is_undefined_length = source.file_meta.TransferSyntaxUID.is_encapsulated
    for what in kept.removed:
        walk.note(f"{element.tag} {pixels}", "cleaned", f"{what}; samples as they were")
        for name in ("ExtendedOffsetTable", "ExtendedOffsetTableLengths"):
            if name in out:
                delattr(out, name)
    return kept.digest


def _blanked(out: Any, source: Any, asked: Asked, walk: Walk) -> str:
    if "PixelData" not in source:
        raise refused(asked.relative, "float pixels cannot be blanked", "export it with 16 bits or fewer")
    if frames.overlaid(source):
        raise refused(asked.relative, "an overlay is hidden in the bits of its samples", "clean it without boxes first")
    decoded = frames.decoded(source, asked.relative)
    frames.check_frames(len(decoded.array), asked.redactions, asked.relative)
    digest = frames.put(out, decoded, asked.redactions, frames.black(decoded, source))
    if kind := known.texts(out.get("ImageType")):
        out.ImageType = ["DERIVED", *kind[1:]]
    walk.note("(7FE0,0010) PixelData", "cleaned", f"{len(asked.redactions)} boxes made black, written uncompressed")
    return digest


def _written(out: Any, relative: str) -> bytes:
    buffer = io.BytesIO()
    out.preamble = bytes(128)
    try:
        out.save_as(buffer, enforce_file_format=True)
    except Exception as error:
        raise refused(relative, f"cannot be written again ({type(error).__name__})", AGAIN) from None
    return buffer.getvalue()


def _meta_actions(source: Any, data: bytes) -> list[Action]:
    found = []
    if data[128:132] == b"DICM" and data[:128].strip(b"\0"):
        found.append(Action("DICOM", "preamble", "emptied", "it may hold anything"))
    for element in source.file_meta:
        if element.tag.group == 2 and element.keyword.startswith(("Source", "Sending", "Receiving", "Private", "Impl")):
            name = f"{element.tag} {element.keyword}"
            did = "replaced" if element.keyword.startswith("Impl") else "removed"
            found.append(Action("DICOM file meta", name, did, "where the file came from"))
        elif element.keyword == "MediaStorageSOPInstanceUID":
            found.append(Action("DICOM file meta", f"{element.tag} {element.keyword}", "replaced", "profile, U"))
    return found


def _check(
    written: bytes,
    source: Any,
    pixels: str,
    digest: str,
    asked: Asked,
    names: frozenset[str],
    subject: str,
) -> None:
    """Read the written bytes again, and raise unless rules, identifiers and pixels are as they must be.

    Raises:
        InputError: naming what failed, without values.
    """
    from pydicom import dcmread

    again = dcmread(io.BytesIO(written))
    uids = known.uids(source)
    for element in known.elements(again):
        if problem := _broken(element, uids, subject, asked.overlays):
            raise failed(asked.relative, f"{element.tag} {problem}")
    if again.file_meta.MediaStorageSOPInstanceUID != again.SOPInstanceUID or written[:128].strip(b"\0"):
        raise failed(asked.relative, "its file meta")
    value = bytes(again[pixels].value)
    at = written.find(value)
    header = written[:at] + written[at + len(value) :] if at >= 0 and value else written
    said = _said(again)
    if left := residuals(header, {name for name in names if name.casefold() not in said} | uids):
        raise failed(asked.relative, f"it still holds {', '.join(left[:3])}")
    if asked.redactions:
        _check_boxes(again, source, asked)
        new = frames.outside(frames.decoded(again, asked.relative).array, asked.redactions)
    else:
        new = frames.digest(again, pixels)
    if new != digest:
        raise failed(asked.relative, "its pixels are not those of the original")


def _broken(element: Any, uids: frozenset[str], subject: str, overlays: bool) -> str:
    """What is wrong with an element of the written file; "" when nothing is."""
    keyword = element.keyword
    if keyword in attributes.WRITTEN or keyword in frames.PIXELS:
        return ""
    texts = known.texts(element.value) if element.VR != "SQ" else []
    what, _ = rule(int(element.tag), element.VR, keyword, overlays=overlays)
    if what is Rule.REMOVE:
        return "was not removed"
    if what is Rule.EMPTY and (texts or element.value):
        return "was not emptied"
    if what is Rule.DUMMY and texts not in ([], [DUMMY]):
        return "was not replaced"
    if what is Rule.SUBJECT and texts != [subject]:
        return "is not the pseudonym"
    if what is Rule.UID and any(uid in uids or not uid.startswith((DICOM_ROOT, "2.25.")) for uid in texts):
        return "is a UID of the original"
    return ""


def _check_boxes(again: Any, source: Any, asked: Asked) -> None:
    old, new = frames.decoded(source, asked.relative), frames.decoded(again, asked.relative)
    inside = frames.boxes(old.array.shape, asked.redactions)
    if old.array.shape != new.array.shape or (old.array[~inside] != new.array[~inside]).any():
        raise failed(asked.relative, "a pixel outside the boxes changed")
    if (new.array[inside] != frames.black(old, source)).any():
        raise failed(asked.relative, "a pixel inside a box is not black")


def _said(again: Any) -> frozenset[str]:
    """Words that the written file must hold, case-folded: a patient may be called like one of them."""
    ours = [DUMMY, "DCM", "MODIFIED", "YES", "DICM", *attributes.METHOD, str(again.get("SpecificCharacterSet", ""))]
    ours += [meaning for _, meaning in (attributes.PROFILE, attributes.PIXELS, attributes.DATES)]
    ours += [attributes.CHARACTERISTICS[1], str(again.file_meta.get("ImplementationVersionName", ""))]
    # a date of birth of six digits may be a time of day
    ours += [text for element in known.elements(again) if element.VR == "TM" for text in known.texts(element.value)]
    ours += [text for name in ESSENTIAL for text in known.texts(again.get(name))]
    words = {word for text in ours for word in re.split(r"[\W_]+", text)}
    return frozenset(word.casefold() for word in words | set(ours))
