"""Sentences that evidence brings along in English, in Korean: by the templates of `words/sentences.yaml`.

Measures and policy write one language, because what they write is part of the record. A page says it in the reader's.
What no template knows stays as it came; it is never left out.
"""

import re
from functools import cache

from chambit.report.wording import words

_NAME = re.compile(r"\\\{(\w+)\\\}")
_REST = re.compile(r".+?(?:[.;](?=\s)|$)", re.DOTALL)


def korean(sentence: str) -> str:
    """A sentence, or several after each other, in Korean as far as templates know them.

    >>> korean("No file was found.")
    '파일이 없습니다.'
    >>> korean("No file was found. Ask Kim.")
    '파일이 없습니다. Ask Kim.'
    """
    return " ".join(said for said, _ in _parts(sentence))


def unknown(sentence: str) -> list[str]:
    """What of it no template knows.

    >>> unknown("No file was found. Ask Kim.")
    ['Ask Kim.']
    """
    return [said for said, known in _parts(sentence) if not known]


def _parts(sentence: str) -> list[tuple[str, bool]]:
    parts, at = [], 0
    while at < len(sentence):
        found, template = next(
            ((match, said) for pattern, said in _templates() if (match := pattern.match(sentence, at))), (None, "")
        )
        if found is None:
            found = _REST.match(sentence, at)
            assert found is not None  # one character at least is left
            parts.append((found[0].strip(), False))
        else:
            parts.append((template.format_map({name: _word(value) for name, value in found.groupdict().items()}), True))
        at = found.end()
        at += len(sentence[at:]) - len(sentence[at:].lstrip())
    return parts


def _word(value: str) -> str:
    """What stands for a name of a template: a sentence, a role or a unit in Korean, all else as it is."""
    known = words()["sizes"].get(value.replace(" ", "_"))
    return str(known["ko"]) if known else value


@cache
def _templates() -> list[tuple[re.Pattern[str], str]]:
    """Pattern and Korean of each sentence, those with more words of their own first."""
    entries = sorted(words()["sentences"], key=lambda entry: -len(re.sub(r"\{\w+\}", "", entry["en"])))
    found = []
    for entry in entries:
        # a name stands for as little as can be, and never for nothing
        pattern = _NAME.sub(r"(?P<\1>.+?)", re.escape(entry["en"]))
        end = "$" if entry["en"].endswith("}") else r"(?=\s|$)"  # at the very end a name stands for all that is left
        found.append((re.compile(pattern + end, re.DOTALL), entry["ko"]))
    return found
