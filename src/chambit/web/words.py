"""Names that pages share, in Korean and English: from the files of the folder `words`, and the board's own words."""

from functools import cache
from pathlib import Path

from chambit.core import yamlfile
from chambit.review.board import words as board

FOLDER = Path(__file__).parent / "words"


@cache
def table() -> dict[str, dict[str, dict[str, str]]]:
    """Group, key, language, word; two files that name one group are joined."""
    groups: dict[str, dict[str, dict[str, str]]] = {}
    for path in sorted(FOLDER.glob("*.yaml")):
        for name, entries in yamlfile.read(path).items():
            groups.setdefault(name, {}).update(entries)
    return groups


def word(group: str, key: str, language: str) -> str:
    """One word; the key itself where there is none, so that a page of an unknown thing still opens."""
    both = table().get(group, {}).get(key) or board.table().get(group, {}).get(key, {})
    return str(both.get(language, key))
