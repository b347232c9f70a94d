"""What released files carry beside pixels: direct identifiers and unexplained fields, in names and metadata.

Every run hides identifiers in files of several formats and must find all of them, else the findings are INVALID: an
answer key, as the MIDI-B challenge uses one. Findings name file, field, kind and a masked form, never a value.
"""

import csv
import io
import math
import tempfile
import zipfile
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from chambit.core.evidence import Control, Finding
from chambit.images.imageset import ImageSet
from chambit.prepare import identifiers, metadata, strings
from chambit.prepare.headers import Item

MEASURE = "files@1"
SHOWN = 30
UNDECLARED = "values that the study does not declare"
BY_FIELD = {"person": "field that identifies a person", "name": "field for a person's name", "location": "location"}
_RRN = "900101-1234568"  # invented; its check digit holds


class Hit(NamedTuple):
    """An identifier in a file: the file's name with identifiers masked, place, field, kind, masked form, ground."""

    file: str
    place: str
    field: str
    kind: str
    masked: str
    ground: str


class Told(NamedTuple):
    """What a column of the released tables may hold beside nothing at all.

    Attributes:
        levels: these texts.
        ends: numbers from the first to the second.
        own: the name of the item itself, as its column `subject` has it.
    """

    levels: frozenset[str] = frozenset()
    ends: tuple[float, float] | None = None
    own: bool = False

    def may_be(self, value: str, subject: str) -> bool:
        """Whether a cell is one that was declared.

        >>> Told(frozenset({"A"})).may_be("A", ""), Told(frozenset({"A"})).may_be("B", "")
        (True, False)
        >>> [Told(ends=(0, 9)).may_be(text, "") for text in ("3.5", "", "9.1", "nan", "x")]
        [True, True, False, False, False]
        """
        if not value or value in self.levels or (self.own and value == subject):
            return True
        try:
            number = float(value)
        except ValueError:
            return False
        return self.ends is not None and math.isfinite(number) and self.ends[0] <= number <= self.ends[1]


class Looked(NamedTuple):
    """What was found in some files."""

    files: int
    fields: int
    hits: list[Hit]
    unexplained: list[tuple[str, str]]


def inspect(
    paths: Iterable[Path],
    known: Collection[str],
    allowed: Collection[str],
    told: Mapping[str, Told] | None = None,
) -> list[Finding]:
    """Direct identifiers and unexplained fields in files to be released.

    Args:
        paths: files, or folders of which everything below is released (the folder's own name is not).
        known: strings of the cohort that must not be found, see `chambit.prepare.strings.of_cohort`.
        allowed: texts that may stand in a field, such as the notice of a synthetic image.
        told: columns of tables that the study declares, and what each may hold. Such a column is explained as long as
            it holds nothing else; its text is searched for identifiers like any other.

    Returns:
        `files.identifiers` and `files.unexplained`, with the planted answer key as their control.
    """
    prepared = strings.Known.of(known)
    declared = told or {}
    looked = look(paths, prepared, allowed, declared)
    key = _answer_key()
    control = Control(
        name="identifiers hidden in files",
        expected=f"{len(key)} of {len(key)} found",
        observed=f"{sum(found for _, found in key)} of {len(key)} found",
        fired=all(found for _, found in key),
    )
    reason = "" if looked.files else "No released file was found."
    common: dict[str, Any] = {
        "measure": MEASURE,
        "unit": "fields",
        "null": 0.0,
        "direction": "lower",
        "n": {"files": looked.files, "fields": looked.fields, "known strings": len(prepared.exact)},
        "control": control,
        "reason": reason,
    }
    fields = Counter(looked.unexplained)
    return [
        Finding(
            quantity="identifiers",
            value=float(len(looked.hits)) if looked.files else None,
            details={
                "kinds": dict(Counter(hit.kind for hit in looked.hits)),
                "found": [hit._asdict() for hit in looked.hits[:SHOWN]],
                "planted": [{"where": where, "found": found} for where, found in key],
                "known_left_out": prepared.left_out,
            },
            **common,
        ),
        Finding(
            quantity="unexplained",
            value=float(len(looked.unexplained)) if looked.files else None,
            details={
                "fields": [{"field": f, "kind": k, "files": n} for (f, k), n in fields.most_common(SHOWN)],
                "declared": {name: _said(column) for name, column in declared.items()},
            },
            **common,
        ),
    ]


def of_sets(
    paths: Iterable[Path],
    sets: Mapping[str, ImageSet],
    allowed: Collection[str],
    told: Mapping[str, Told] | None = None,
) -> list[Finding]:
    """`inspect`, with the subjects and source files of every real set as the strings that must not be found."""
    real = [images for role, images in sets.items() if role != "synthetic"]
    subjects = {subject for images in real for subject in images.subjects.tolist()}
    files = {str(name) for images in real if "file" in images.table.columns for name in images.table["file"]}
    return inspect(paths, strings.of_cohort(subjects, files), allowed, told)


def look(
    paths: Iterable[Path], known: strings.Known, allowed: Collection[str], told: Mapping[str, Told] | None = None
) -> Looked:
    """Look at every field of every file; a file that cannot be read is an unexplained field."""
    hits: dict[Hit, None] = {}
    unexplained: list[tuple[str, str]] = []
    files = fields = 0
    folders: set[str] = set()
    for root, path in _listed(paths):
        files += 1
        shown = identifiers.redacted(path.name, known)
        try:
            found = list(metadata.items(path, root))
        except OSError:
            found = [Item("file", "cannot be read", "damaged", "", 0)]
        for item in found:
            if item.place == "folder name":
                if item.text in folders:
                    continue
                folders.add(item.text)
            fields += 1
            if item.place == "table column" and item.name in (told or {}):
                if _holds_more(path, item.name, (told or {})[item.name]):
                    unexplained.append((f"table column {identifiers.redacted(item.name, known)}", UNDECLARED))
                continue
            if item.kind != "structure" and item.text not in allowed:
                unexplained.append((f"{item.place} {identifiers.redacted(item.name, known)}".strip(), item.kind))
            if item.kind == "structure" and any(map(_bare_date, identifiers.find(item.text))):
                unexplained.append((f"{item.place} {identifiers.redacted(item.name, known)}".strip(), "date"))
            for kind, masked, ground in _identifying(item, known, allowed):
                hits[Hit(shown, item.place, identifiers.redacted(item.name, known), kind, masked, ground)] = None
    return Looked(files, fields, list(hits), unexplained)


def _holds_more(path: Path, column: str, told: Told) -> bool:
    """Whether a column of comma-separated values holds what was not declared, or a row is of another width."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        for row in csv.DictReader(file):
            value = row.get(column)
            if value is None or None in row or not told.may_be(value.strip(), str(row.get("subject") or "")):
                return True
    return False


def _said(told: Told) -> str:
    """A declared column in words: how many levels, or that it holds numbers or names of the items."""
    return f"{len(told.levels)} levels" if told.levels else "numbers" if told.ends else "names of the items"


def _listed(paths: Iterable[Path]) -> Iterator[tuple[Path, Path]]:
    """(root, file) for each file; symbolic links are followed as a copy of the folder would."""
    for path in paths:
        if path.is_dir():
            yield from ((path, file) for file in sorted(path.rglob("*")) if file.is_file())
        else:
            yield path.parent, path


def _identifying(item: Item, known: strings.Known, allowed: Collection[str]) -> list[tuple[str, str, str]]:
    """(kind, masked form, ground) of each identifier of a field."""
    if item.text and item.text in allowed:
        return []
    named = item.place.endswith("name")
    text = identifiers.spaced(item.text) if named else item.text
    matches = [*identifiers.find(text, known), *identifiers.find(item.name, known)]
    out = [(match.kind, match.masked, match.ground) for match in matches if not _bare_date(match)]
    if not out and item.kind in BY_FIELD:
        out = [(BY_FIELD[item.kind], identifiers.masked(item.text[:40]), "by the field's meaning")]
    return out


def _bare_date(match: identifiers.Match) -> bool:
    """A day without a word that says whose or of what: of a file that may be its making, so it is only reported."""
    return match.kind == "date"


def _answer_key() -> list[tuple[str, bool]]:
    """Where an identifier was hidden and whether it was found, for a file of each kind."""
    with tempfile.TemporaryDirectory(prefix="chambit-key-") as folder:
        rows = []
        for number, (where, name, data) in enumerate(_planted()):
            path = Path(folder) / str(number) / name
            path.parent.mkdir()
            path.write_bytes(data)
            looked = look([path], strings.Known.of({"P7700123"}), ())
            place, _, kind = where.partition(": ")
            rows.append((where, any(place in f"{hit.place} {hit.field}" and kind in hit.kind for hit in looked.hits)))
    return rows


def _planted() -> Iterator[tuple[str, str, bytes]]:
    """('place: kind', file name, bytes): an identifier hidden in each place."""
    from PIL import Image as Picture
    from PIL import PngImagePlugin, TiffImagePlugin

    image = Picture.new("L", (8, 8), 90)

    def saved(kind: str, **options: Any) -> bytes:
        buffer = io.BytesIO()
        image.save(buffer, kind, **options)
        return buffer.getvalue()

    plain, notes = saved("PNG"), PngImagePlugin.PngInfo()
    notes.add_text("Comment", f"scan of {_RRN}", zip=True)
    korean = PngImagePlugin.PngInfo()
    korean.add_itxt("Description", "성명: 홍길동")
    exif, author, tags = Picture.Exif(), Picture.Exif(), TiffImagePlugin.ImageFileDirectory_v2()
    exif.get_ifd(0x8825).update({1: "N", 2: (37.0, 33.0, 0.0), 3: "E", 4: (126.0, 58.0, 0.0)})
    author[315], tags[270] = "Hong Gildong", "Patient Name: Hong Gildong"
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("P7700123/a.txt", "")
    yield "PNG chunk zTXt: resident", "a.png", saved("PNG", pnginfo=notes)
    yield "PNG chunk iTXt: personal name", "n.png", saved("PNG", pnginfo=korean)
    yield "data after the end: phone", "b.png", plain + b"call 010-1234-5678"
    yield "EXIF GPS: location", "c.jpg", saved("JPEG", exif=exif)
    yield "JPEG COM: record", "d.jpg", saved("JPEG", comment="MRN 12345678")
    yield "Artist: name", "e.tif", saved("TIFF", exif=author)
    yield "ImageDescription: name", "f.tif", saved("TIFF", tiffinfo=tags)
    yield "ZIP member name: known", "g.zip", archive.getvalue()
    yield "file name: resident", f"scan_{_RRN}.png", plain
    yield "file name: known", "x_P7700123_2.png", plain
    yield "PatientName: person", "h.dcm", _dicom("PatientName", "Hong^Gildong")
    yield "PatientBirthDate: ", "i.dcm", _dicom("PatientBirthDate", "19900101")
    yield "PatientID: ", "j.dcm", _dicom("PatientID", "00417733")
    yield "(0009,1001): resident", "k.dcm", _dicom("", _RRN)
    yield "GIF comment: e-mail", "l.gif", saved("GIF", comment=b"hong@example.org")


def _dicom(keyword: str, value: str) -> bytes:
    """A DICOM file with one identifying element; without a keyword, a private one inside a nested sequence."""
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import UID, ExplicitVRLittleEndian, SecondaryCaptureImageStorage

    data = Dataset()
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data.SOPClassUID = data.file_meta.MediaStorageSOPClassUID = SecondaryCaptureImageStorage
    data.SOPInstanceUID = data.file_meta.MediaStorageSOPInstanceUID = UID("2.25.1")
    if keyword:
        setattr(data, keyword, value)
    else:
        inner, outer = Dataset(), Dataset()
        inner.private_block(0x0009, "KEY", create=True).add_new(0x01, "LO", value)
        outer.PurposeOfReferenceCodeSequence = [inner]
        data.SourceImageSequence = [outer]
    buffer = io.BytesIO()
    data.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()
