"""What a de-identification reports: actions, the cleaned file, and the error of a file that is refused."""

from typing import NamedTuple

from chambit.core.errors import InputError, Problem
from chambit.prepare.identifiers import redacted

AGAIN = "export it again from the archive (PACS) it came from"


class Action(NamedTuple):
    """What was done to one field; no value is part of it.

    Attributes:
        place: where the field stands: 'DICOM', 'DICOM file meta', 'EXIF', 'PNG chunk', ...
        name: its name there: tag and keyword, with the path of sequences before it; private creators are not named.
        did: 'removed', 'emptied', 'replaced', 'shifted', 'kept' or 'cleaned'.
        why: the rule, in a few words.
    """

    place: str
    name: str
    did: str
    why: str


class Cleaned(NamedTuple):
    """A file without its identifiers.

    Attributes:
        data: the whole new file.
        suffix: of the new file, with its point.
        subject: pseudonym of the subject.
        name: new relative name, `<subject>/<eight letters><suffix>`.
        actions: all that was done, in the order of the fields.
        identifiers: direct identifiers that stood in this file's header, in several spellings, to seed text
            recognition; never to be written out.
        pixels: SHA-256 of the pixels outside the redacted boxes. It was computed from the original and from the new
            file, which was read again, and both were equal. Without redactions it is of the stored bytes (uncompressed
            samples, or compressed codestreams without their comments); with redactions, and for TIFF, BMP and GIF, of
            the decoded samples.
    """

    data: bytes
    suffix: str
    subject: str
    name: str
    actions: tuple[Action, ...]
    identifiers: frozenset[str]
    pixels: str


class Body(NamedTuple):
    """A cleaned file before it has a name: see `Cleaned` for the attributes."""

    data: bytes
    suffix: str
    actions: list[Action]
    pixels: str


def refused(relative: str, what: str, remedy: str) -> InputError:
    """The error of a file that cannot be de-identified; what its name says of a person is masked."""
    shown = redacted(relative.rsplit("/", 1)[-1])
    return InputError(f"{shown} cannot be de-identified.", [Problem(shown, what, remedy)])


def failed(relative: str, what: str) -> InputError:
    """The error of a file whose cleaned form did not pass our own check; nothing of it was returned."""
    remedy = "leave the file out, and report the kind of file it is: this is a defect of the program, or chance"
    return refused(relative, f"the cleaned file does not pass its check: {what}", remedy)
