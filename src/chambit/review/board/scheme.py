"""The indicators of a review scheme as records, read from `review/indicators`."""

from functools import cache
from pathlib import Path
from typing import Any

from chambit.core import yamlfile
from chambit.core.evidence import Frozen
from chambit.review.board.words import Text

FOLDER = Path(__file__).parents[1] / "indicators"
DEFAULT = "pipc-2024.5"


class Attachment(Frozen):
    """What a person must attach."""

    id: str
    name: Text


class Indicator(Frozen):
    """One question of the scheme.

    Attributes:
        id: its number.
        name: its name.
        question: what it asks.
        evidence: keys that answer it, the most telling first.
        only_some: of these, what only some sets can have; its absence is no lack.
        attachments: what a person must attach.
    """

    id: int
    name: Text
    question: Text
    evidence: tuple[str, ...]
    only_some: tuple[str, ...]
    attachments: tuple[Attachment, ...]


@cache
def indicators(name: str = DEFAULT) -> tuple[Indicator, ...]:
    """The indicators of a scheme, in their order."""
    content: dict[str, Any] = yamlfile.read(FOLDER / f"{name}.yaml")
    return tuple(
        Indicator(
            id=entry["id"],
            name=_text(entry["name"]),
            question=_text(entry["question"]),
            evidence=tuple(entry["evidence"]),
            only_some=tuple(entry.get("where_recorded", ())),
            attachments=tuple(Attachment(id=item["id"], name=_text(item)) for item in entry["attach"]),
        )
        for entry in content["indicators"]
    )


def attachment(name: str) -> Text:
    """The name of an attachment by its id, or the id itself."""
    found = (item.name for entry in indicators() for item in entry.attachments if item.id == name)
    return next(found, Text(name, name))


def _text(entry: Any) -> Text:
    return Text(str(entry["ko"]), str(entry["en"]))
