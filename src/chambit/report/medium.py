"""Where a page will be read: on a screen, in both languages and with one style sheet, or on paper, in one language.

Words and drawings are made by many small functions; they ask here instead of handing one more argument to each other.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Literal

Language = Literal["ko", "en"]
LANGUAGES: tuple[Language, ...] = ("ko", "en")
_language: ContextVar[Language | None] = ContextVar("language of the paper", default=None)


@contextmanager
def paper(language: Language) -> Iterator[None]:
    """What is worded and drawn inside is for paper, in this language alone."""
    token = _language.set(language)
    try:
        yield
    finally:
        _language.reset(token)


def on_paper() -> bool:
    """Whether the page is for paper: nothing moves there, and nothing can be chosen.

    >>> on_paper()
    False
    """
    return _language.get() is not None


def chosen(korean: object, english: object) -> object | None:
    """That of the two which the paper shows; None where the page shows both.

    >>> with paper("en"): chosen("폐", "lung")
    'lung'
    """
    language = _language.get()
    return None if language is None else (korean, english)[LANGUAGES.index(language)]
