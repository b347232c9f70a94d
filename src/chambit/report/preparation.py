"""The page of a preparation: what was cleaned, what was set aside and why, what would have been missed.

A pure view of evidence that was judged before. It shows no name of an original, but pictures of real patients without
their identifiers: it is for the closed network.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import Field

from chambit.core.evidence import Evidence, Frozen, Verdict
from chambit.report import dossier, wording

REASONS_SHOWN = 40
SCRIPTS = {
    "latin": {"ko": "로마자 이름", "en": "Latin names"},
    "hangul": {"ko": "한글 이름", "en": "Hangul names"},
    "date": {"ko": "날짜", "en": "Dates"},
    "resident number": {"ko": "주민등록번호", "en": "Resident numbers"},
}
DID = {
    "removed": {"ko": "지움", "en": "removed"},
    "emptied": {"ko": "비움", "en": "emptied"},
    "replaced": {"ko": "가명으로 바꿈", "en": "replaced by a pseudonym"},
    "shifted": {"ko": "날짜를 옮김", "en": "dates shifted"},
    "cleaned": {"ko": "정제함", "en": "cleaned"},
    "kept": {"ko": "그대로 둠", "en": "kept"},
}


COLUMNS = {
    "column": {"ko": "하위집단", "en": "subgroup"},
    "group": {"ko": "값", "en": "value"},
    "label": {"ko": "라벨", "en": "label"},
    "images": {"ko": "영상", "en": "images"},
    "subjects": {"ko": "환자", "en": "subjects"},
}


class Bundle(Frozen):
    """All the page shows.

    Attributes:
        verdict: the outcome. because: keys of the evidence that decided.
        evidence: every piece of evidence.
        counts: files found, cleaned, set aside, removed as outliers, released, beside.
        aside: reasons for which files were set aside: reason, how many, remedy, one of them by a masked name.
        did: how many fields of headers were removed, replaced and so on.
        dropped: columns of the labels file that did not go along, and why.
        sheets: contact sheets as PNG.
        digests: of originals, of what was released, of the policy; the key's fingerprint.
        version: version of Chambit.
        korean: Korean for the policy's conditions, by the English sentence.
    """

    verdict: Verdict
    because: tuple[str, ...]
    evidence: tuple[Evidence, ...]
    counts: dict[str, int]
    aside: tuple[tuple[str, int, str, str], ...] = ()
    did: dict[str, int] = Field(default_factory=dict)
    dropped: dict[str, str] = Field(default_factory=dict)
    sheets: tuple[bytes, ...] = ()
    digests: dict[str, str] = Field(default_factory=dict)
    version: str = ""
    korean: dict[str, str] = Field(default_factory=dict)


def render(bundle: Bundle) -> str:
    """The page as one HTML file that loads nothing."""
    rows = [dossier.worded(item) for item in bundle.evidence]
    by_key = {row.evidence.key: row for row in rows}
    words = wording.words()
    return dossier.environment().get_template("preparation.html.j2").render(
        bundle=bundle,
        rows=rows,
        deciding=[by_key[key] for key in bundle.because if key in by_key],
        verdicts=words["verdicts"],
        recall=_recall(by_key["burned.recall"].evidence) if "burned.recall" in by_key else {},
        cells=_details(by_key, "quality.small_cells").get("cells", []),
        checks=_details(by_key, "quality.removed").get("checks", {}),
        waiting=_details(by_key, "quality.removed").get("for a person", {}),
        did=DID,
        columns=COLUMNS,
        scripts=SCRIPTS,
        reasons_shown=REASONS_SHOWN,
    )  # fmt: skip


def _details(rows: Mapping[str, dossier.Row], key: str) -> Mapping[str, Any]:
    return rows[key].evidence.details if key in rows else {}


def _recall(evidence: Evidence) -> dict[str, Any]:
    """The table of planted text: a line for each script and height, a column for each contrast."""
    cells: Sequence[Mapping[str, Any]] = evidence.details.get("cells", [])  # type: ignore[assignment]
    contrasts = sorted({cell["contrast"] for cell in cells})
    lines = sorted({(cell["script"], cell["height"]) for cell in cells}, key=lambda line: (str(line[0]), line[1]))
    at = {(cell["script"], cell["height"], cell["contrast"]): cell for cell in cells}
    return {
        "contrasts": contrasts,
        "lines": [(script, height, [at.get((script, height, c)) for c in contrasts]) for script, height in lines],
        "lost": evidence.details.get("clean area lost"),
        "images": evidence.details.get("images looked at"),
    }
