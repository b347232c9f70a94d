"""Sentences of the board in Korean and English, from the YAML files of the folder `words`.

A place such as `guards.quorum_met` names an entry; `{name}` in it is filled. What is not met comes with its reason and
its remedy, always in both languages.
"""

from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from chambit.core import yamlfile
from chambit.core.errors import ChambitError, Problem
from chambit.core.evidence import Frozen

FOLDER = Path(__file__).parent / "words"


class Text(NamedTuple):
    """The same words in both languages."""

    ko: str
    en: str


class Unmet(Frozen):
    """Something that is in the way: a short name for it, the reason, and what to do about it."""

    what: str
    reason: Text
    remedy: Text


class BoardError(ChambitError):
    """The board cannot do this as it was asked; `unmet` has every reason in both languages."""

    def __init__(self, summary: Text, found: Sequence[Unmet]) -> None:
        super().__init__(summary.en, [Problem(item.what, item.reason.en, item.remedy.en) for item in found])
        self.said = summary
        self.unmet = tuple(found)


@cache
def table() -> dict[str, dict[str, Any]]:
    """Everything in the folder `words`, by group.

    Raises:
        ChambitError: when a group stands in two files, for then one of them would be read by nobody.
    """
    groups: dict[str, dict[str, Any]] = {}
    for path in sorted(FOLDER.glob("*.yaml")):
        for name, entries in yamlfile.read(path).items():
            if name in groups:
                raise ChambitError("Words of the board are given twice.", [Problem(f"{path.name}: {name}", "twice")])
            groups[name] = entries
    return groups


def say(place: str, **values: object) -> Text:
    """The words at a place, filled; a `Text` among the values is filled in by language.

    >>> say("states.in_review").ko
    '심의 중'
    """
    entry: Any = table()
    for part in place.split(".", 1):
        entry = entry[part]
    return _filled(entry, values)


def unmet(place: str, **values: object) -> Unmet:
    """What is not met, with the reason and the remedy that stand at a place."""
    group, name = place.split(".", 1)
    entry = table()[group][name]
    return Unmet(what=name, reason=_filled(entry["reason"], values), remedy=_filled(entry["remedy"], values))


def named(group: str, key: str) -> Text:
    """The name of `key` in a group, or the key itself where the group has none."""
    entry = table()[group].get(key)
    return Text(key, key) if entry is None else Text(entry["ko"], entry["en"])


def listed(items: Iterable[Text | str], between: str = ", ") -> Text:
    """Several words with commas, or something else, between them.

    >>> listed(["a", Text("나", "b")])
    Text(ko='a, 나', en='a, b')
    """
    both = [item if isinstance(item, Text) else Text(item, item) for item in items]
    return Text(between.join(item.ko for item in both), between.join(item.en for item in both))


def _filled(entry: Mapping[str, str], values: Mapping[str, object]) -> Text:
    korean, english = (
        {name: value[side] if isinstance(value, Text) else value for name, value in values.items()} for side in (0, 1)
    )
    return Text(entry["ko"].format_map(korean), entry["en"].format_map(english))
