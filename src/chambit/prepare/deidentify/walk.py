"""A DICOM data set written anew by the rules of `profile`: each element decided, at any depth, with a line for it."""

from typing import Any, NamedTuple

from chambit.prepare.deidentify import frames, known
from chambit.prepare.deidentify.attributes import WRITTEN, Words, joined, shifted
from chambit.prepare.deidentify.key import Key
from chambit.prepare.deidentify.profile import DICOM_ROOT, DUMMY, ESSENTIAL, TEXTS, Rule, rule
from chambit.prepare.deidentify.records import Action

_SEARCHED = TEXTS | {"CS"}


class Walk(NamedTuple):
    """What the walk needs to know at every depth.

    Attributes:
        key: for UIDs.
        subject: the pseudonym.
        days: the shift of the subject's dates.
        words: identifiers of the header, for texts that are kept.
        overlays: whether overlays are kept.
        actions: filled on the way; equal lines (of the frames of one file) once.
    """

    key: Key
    subject: str
    days: int
    words: Words
    overlays: bool
    actions: dict[Action, None]

    def note(self, name: str, did: str, why: str) -> None:
        """Add a line to the actions."""
        self.actions.setdefault(Action("DICOM", name, did, why))


def rebuilt(source: Any, walk: Walk, path: str = "") -> Any:
    """A new data set with the elements that may stay; pixels are left out, for they are written by `frames`.

    Args:
        source: pydicom `Dataset`; elements of it that cannot be understood are removed.
        walk: see there; its `actions` are filled.
        path: names of the sequences around it.
    """
    from pydicom.dataset import Dataset

    out = Dataset()
    for tag in sorted(source.keys()):
        try:
            element = source[tag]
            vr, keyword, value = element.VR, element.keyword, element.value
        except Exception as error:  # pydicom raises what its converters raise; nothing of the value may be shown
            walk.note(f"{path}{tag}", "removed", f"cannot be understood ({type(error).__name__})")
            continue
        name = f"{path}{tag} {'' if tag.is_private else keyword}".strip()
        if keyword in frames.PIXELS:
            if path:
                walk.note(name, "removed", "pixels inside a sequence")
        elif keyword in WRITTEN:
            if keyword == "BurnedInAnnotation" and not path and known.texts(value) in (["YES"], ["NO"]):
                out.add_new(tag, vr, known.texts(value)[0])
        else:
            _decide(out, element, (name, vr, value), walk)
    return out


def _decide(out: Any, element: Any, named: tuple[str, str, Any], walk: Walk) -> None:
    """Write one element as its rule says, with a line where it does not stay as it was."""
    name, vr, value = named
    what, why = rule(int(element.tag), vr, element.keyword, overlays=walk.overlays)
    if what is Rule.REMOVE:
        walk.note(name, "removed", why)
        return
    if what is Rule.KEEP:
        _keep(out, element, name, walk)
        return
    texts = known.texts(value) if vr != "SQ" else []
    if what is Rule.EMPTY:
        new: list[str] = []
    elif what is Rule.SUBJECT:
        new = [walk.subject]
    elif what is Rule.UID:
        new = [uid if uid.startswith(DICOM_ROOT) else walk.key.uid(uid) for uid in texts]
    elif what is Rule.DUMMY:
        new = [DUMMY] if texts else []
    elif what is Rule.AGE:
        new = [joined(text) for text in texts[:1]]
    elif what is Rule.SEX:
        new = [text for text in texts[:1] if text in ("M", "F", "O")]
    else:
        new = [shifted(text, vr, walk.days) for text in texts]
    out.add_new(element.tag, vr, _empty(vr) if not any(new) else new[0] if len(new) == 1 else new)
    if texts or value:
        walk.note(name, _did(what, texts, new), why)


def _did(what: Rule, old: list[str], new: list[str]) -> str:
    if not any(new):
        return "emptied"
    if new == old and what in (Rule.SHIFT, Rule.AGE, Rule.SEX, Rule.UID):
        return "kept"
    return "shifted" if what is Rule.SHIFT else "replaced"


def _empty(vr: str) -> Any:
    return [] if vr == "SQ" else b"" if vr in ("OB", "OW", "UN", "OB or OW", "OV") else None


def _keep(out: Any, element: Any, name: str, walk: Walk) -> None:
    vr, value = element.VR, element.value
    if vr == "SQ":
        items = [rebuilt(item, walk, f"{name} > ") for item in value]
        out.add_new(element.tag, vr, items)
        return
    if vr in _SEARCHED:
        value, why = _searched(value, walk.words if element.keyword not in ESSENTIAL else Words(()))
        if why:
            walk.note(name, "emptied", why)
    out.add_new(element.tag, vr, value)
    if walk.overlays and element.tag.group & 0xFF00 == 0x6000:
        walk.note(name, "kept", "overlays were asked for")


def _searched(value: Any, words: Words) -> tuple[Any, str]:
    """A text value without those of its values that hold an identifier, and why they went.

    Padding is cut off, also behind a zero byte, where remnants of older values may stand. An empty value keeps the
    others in their places.
    """
    several = type(value).__name__ == "MultiValue" or isinstance(value, (list, tuple))
    plain = [
        str(each if each is not None else "").split("\0", 1)[0].strip() for each in (value if several else [value])
    ]
    reasons = [words.within(each) for each in plain]
    left = ["" if reason else each for each, reason in zip(plain, reasons, strict=True)]
    why = next((reason for reason in reasons if reason), "")
    if not why and (why := words.within(" ".join(left))):  # a name may stand in two values
        left = []
    return (left if any(left) and several else left[0] if any(left) else None), why
