"""De-identification of files: headers and metadata by rule, pixels only inside given boxes, and a look at the result.

DICOM files follow the Basic Application Level Confidentiality Profile of PS3.15 Annex E (edition 2026c) with the
options Clean Pixel Data (where pixels were looked at), Retain Longitudinal Temporal Information With Modified Dates,
and of Retain Patient Characteristics sex and age. PNG, JPEG, GIF, TIFF, BMP and NIfTI files lose what is beside their
pixels. Everything else, and every DICOM object without pixels, is refused with a reason.

The profile's table of some 650 attributes is taken from dicom-anonymizer 2.1 (BSD-3-Clause), which ships it by edition
of the standard; the walk is our own. Tried on one file with identifiers planted in eight places, that package's walk
left those in sequences that are kept (at both depths), in the file meta and in the preamble, set removed dates to
00010101, and wrote none of 0012,0062 to 0012,0064; its new UIDs last for one process. dicognito 0.19 walks sequences
and handles value representations and some forty attributes instead of the table: it left private elements, comments,
an overlay, trailing padding, the source's AE title and the preamble. Both keep texts that the table does not name.

    key = Key.load(path)                      # or Key.new(), once for a cohort
    cleaned = clean(path, "a/b.dcm", key)     # bytes, new name, pseudonym, actions
    residuals(cleaned.data, cleaned.identifiers) == []

Known limits: what burned-in text a box must cover is found elsewhere; faces in volumes are not removed; times of day
stay; comments inside tile-parts of JPEG 2000 and bytes behind the last run of an RLE frame are not looked for.
"""

import zlib
from collections.abc import Sequence
from pathlib import Path

from chambit.images.readers import dicom as reader
from chambit.images.readers import slide
from chambit.prepare import headers, metadata
from chambit.prepare.deidentify import dicom, known, nifti, raster
from chambit.prepare.deidentify.key import Key
from chambit.prepare.deidentify.records import Action, Body, Cleaned, failed, refused
from chambit.prepare.deidentify.residue import residuals
from chambit.prepare.redaction import Redaction

__all__ = ["Action", "Cleaned", "Key", "clean", "identifiers_of", "residuals"]

FORMATS = "DICOM, PNG, JPEG, GIF, TIFF, BMP or NIfTI (.nii, .nii.gz)"


def clean(
    path: Path,
    relative: str,
    key: Key,
    redactions: Sequence[Redaction] = (),
    *,
    subject: str = "",
    looked_at: bool = False,
    overlays: bool = False,
) -> Cleaned:
    """One file without its identifiers; nothing is written.

    Args:
        path: the file.
        relative: its name below the folder, with `/`; the new name is made from it.
        key: the secret of the cohort.
        redactions: boxes to make black, in every frame that they name.
        subject: whom it shows; without it a DICOM file's PatientID says so, and any other file is its own subject.
        looked_at: whether all its pixels were looked at for texts; only then BurnedInAnnotation says NO.
        overlays: whether DICOM overlays are kept; they may hold text.

    Raises:
        InputError: when it cannot be read, is of a kind that is not de-identified, is damaged, or when the result does
            not pass its check; with the remedy, and without a value of the file.
    """
    data = _read(path, relative)
    if _is_dicom(path, data):
        asked = dicom.Asked(relative, subject, tuple(redactions), looked_at, overlays)
        body, pseudonym, names = dicom.clean(data, key, asked)
    else:
        body, names = _other(path, data, relative, redactions)
        pseudonym = key.subject(subject or f"file {relative}")
        if left := residuals(body.data, [name for name in names if name.casefold() not in raster.FORMAT_WORDS]):
            raise failed(relative, f"it still holds {', '.join(left[:3])}")
    name = f"{pseudonym}/{key.name(relative)}{body.suffix}"
    return Cleaned(body.data, body.suffix, pseudonym, name, tuple(body.actions), names, body.pixels)


def identifiers_of(path: Path) -> frozenset[str]:
    """Direct identifiers in a file's header or metadata, without cleaning it; see `Cleaned.identifiers`.

    Raises:
        InputError: when it cannot be read, or its header not parsed.
    """
    data = _read(path, path.name)
    return dicom.identifiers(data, path.name) if _is_dicom(path, data) else _identifiers(data, path.name)


def _read(path: Path, relative: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise refused(relative, f"cannot be read ({error.strerror})", "check the path and its permissions") from None


def _is_dicom(path: Path, data: bytes) -> bool:
    return headers.looks_like_dicom(data) or (not raster.kind(data) and reader.recognises(path, data[:256]))


def _other(path: Path, data: bytes, relative: str, redactions: Sequence[Redaction]) -> tuple[Body, frozenset[str]]:
    if raster.kind(data):
        if slide.recognises(path, data[:256]):
            what = "a whole slide, which also holds pictures of its label and its whole glass"
            raise refused(relative, what, "export the region that is meant as PNG or TIFF")
        return raster.clean(data, relative, redactions), _identifiers(data, relative)
    if nifti.is_nifti(data):
        if redactions:
            what = "boxes in the slices of a volume cannot be blanked"
            raise refused(relative, what, "export the slices as DICOM or PNG, or leave the volume out")
        return nifti.clean(data, relative), _identifiers(data, relative)
    raise refused(relative, "of a kind that is not de-identified here", f"convert it to {FORMATS}, or leave it out")


def _identifiers(data: bytes, relative: str) -> frozenset[str]:
    """Identifiers of a picture or volume: the texts of its metadata."""
    try:
        if nifti.is_nifti(data):
            items = [headers.Item("NIfTI", "", "text", text, len(text)) for text in nifti.texts(data)]
        else:
            items = [item for item in metadata.of_bytes(data) if item.kind in ("text", "name", "person", "trailing")]
        return known.of_items(items)
    except (ValueError, zlib.error) as error:
        raise refused(
            relative, f"damaged ({type(error).__name__})", "export it again from where it came from"
        ) from None
