"""The dossier: everything a review board needs, on one page that opens from a file without a network.

A pure view. It computes no statistic and gives no verdict: it orders, words and draws what a `Bundle` holds.
The same bundle gives the same bytes.
"""

import re
from base64 import b64encode
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from pydantic import Field

from chambit.core.evidence import Evidence, Frozen, Verdict
from chambit.report import figures, medium, planted, plots, stages, style, translated, utility, viewer, wording
from chambit.report.curve import label_curve, memorisation_curve
from chambit.report.making import Making
from chambit.report.wording import Text

REFUSED_SHOWN = 50
RISK = (4, 6)
"""The indicators about risk to people: of the process, of the set."""
_WORST_FIRST = tuple(reversed(Verdict))


class Pair(Frozen):
    """One of the closest pairs of a synthetic and a real image.

    Attributes:
        synthetic_id: name of the synthetic image.
        real_id: name of the real image.
        score: similarity by the copy search.
        p: conformal p-value of the synthetic image.
        flagged: whether it is above the threshold.
        picture: PNG of real, synthetic, real laid under the synthetic one, and difference, side by side.
        detector: which way of comparing found it, or ''.
        turn: which turn of the synthetic image fits the real one, an index in `descriptors.TURNS`; 8 more where it was
            inverted.
    """

    synthetic_id: str
    real_id: str
    score: float
    p: float
    flagged: bool
    picture: bytes
    detector: str = ""
    turn: int = 0


class Bundle(Frozen):
    """All a dossier shows.

    Attributes:
        title: title of the study.
        kind: `run` when this tool made the images, `audit` when somebody else did.
        produced: date, ISO.
        version: version of Chambit.
        attempt: which attempt of this study it is.
        attempts: how many attempts there have been.
        phantom: whether the originals are phantoms and no patients.
        study_digest: the pre-registration.
        policy: name, version and digest of the policy.
        verdict: the outcome.
        because: keys of the evidence that decided.
        evidence: every piece of evidence.
        attached: what the study file states, by attachment id of the indicators.
        counts: for each split: subjects, images and each label.
        refused: files that were not accepted: file, reason, remedy.
        proof: sentences of the split proof.
        steps: name, digest, outputs and seconds of each step.
        facts: key facts, free.
        pictures: contact sheets as PNG: real, synthetic, perhaps others.
        pairs: the closest pairs, closest first.
        korean: Korean for English sentences that came with the evidence, looked up by the whole sentence.
        making: stages, films, volumes and counts of the making, where this tool made the images.
    """

    title: str
    kind: Literal["run", "audit"]
    produced: str
    version: str
    attempt: int
    attempts: int
    phantom: bool
    study_digest: str
    policy: dict[str, str]
    verdict: Verdict
    because: tuple[str, ...]
    evidence: tuple[Evidence, ...]
    attached: dict[str, str] = Field(default_factory=dict)
    counts: dict[str, dict[str, int]] = Field(default_factory=dict)
    refused: tuple[dict[str, str], ...] = ()
    proof: tuple[str, ...] = ()
    steps: tuple[dict[str, str], ...] = ()
    facts: dict[str, str] = Field(default_factory=dict)
    pictures: dict[str, bytes] = Field(default_factory=dict)
    pairs: tuple[Pair, ...] = ()
    korean: dict[str, str] = Field(default_factory=dict)
    making: Making | None = None


@dataclass(frozen=True)
class Row:
    """One piece of evidence, worded."""

    evidence: Evidence
    name: Text
    sentence: Text
    reads: Text
    value: Text
    interval: Text
    sizes: Text
    null: str
    plot: Markup
    note: Text

    @property
    def verdict(self) -> Verdict:
        """The outcome the evidence came with."""
        return self.evidence.verdict


@dataclass(frozen=True)
class Attachment:
    """What a person must add, and what the study file states already ('' when it is still to come)."""

    name: Text
    stated: str


@dataclass(frozen=True)
class Card:
    """One indicator: its evidence as handed in, the keys without any, and what a person must attach."""

    id: int
    name: Text
    question: Text
    rows: tuple[Row, ...]
    absent: tuple[Text, ...]
    attachments: tuple[Attachment, ...]

    @property
    def head(self) -> Row | None:
        """The most telling evidence, whose number stands on the card."""
        return self.rows[0] if self.rows else None

    @property
    def marks(self) -> list[tuple[Verdict, int]]:
        """How often each outcome occurs, worst first; evidence that is absent counts as not run."""
        seen = [row.verdict for row in self.rows] + [Verdict.NOT_RUN] * len(self.absent)
        return [(verdict, seen.count(verdict)) for verdict in _WORST_FIRST if verdict in seen]


def render(bundle: Bundle) -> str:
    """The dossier as one HTML page."""
    return environment().get_template("page.html.j2").render(view(bundle))


def twin(bundle: Bundle) -> bytes:
    """The same content as JSON, pictures as base64; `untwinned` reads it back."""
    return bundle.model_dump_json(indent=1).encode() + b"\n"


def untwinned(data: bytes) -> Bundle:
    """What `twin` wrote.

    Raises:
        pydantic.ValidationError: when it is of another version, or no dossier.
    """
    return Bundle.model_validate_json(data)


@cache
def environment() -> Environment:
    """Templates, with the words and drawings that every page uses."""
    made = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.globals.update(
        say=_say,
        bi=_bi,
        on_paper=medium.on_paper,
        inked=style.inked,
        emblem=style.emblem,
        colours=style.COLOURS,
        band_hatch=plots.band_hatch,
        named=wording.named,
        name_of=wording.name_of,
        picture=_picture,
        number=wording.number,
        recall_bar=planted.recall_bar,
        laid=_laid,
        printed=utility.printed,
        span=utility.span,
        bound=utility.bound,
        extractor=utility.extractor,
        stages=stages,
        window=viewer.window,
        defined=viewer.defined,
        in_both=figures.in_both,
    )
    made.filters["thousands"] = lambda value: f"{value:,}"
    return made


def _say(korean: object, english: object) -> Markup:
    """Words in both languages, of which the page shows one; on paper those of its language."""
    if (only := medium.chosen(korean, english)) is not None:
        return Markup("{}").format(only)
    return Markup('<span class="ko" lang="ko">{}</span><span class="en" lang="en">{}</span>').format(korean, english)


def _bi(value: Any) -> Markup:
    both = wording.text(value) if not isinstance(value, tuple) else value
    return Markup("{}").format(both[0]) if both[0] == both[1] else _say(*both)


def _laid(pair: Pair) -> Text:
    """What was done to the synthetic image of a pair before it fitted the real one, or two empty strings."""
    done = [wording.named("turns", str(pair.turn % 8))] if pair.turn % 8 else []
    done += [Text("흑백 반전", "inverted")] if pair.turn >= 8 else []
    return Text(*(", ".join(part[side] for part in done) for side in (0, 1)))


def _picture(png: bytes) -> Markup:
    return Markup("data:image/png;base64,{}").format(b64encode(png).decode("ascii"))


def view(bundle: Bundle) -> dict[str, Any]:
    """What the templates are given: rows, cards and drawings of a bundle, worded in both languages."""
    rows = [worded(evidence) for evidence in bundle.evidence]
    cards = [_card(entry, rows, bundle.attached) for entry in wording.scheme()["indicators"]]
    placed = {id(row) for card in cards for row in card.rows}
    by_key = {row.evidence.key: row for row in reversed(rows)}
    words = wording.words()

    def told(sentence: str) -> Markup:
        """A sentence that came with the data: in Korean too, where the bundle has it."""
        return _bi(Text(bundle.korean.get(sentence) or translated.korean(sentence), sentence))

    return {
        "bundle": bundle,
        "told": told,
        "rows": by_key,
        "all_rows": rows,
        "cards": cards,
        "others": [row for row in rows if id(row) not in placed],
        "deciding": [by_key.get(key, key) for key in bundle.because],
        "open_rows": _open_rows(bundle, rows),
        "verdicts": words["verdicts"],
        "limits": words["limits"],
        "glossary": words["glossary"],
        "absent_words": words["unknown"]["says"]["absent"],
        "scheme": wording.scheme(),
        "references": wording.references(),
        "labels": _labels(bundle.counts),
        "refused_shown": REFUSED_SHOWN,
        "stamp": _stamp(bundle),
        "shows_real": _shows_real(bundle),
        "kinds_of_stages": words["kinds_of_stages"],
        "claims": [(wording.text(entry["says"]), entry["keys"]) for entry in words["irreversible"]],
        "frameworks": _frameworks(_not_recorded(by_key)),
        "only_here": _only_here(_not_recorded(by_key)),
        "risk": RISK,
        "arm_notes": words["arm_notes"],
        "cited": {entry["id"]: entry for entry in wording.references()},
        "utility": utility.section({key: row.evidence for key, row in by_key.items()}, bundle.attached),
        **_drawings(bundle, by_key),
    }


def _shows_real(bundle: Bundle) -> bool:
    """Whether pictures of real patients are inside the page, so that the page itself must not leave."""
    filmed = bundle.making is not None and bundle.making.shows_real
    return not bundle.phantom and bool(bundle.pairs or filmed or {"real", "heat"} & set(bundle.pictures))


def _stamp(bundle: Bundle) -> Markup:
    """The foot of each printed page, in letters that are safe inside a CSS string."""
    digest = re.sub(r"[^0-9A-Za-z:._-]", "", f"{bundle.study_digest[:19]}")
    mark = " · PHANTOM" if bundle.phantom else " · CONTAINS ORIGINAL IMAGES" if _shows_real(bundle) else ""
    return Markup("· {}{}").format(digest, mark)


def worded(evidence: Evidence) -> Row:
    """One piece of evidence in words, with its drawing."""
    form = wording.form_of(evidence)
    shown = wording.measured(evidence)
    return Row(
        evidence=evidence,
        name=wording.name_of(evidence.key),
        sentence=wording.sentence(evidence),
        reads=wording.reads_of(evidence.key),
        value=wording.value_text(evidence),
        interval=wording.interval_text(evidence.interval, form, evidence.direction) if shown else Text("—", "—"),
        sizes=wording.sizes_text(evidence.n),
        null=wording.null_text(evidence),
        plot=figures.interval_plot(evidence),
        note=wording.named("notes", "few") if shown and utility.few(evidence.key, evidence.details) else Text("", ""),
    )


def _card(entry: Mapping[str, Any], rows: Sequence[Row], attached: Mapping[str, str]) -> Card:
    keys, only_some = entry["evidence"], entry.get("where_recorded", ())
    present = {row.evidence.key for row in rows}
    return Card(
        id=entry["id"],
        name=wording.text(entry["name"]),
        question=wording.text(entry["question"]),
        rows=tuple(row for key in keys for row in rows if row.evidence.key == key),
        absent=tuple(wording.name_of(key) for key in keys if key not in present and key not in only_some),
        attachments=tuple(Attachment(wording.text(item), attached.get(item["id"], "")) for item in entry["attach"]),
    )


def _open_rows(bundle: Bundle, rows: Sequence[Row]) -> list[Row]:
    """Evidence that is not met, deciding evidence first, then from worst; when all is met, what decided."""
    rank = {key: place for place, key in enumerate(bundle.because)}
    chosen = [row for row in rows if row.verdict is not Verdict.PASS] or [
        row for row in rows if row.evidence.key in rank
    ]
    return sorted(chosen, key=lambda row: (rank.get(row.evidence.key, len(rank)), _WORST_FIRST.index(row.verdict)))


def _frameworks(left_out: Collection[str]) -> dict[str, list[tuple[Text, list[str]]]]:
    """For each other framework about risk what it asks, in the order of the scheme, and the keys that answer."""
    found: dict[str, list[tuple[Text, list[str]]]] = {}
    for entry in wording.scheme()["indicators"]:
        for item in entry.get("maps", ()) if entry["id"] in RISK else ():
            keys = [key for key in item["evidence"] if key not in left_out]
            found.setdefault(item["framework"], []).append((wording.text(item["criterion"]), keys))
    return found


def _only_here(left_out: Collection[str]) -> list[str]:
    """Keys of the indicators about risk to people that answer to no other framework."""
    answered = {key for criteria in _frameworks(()).values() for _, keys in criteria for key in keys}
    risk = [entry for entry in wording.scheme()["indicators"] if entry["id"] in RISK]
    return [key for entry in risk for key in entry["evidence"] if key not in answered and key not in left_out]


def _not_recorded(present: Collection[str]) -> set[str]:
    """Keys of evidence that only some sets can have, and this one has not."""
    indicators = wording.scheme()["indicators"]
    return {key for entry in indicators for key in entry.get("where_recorded", ())} - set(present)


def _labels(counts: Mapping[str, Mapping[str, int]]) -> list[str]:
    """Every label of any split, in the order of first appearance."""
    return list(dict.fromkeys(name for row in counts.values() for name in row if name not in ("subjects", "images")))


def _drawings(bundle: Bundle, rows: Mapping[str, Row]) -> dict[str, Any]:
    loss, copies, membership = (
        rows[key].evidence if key in rows else None for key in ("downstream.loss", "copies.flagged", "membership.p")
    )
    memory = rows["memorisation.share"].evidence if "memorisation.share" in rows else None
    families: Any = copies.details.get("families", []) if copies else []
    not_covered: Any = copies.details.get("not_covered", []) if copies else []
    kinds = planted.by_kind(families)
    top: Any = membership.details.get("top", []) if membership else []
    arms: Any = loss.details.get("arms", {}) if loss and wording.measured(loss) else {}
    margin = loss.details.get("margin") if loss else None
    return {
        "kinds": kinds,
        "not_covered": planted.uncovered(families, not_covered),
        "ranks": membership.details.get("ranks", []) if membership else [],
        "forest": figures.forest(arms, margin if isinstance(margin, float) else None),
        "kinds_drawing": planted.kinds_drawing(kinds, "card"),
        "rank_strip": figures.rank_strip(top),
        "cohort_bar": figures.cohort_bar(bundle.counts),
        "memorisation": memory.details if memory and wording.measured(memory) else {},
        "memorisation_curve": memorisation_curve(memory.details, memory.null)
        if memory and wording.measured(memory)
        else "",
        "label_curve": label_curve(memory.details) if memory and wording.measured(memory) else "",
    }
