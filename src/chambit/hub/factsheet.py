"""What a set is, for readers who were not there when it was made: from its dossier, its table and what was stated.

The fields are the six of the reference model that the dossier follows, each with what was stated and its key numbers. A
number comes with interval, size and verdict or not at all. Names of people and places of documents stay in the review:
of such statements only that they were made is told.
"""

import re
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, NamedTuple

from pydantic import Field as Given

from chambit.core.evidence import Evidence, Frozen, Interval, Verdict
from chambit.hub import desk, imagetable
from chambit.hub.catalogue import View
from chambit.hub.hub import Hub
from chambit.hub.imagetable import Images
from chambit.report import planted, translated, wording
from chambit.report.dossier import Bundle

PUBLIC = (
    "purpose.text", "purpose.prohibited_uses", "purpose.recipients", "source.irb", "source.drb", "source.licence",
    "generation.model_card", "generation.rationale", "utility.margin", "utility.reader_study", "safety.uncovered",
)  # fmt: skip
"""Statements whose words are told; the others may name people or say where documents lie."""
LICENCE = "purpose.licence"
ELSEWHERE = ("purpose.tier", LICENCE)
"""Statements with a place of their own on the sheet; the tier is the board's, not the one that was wished for."""
KEY = {5: 3, 6: 3}
"""How many numbers of an indicator are told, the most telling first; of the others one."""
ARMS = ("real", "synthetic", "mixed", "pretrained", "gaussian")
"""What a classifier was trained on, as far as it is told; copies of patients are not."""
NOTICE = {
    "ko": "AI로 생성한 합성영상이며 진단에 쓸 수 없습니다.",
    "en": "AI-generated synthetic images, not for diagnosis.",
}
_HANGUL = re.compile("[가-힣]")


class Both(Frozen):
    """The same words in Korean and English."""

    ko: str
    en: str


class Number(Frozen):
    """One number of the dossier: as a number, and in words.

    Attributes:
        key: by which the policy calls it.
        name: what it is.
        value: None where it was not measured or its control failed.
        interval: None where the value is a count, or there is no value.
        n: the sizes behind it.
        verdict: the outcome.
        printed: value in words.
        between: interval in words.
        sizes: `n` in words.
        says: one sentence.
    """

    key: str
    name: Both
    value: float | None
    interval: Interval | None
    n: dict[str, int]
    verdict: Verdict
    printed: Both
    between: Both
    sizes: Both
    says: Both


class Statement(Frozen):
    """What a person stated: its name and the words; '' where none were given, None where they are not for everybody."""

    name: Both
    text: Both | None


class Field(Frozen):
    """One of the six fields: what it asks, what was stated, and its key numbers."""

    id: int
    name: Both
    question: Both
    stated: tuple[Statement, ...]
    numbers: tuple[Number, ...]


class Arm(Frozen):
    """AUROC on real test patients of a classifier by what it was trained on, with the ends of its 95 % interval."""

    key: str
    name: Both
    auroc: float
    low: float
    high: float


class Card(Frozen):
    """A set in a line of the catalogue.

    Attributes:
        id: by which addresses call it.
        title: of the study.
        state: where it stands in the process.
        tier: the board's; '' where nothing is decided, so that it is described and not shown.
        verdict: of the examination.
        images: how many there are.
        labels: images of each label.
        phantom: whether its originals are drawn phantoms.
        produced: day of the examination, ISO.
        purpose: what it is for.
        sample: ids of a few images that this account may look at.
        digest: SHA-256 of the set.
    """

    id: str
    title: Both
    state: str
    tier: str
    verdict: Verdict
    images: int
    labels: dict[str, int]
    phantom: bool
    produced: str
    purpose: Both
    sample: tuple[str, ...]
    digest: str = Given(pattern="^[0-9a-f]{64}$")


class Sheet(Card):
    """Everything that is told of one set.

    Attributes:
        shown: which images this account may look at.
        registered: whether the files are those that were registered.
        downloadable: whether this hub hands out files; it does not.
        notice: what every page says.
        until: last day of the approval, ISO, or ''.
        conditions: which the approval has.
        width: pixels of the first image, as are the next three; None where there is no image.
        height: as width.
        bits: of a channel.
        colour: whether it has three channels.
        modality: kind of images where it is known, else ''.
        licence: of the set, as a steward stated it; '' where nobody did.
        registered_study: digest of the study file.
        policy: name and version of the policy that judged.
        attempt: which attempt of the study it is.
        source: what the originals are.
        generator: what made the images, '' where it is not known.
        series: films or volumes the images belong to, 0 where each stands for itself.
        fields: the six.
        arms: AUROC by what a classifier was trained on.
        margin: how much AUROC may be lost by the policy, None where it was not measured.
        not_measured: names of evidence that was asked for and not measured.
        unusable: names of evidence whose control failed.
        not_covered: kinds of copy the search may miss.
    """

    shown: imagetable.Reach
    registered: bool
    downloadable: Literal[False] = False
    notice: Both
    until: str
    conditions: tuple[str, ...]
    width: int | None
    height: int | None
    bits: int | None
    colour: bool | None
    modality: str
    licence: str
    registered_study: str
    policy: str
    attempt: int
    source: Both
    generator: str
    series: int
    fields: tuple[Field, ...]
    arms: tuple[Arm, ...]
    margin: float | None
    not_measured: tuple[Both, ...]
    unusable: tuple[Both, ...]
    not_covered: tuple[Both, ...]


class _Facts(NamedTuple):
    """What the files of a set say, whoever asks."""

    title: Both
    verdict: Verdict
    images: int
    labels: dict[str, int]
    phantom: bool
    produced: str
    purpose: Both
    words: str


def card(hub: Hub, view: View) -> Card:
    """A set in a line, with the verdict as people's findings have left it.

    Raises:
        OSError: when its files cannot be read.
        ValueError: when its dossier is of another version.
    """
    return Card(**_line(hub, view))


def matches(view: View, words: str) -> bool:
    """Whether all these words stand in title, purpose, labels, source or name of a set, whatever their case."""
    about = f"{view.study.id} {_facts(*_stamped(view.study.folder)).words}".casefold()
    return all(word in about for word in words.casefold().split())


def sheet(hub: Hub, view: View) -> Sheet:
    """Everything about one set; raises as `card`."""
    study = view.study
    bundle = desk.bundle_of(hub, study, desk.experts_of(hub, study, study.candidate))
    attached = bundle.attached
    rows = {one.key: one for one in bundle.evidence}
    loss, copies = rows.get("downstream.loss"), rows.get("copies.flagged")
    seen = imagetable.form(Images(study.folder, "all"))
    held = imagetable.table(study.folder)
    margin = loss.details.get("margin") if loss and wording.measured(loss) else None
    found: dict[str, Any] = copies.details if copies else {}
    return Sheet(
        **_line(hub, view), shown=view.reach, registered=view.same, notice=Both(**NOTICE), until=view.grant.until,
        conditions=view.grant.conditions, width=seen.width if seen else None, height=seen.height if seen else None,
        bits=seen.bits if seen else None, colour=seen.colour if seen else None, modality=_modality(bundle, held.values),
        licence=attached.get(LICENCE, ""), registered_study=bundle.study_digest.removeprefix("sha256:"),
        policy=f"{bundle.policy.get('name', '')} {bundle.policy.get('version', '')}".strip(), attempt=bundle.attempt,
        source=_told(bundle, bundle.facts.get("source", "")), generator=bundle.facts.get("generator", ""),
        series=held.series, fields=tuple(_field(entry, rows, attached) for entry in wording.scheme()["indicators"]),
        arms=_arms(loss), margin=margin if isinstance(margin, float) else None,
        not_measured=_named(rows, Verdict.NOT_RUN), unusable=_named(rows, Verdict.INVALID),
        not_covered=tuple(
            _both(name) for name, _ in planted.uncovered(found.get("families", []), found.get("not_covered", []))
        ),
    )  # fmt: skip


def sided(text: str) -> Both:
    """Words that stand in both languages with a stroke between them, apart; else the same for both.

    >>> sided("흉부 예행연습 / A rehearsal")
    Both(ko='흉부 예행연습', en='A rehearsal')
    >>> sided("on / off").ko
    'on / off'
    """
    korean, stroke, english = text.partition(" / ")
    if stroke and _HANGUL.search(korean) and not _HANGUL.search(english):
        return Both(ko=korean, en=english)
    return Both(ko=text, en=text)


def _line(hub: Hub, view: View) -> dict[str, Any]:
    study, facts = view.study, _facts(*_stamped(view.study.folder))
    verdict = desk.verdict_of(hub, study, facts.verdict)
    return {
        "id": study.id, "title": facts.title, "state": study.state, "tier": view.grant.tier, "verdict": verdict,
        "images": facts.images, "labels": facts.labels, "phantom": facts.phantom, "produced": facts.produced,
        "purpose": facts.purpose, "sample": tuple(imagetable.strip(view.images)), "digest": study.candidate,
    }  # fmt: skip


def _stamped(folder: Path) -> tuple[Path, int, int]:
    table = folder / "candidate" / imagetable.TABLE
    return folder, (folder / "dossier.json").stat().st_mtime_ns, table.stat().st_mtime_ns if table.is_file() else 0


@lru_cache(maxsize=512)
def _facts(folder: Path, _dossier: int, _table: int) -> _Facts:
    bundle, held = desk.dossier_of(folder), imagetable.table(folder)
    told = {name: count for name, count in bundle.counts.get("synthetic", {}).items() if name != "subjects"}
    images = len(held.rows) or told.get("images", 0)
    labels = held.counts or {name: count for name, count in told.items() if name != "images"}
    purpose = bundle.attached.get("purpose.text", "")
    source = bundle.facts.get("source", "")
    words = [bundle.title, purpose, *labels, source, translated.korean(source), bundle.facts.get("generator", "")]
    return _Facts(
        sided(bundle.title), bundle.verdict, images, labels, bundle.phantom, bundle.produced, sided(purpose),
        " ".join(words),
    )  # fmt: skip


def _field(entry: Mapping[str, Any], rows: Mapping[str, Evidence], attached: Mapping[str, str]) -> Field:
    here = [rows[key] for key in entry["evidence"] if key in rows]
    asked = [item for item in entry["attach"] if item["id"] not in ELSEWHERE]
    return Field(
        id=entry["id"], name=_both(wording.text(entry["name"])), question=_both(wording.text(entry["question"])),
        stated=tuple(_statement(item, attached.get(item["id"], "")) for item in asked),
        numbers=tuple(_number(one) for one in here[: KEY.get(entry["id"], 1)]),
    )  # fmt: skip


def _statement(item: Mapping[str, Any], text: str) -> Statement:
    told = None if text and item["id"] not in PUBLIC else sided(text)
    return Statement(name=_both(wording.text(item)), text=told)


def _number(one: Evidence) -> Number:
    has, form = wording.measured(one), wording.form_of(one)
    return Number(
        key=one.key, name=_both(wording.name_of(one.key)), value=one.value if has else None,
        interval=one.interval if has else None, n=one.n, verdict=one.verdict, printed=_both(wording.value_text(one)),
        between=_both(wording.interval_text(one.interval, form, one.direction)) if has else Both(ko="", en=""),
        sizes=_both(wording.sizes_text(one.n)), says=_both(wording.sentence(one)),
    )  # fmt: skip


def _arms(loss: Evidence | None) -> tuple[Arm, ...]:
    if loss is None or not wording.measured(loss):
        return ()
    arms: Any = loss.details.get("arms", {})
    return tuple(
        Arm(key=key, name=_both(wording.named("arms", key)), auroc=one["auroc"], low=one["low"], high=one["high"])
        for key in ARMS
        if (one := arms.get(key)) is not None
    )


def _named(rows: Mapping[str, Evidence], verdict: Verdict) -> tuple[Both, ...]:
    return tuple(_both(wording.name_of(key)) for key, one in rows.items() if one.verdict is verdict)


def _modality(bundle: Bundle, values: Mapping[str, tuple[str, ...]]) -> str:
    return bundle.facts.get("modality") or ", ".join(values.get("modality", ()))


def _told(bundle: Bundle, sentence: str) -> Both:
    return Both(ko=bundle.korean.get(sentence) or translated.korean(sentence), en=sentence)


def _both(words: wording.Text) -> Both:
    return Both(ko=words.ko, en=words.en)
