"""The dossier as a PDF for paper and archive: A4, one file for each language, laid out by WeasyPrint.

It has tags for readers that speak (PDF/UA-1), bookmarks, page numbers, the notice that the images are synthetic on
every page and in its metadata, and what it was made from as attachments. The same run gives the same bytes: nothing
in it follows from the clock. Nothing is loaded: neither a network nor a file can be reached from the page.

Limit: the bytes are the same for the same versions of the libraries.
"""

import datetime
import importlib.util
import json
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any

from pydantic import ValidationError

from chambit.core import digest
from chambit.core.errors import InputError, Problem
from chambit.report import dossier, medium, style, typeface
from chambit.report.medium import Language

EDITION = 1
"""Counts up when the same dossier would get another layout."""
ENCLOSED = ("evidence.json", "verdict.json", "dossier.json")
"""Files of a run that its PDF has as attachments."""
SYSTEM = "libpango-1.0-0 libpangoft2-1.0-0 libharfbuzz-subset0"
"""Debian's packages of the libraries that WeasyPrint calls."""
SOURCE = "http://cv.iptc.org/newscodes/digitalsourcetype/compositeWithTrainedAlgorithmicMedia"
"""IPTC's word for something in which pictures of a trained generator stand beside others."""
_MARK = (
    '<rdf:Description rdf:about="" xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/">'
    f"<Iptc4xmpExt:DigitalSourceType>{SOURCE}</Iptc4xmpExt:DigitalSourceType></rdf:Description>"
)
_OWN = "chambit:"
"""How the addresses of what the page brings along begin."""


def missing() -> Problem | None:
    """What is lacking on this machine to make a PDF, with its remedy; None when all is there."""
    if importlib.util.find_spec("weasyprint") is None:
        return Problem("PDF", "WeasyPrint is not installed", typeface.REMEDY)
    if reason := typeface.missing():
        return Problem("PDF", reason, typeface.REMEDY)
    try:
        importlib.import_module("weasyprint")
    except OSError as error:
        return Problem("PDF", f"a library that WeasyPrint needs is missing: {error}", f"apt-get install {SYSTEM}")
    return None


def of_run(
    folder: Path,
    language: Language,
    shown: dossier.Bundle | None = None,
    more: Mapping[str, bytes] = MappingProxyType({}),
) -> bytes:
    """The dossier of a finished run as a PDF file.

    Args:
        folder: of the run.
        language: of every word in it.
        shown: the run's dossier with what was added to it since; its own where there is nothing.
        more: further files to attach, by name.

    Raises:
        InputError: when a file of the run is missing, cannot be read or is of another run; see `render`.
    """
    lacking = [name for name in ENCLOSED if not (folder / name).is_file()]
    if lacking:
        remedy = "give the output folder of a run that this version has finished"
        raise InputError("This is no finished run.", [Problem(str(folder), f"{', '.join(lacking)} is missing", remedy)])
    files = {name: (folder / name).read_bytes() for name in ENCLOSED}
    try:
        bundle = dossier.untwinned(files["dossier.json"])
        summary: Mapping[str, Any] = json.loads(files["verdict.json"])
        values = [row["value"] for row in json.loads(files["evidence.json"])]
        same = summary["study"] == bundle.study_digest and summary["verdict"] == bundle.verdict
    except (ValidationError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            "This run cannot be read.", [Problem(str(folder), str(error), "run the study again")]
        ) from None
    if not same or values != [row.value for row in bundle.evidence]:
        problem = Problem(str(folder), "dossier.json, verdict.json and evidence.json differ", "run the study again")
        raise InputError("These files are not of one run.", [problem])
    if shown is not None:
        files["dossier.json"] = dossier.twin(shown)
    return render(shown or bundle, language, str(summary.get("candidate", "")), {**files, **more})


def render(
    bundle: dossier.Bundle, language: Language, candidate: str = "", enclosed: Mapping[str, bytes] | None = None
) -> bytes:
    """The dossier as a PDF file.

    Args:
        bundle: what it shows.
        language: of every word in it.
        candidate: digest of the release candidate the evidence speaks of, '' where none is bound.
        enclosed: files to attach, by name.

    Raises:
        InputError: when WeasyPrint, its libraries or the font are missing, or a character has no letter in any font.
    """
    if lacking := missing():
        raise InputError("A PDF cannot be made on this machine.", [lacking])
    import weasyprint
    from weasyprint.text.fonts import FontConfiguration

    files = dict(enclosed or {})
    page = html(bundle, language, candidate, tuple(files))
    fetch, fonts = _fetcher(page), FontConfiguration()
    faces = weasyprint.CSS(string=_faces(), font_config=fonts, url_fetcher=fetch, base_url=_OWN)
    day = datetime.datetime.fromisoformat(bundle.produced).replace(tzinfo=datetime.UTC)
    attached = [
        weasyprint.Attachment(
            string=data,
            name=name,
            description=name,
            created=day,
            modified=day,
            relationship="Source",
            url_fetcher=fetch,
        )
        for name, data in files.items()
    ]
    with _heard() as unknown:
        made: bytes = weasyprint.HTML(string=page, base_url=_OWN, url_fetcher=fetch).write_pdf(
            font_config=fonts, stylesheets=[faces], attachments=attached, finisher=_marked, pdf_variant="pdf/ua-1",
            pdf_identifier=_identifier(page, files),
        )  # fmt: skip
    if unknown:
        named = ", ".join(f"{letter} (U+{ord(letter):04X})" for letter in sorted(set(unknown)))
        problem = Problem("PDF", f"no font has {named}", "install a font with them, or write the study without them")
        raise InputError("The PDF would show empty boxes instead of some characters.", [problem])
    return made


def html(bundle: dossier.Bundle, language: Language, candidate: str = "", enclosed: tuple[str, ...] = ()) -> str:
    """The page as WeasyPrint is given it; see `render`."""
    template = dossier.environment().get_template("paper.html.j2")
    with medium.paper(language):
        return template.render(
            dossier.view(bundle), language=language, candidate=candidate, enclosed=enclosed, family=style.FAMILY
        )


def _faces() -> str:
    """The fonts as a style sheet that names them; `_fetcher` gives their bytes."""
    form = "@font-face{{font-family:'{}';font-weight:{};src:url({}font/{})}}"
    return "".join(form.format(style.FAMILY, weight, _OWN, weight) for weight in typeface.WEIGHTS)


def _fetcher(page: str) -> Any:
    """What answers for addresses in the page: pictures inside it and the fonts for its characters, and nothing else."""
    from weasyprint.urls import URLFetcher, URLFetcherResponse

    class Inside(URLFetcher):  # type: ignore[misc, unused-ignore]
        def fetch(self, url: str, headers: Any = None) -> Any:
            if url.startswith(f"{_OWN}font/"):
                return URLFetcherResponse(url, typeface.cut(page, int(url.rpartition("/")[2])))
            return super().fetch(url, headers)

    return Inside(allowed_protocols=["data"])


@contextmanager
def _heard() -> Iterator[list[str]]:
    """Characters that WeasyPrint had no letter for while it worked."""
    found: list[str] = []

    class Listening(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if ".notdef" in str(record.msg) and isinstance(record.args, tuple):
                found.append(str(record.args[0]))

    logger, handler = logging.getLogger("weasyprint"), Listening()
    logger.addHandler(handler)
    try:
        yield found
    finally:
        logger.removeHandler(handler)


def _marked(_: Any, pdf: Any) -> None:
    """Say in the metadata where the pictures are from, in the words of IPTC."""
    for made in pdf.objects:
        if getattr(made, "extra", {}).get("Subtype") == "/XML":
            made.stream = [part.replace(b"</rdf:RDF>", _MARK.encode() + b"</rdf:RDF>") for part in made.stream]


def _identifier(page: str, files: Mapping[str, bytes]) -> bytes:
    """What a reader of PDF calls the file: the same for the same content."""
    of_files = "".join(digest.of_bytes(data) for data in files.values())
    return digest.of_bytes(f"{EDITION}{of_files}{page}".encode()).encode()
