"""Pages from templates: those of the hub and those of the dossier, with the words of the language that was chosen."""

import datetime
import re
from functools import cache
from pathlib import Path
from typing import Any

from fastapi import Request
from fastapi.responses import HTMLResponse
from jinja2 import ChoiceLoader, Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from chambit import __version__
from chambit.hub import factsheet
from chambit.report import dossier, wording
from chambit.web import asking, words

TEMPLATES = Path(__file__).parent / "templates"
_KEY = re.compile(r"\b[a-z_]+\.[a-z_]+\b")
"""A key of evidence as it stands in a sentence."""
DOSSIER = Path(dossier.__file__).parent / "templates"


def page(request: Request, template: str, status: int = 200, **given: Any) -> HTMLResponse:
    """One screen; `given` is what its template shows."""
    language = asking.language_of(request)
    side = asking.LANGUAGES.index(language)

    def t(korean: str, english: str) -> str:
        """Plain words in the chosen language, for attributes and titles."""
        return (korean, english)[side]

    view = {
        "request": request,
        "hub": asking.hub_of(request),
        "session": asking.session_of(request),
        "language": language,
        "t": t,
        "word": lambda group, key: words.word(group, key, language),
        "verdicts": wording.words()["verdicts"],
        "version": __version__,
    }
    return HTMLResponse(environment().get_template(template).render(view | given), status)


@cache
def environment() -> Environment:
    """Templates of the hub first, then the dossier's; `say` and all it has are the dossier's own."""
    made = Environment(
        loader=ChoiceLoader([FileSystemLoader(TEMPLATES), FileSystemLoader(DOSSIER)]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    shared = dossier.environment()
    made.globals.update(shared.globals, worded=dossier.worded, sided=factsheet.sided)
    made.filters.update(shared.filters)
    made.filters.update(day=_day, moment=_moment, evidence_named=_evidence_named)
    return made


@cache
def stylesheet() -> str:
    """The dossier's style, as a file that pages link."""
    shared = dossier.environment()
    parts = [shared.get_template(name).render(stamp="") for name in ("style.html.j2", "style_making.html.j2")]
    return "\n".join(part.replace("<style>", "").replace("</style>", "") for part in parts)


def _evidence_named(text: str, side: int = 0) -> str:
    """A sentence with evidence called by its names instead of its keys; `side` 0 is Korean, 1 English.

    >>> _evidence_named("Nobody has taken up: frechet.distance, made.up.", 1)
    'Nobody has taken up: Fréchet distance, made.up.'
    """
    known = wording.words()["evidence"]
    return _KEY.sub(lambda key: wording.name_of(key[0])[side] if key[0] in known else key[0], text)


def _day(seconds: float) -> str:
    """The date of a time, here.

    >>> _day(0.0)[:2]
    '19'
    """
    return datetime.datetime.fromtimestamp(seconds).astimezone().strftime("%Y-%m-%d")


def _moment(seconds: float) -> Markup:
    """Date and time, here, in a form that machines read too."""
    at = datetime.datetime.fromtimestamp(seconds).astimezone()
    return Markup('<time datetime="{}">{}</time>').format(at.isoformat(), at.strftime("%Y-%m-%d %H:%M"))
