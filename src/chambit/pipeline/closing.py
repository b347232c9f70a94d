"""From findings to the files a board gets: dossier.html and its twin in JSON, evidence, verdict, images.parquet."""

import datetime
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from chambit import __version__
from chambit.core import bound, offline
from chambit.core.evidence import Evidence, Finding, Verdict
from chambit.core.steps import Workshop
from chambit.core.store import write_atomically
from chambit.images.imageset import ImageSet
from chambit.pipeline import examining, gallery, showing
from chambit.pipeline.plan import Made
from chambit.report import dossier
from chambit.review import verdict
from chambit.review.policy import Policy

CANDIDATE = "candidate"


class Facts(NamedTuple):
    """What the closing needs to know beside the steps' outputs."""

    kind: str
    title: str
    phantom: bool
    study_digest: str
    attempt: int
    attempts: int
    produced: str
    attached: Mapping[str, str]
    facts: Mapping[str, str]
    records: Sequence[Finding]
    refused: Sequence[Mapping[str, str]]
    proof: Sequence[str]
    counts: Mapping[str, Mapping[str, int]]
    korean: Mapping[str, str]


class Closed(NamedTuple):
    """What a person is told at the end."""

    verdict: Verdict
    because: tuple[str, ...]
    dossier: Path
    evidence: tuple[Evidence, ...]


def close(
    workshop: Workshop,
    out: Path,
    made: Made,
    sets: Mapping[str, ImageSet],
    policy: Policy,
    facts: Facts,
    whole: Mapping[str, ImageSet] | None = None,
) -> Closed:
    """Judge every finding and write the files; each is written whole or not at all.

    Args:
        workshop: where the run is.
        out: the output folder.
        made: outputs of all steps.
        sets: by role, as the measures saw them.
        policy: what judges.
        facts: what is known beside the measures.
        whole: by role, at full size and in colour, where that is something else.
    """
    whole = whole or sets
    found = [*facts.records, *examining.findings(workshop.store, made)]
    evidence = [verdict.judge(finding, policy) for finding in found]
    evidence += verdict.missing(evidence, policy)
    overall = verdict.overall(evidence)
    _write(out / "evidence.json", _json([_exported(item) for item in evidence]))
    summary: dict[str, Any] = {
        "verdict": overall.verdict,
        "because": overall.because,
        "study": facts.study_digest,
        "policy": {"name": policy.name, "version": policy.version, "digest": policy.digest},
        "chambit": __version__,
        "attempt": facts.attempt,
        "attempts": facts.attempts,
    }
    if (out / CANDIDATE).is_dir():  # an audit examines a set that lies elsewhere
        summary["candidate"] = bound.digest_of(out / CANDIDATE)
    _write(out / "verdict.json", _json(summary))
    buffer = io.BytesIO()
    _table(workshop, made, whole["synthetic"]).write_parquet(buffer, compression="zstd", statistics=False)
    _write(out / "images.parquet", buffer.getvalue())
    bundle = _bundle(workshop, made, sets, whole, policy, facts, evidence, overall)
    _write(out / "dossier.html", dossier.render(bundle).encode())
    _write(out / "dossier.json", dossier.twin(bundle))
    workshop.ledger.add_event("evidence.closed", {"verdict": overall.verdict, "study": facts.study_digest})
    return Closed(overall.verdict, overall.because, out / "dossier.html", tuple(evidence))


def connections(steps: int) -> Finding:
    """How many connections to other machines this process and its workers tried; refused ones count."""
    return Finding(
        measure="process@1",
        quantity="connections",
        value=float(offline.attempts()) if offline.guarded() else None,
        unit="connections",
        null=0.0,
        direction="lower",
        n={"steps": steps},
        reason="" if offline.guarded() else "The network guard was not in force in this process.",
    )


def counts(sets: Mapping[str, ImageSet]) -> dict[str, dict[str, int]]:
    """Subjects, images and images per label of each set."""
    return {
        role: {"subjects": len(np.unique(images.subjects)), "images": len(images)}
        | {str(label): int((images.labels == label).sum()) for label in np.unique(images.labels) if label}
        for role, images in sets.items()
        if len(images)
    }


def accounted(found: int, accepted: int, refused: int, intensities: Mapping[str, Any]) -> Finding:
    """Share of files that ended as accepted or refused; `intensities`: what was done to them, by source."""
    return Finding(
        measure="intake@1",
        quantity="accounted",
        value=(accepted + refused) / found if found else None,
        n={"files": found, "accepted": accepted, "refused": refused},
        null=1.0,
        direction="higher",
        reason="" if found else "No file was found.",
        details={"intensities": dict(intensities)},
    )


def overlap(proof: Mapping[str, Any]) -> Finding:
    """Subjects and identical images that two parts share."""
    shared = int(proof["shared_subjects"]) + int(proof["shared_pixels"])
    unknown = bool(proof.get("unknown"))
    return Finding(
        measure="split@1",
        quantity="overlap",
        value=float(shared),
        unit="subjects or images",
        null=0.0,
        direction="lower",
        n={"subjects": sum(part["subjects"] for part in proof["splits"].values())},
        reason="Some files name no subject; each such file was counted as a subject of its own." if unknown else "",
    )


def stated(measure: str, fields: Mapping[str, str], needed: Sequence[str]) -> Finding:
    """Share of needed statements that a person has written down."""
    given = [name for name in needed if fields.get(name)]
    return Finding(
        measure=f"{measure}@1",
        quantity="stated",
        value=len(given) / len(needed),
        n={"stated": len(given), "needed": len(needed)},
        null=1.0,
        direction="higher",
        details={"open": [name for name in needed if name not in given]},
    )


def marks(reports: Sequence[Sequence[Mapping[str, Any]]], images: int) -> Finding:
    """Visible marks left after refinement; the last report counts, earlier ones are kept as details."""
    return Finding(
        measure="refine@1",
        quantity="marks",
        value=float(len(reports[-1])),
        unit="marks",
        null=0.0,
        direction="lower",
        n={"images": images},
        details={"found": [list(map(dict, report)) for report in reports]},
    )


def decided(steps: int | None) -> Finding:
    """How many refinement steps ran, 0 where the study waived them (`refine: []`); None: it says nothing of them."""
    said = "recipe.refine is not in the study: list its operations there, or waive refinement with `refine: []`."
    return Finding(
        measure="refine@1",
        quantity="decided",
        value=None if steps is None else float(steps),
        unit="steps",
        n={} if steps is None else {"refinement steps": steps},
        direction="neither",
        reason=said if steps is None else "",
        details={"waived": steps == 0},
    )


def _exported(item: Evidence) -> dict[str, Any]:
    """Evidence as it stands in evidence.json: measure and version apart."""
    name, _, version = item.measure.partition("@")
    return {"measure": name, "version": version} | item.model_dump(mode="json", exclude={"measure"})


def _json(value: Any) -> bytes:
    return (json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode()


def _write(path: Path, data: bytes) -> None:
    if not path.exists() or path.read_bytes() != data:
        write_atomically(path, data)


def _table(workshop: Workshop, made: Made, synthetic: ImageSet) -> pl.DataFrame:
    """One row per synthetic image with all its per-image scores."""
    scores = [
        workshop.store.get_table(outputs["scores"])
        for name, outputs in made.items()
        if name.startswith("measure ") and "scores" in outputs
    ]
    # no donors: they are names of patients
    own = synthetic.table.drop("block", "row", "subject", "donors", strict=False)
    table: pl.DataFrame = pl.concat([own, *scores], how="horizontal")
    return table


def _bundle(
    workshop: Workshop,
    made: Made,
    sets: Mapping[str, ImageSet],
    whole: Mapping[str, ImageSet],
    policy: Policy,
    facts: Facts,
    evidence: Sequence[Evidence],
    overall: verdict.Overall,
) -> dossier.Bundle:
    seconds = workshop.ledger.seconds()
    steps = tuple(
        {
            "name": name,
            "digest": _one(outputs),
            "outputs": ", ".join(sorted(outputs)),
            "seconds": f"{seconds.get(name, 0):.1f}",
        }
        for name, outputs in made.items()
    )
    return dossier.Bundle(
        title=facts.title,
        kind="audit" if facts.kind == "audit" else "run",
        produced=facts.produced,
        version=__version__,
        attempt=facts.attempt,
        attempts=facts.attempts,
        phantom=facts.phantom,
        study_digest=facts.study_digest,
        policy={"name": policy.name, "version": str(policy.version), "digest": policy.digest},
        verdict=overall.verdict,
        because=overall.because,
        evidence=tuple(evidence),
        attached=dict(facts.attached),
        counts={role: dict(count) for role, count in facts.counts.items()},
        refused=tuple(dict(row) for row in facts.refused),
        proof=tuple(facts.proof),
        steps=steps,
        facts=dict(facts.facts),
        pictures=gallery.sheets(whole) | gallery.heats(examining.heats(workshop.store, made), sets),
        pairs=gallery.pairs(examining.pairs(workshop.store, made), sets),
        making=showing.making(workshop, made, whole),
        korean={rule.condition["en"]: rule.condition["ko"] for rule in policy.rules.values() if rule.condition}
        | dict(facts.korean),
    )


def _one(outputs: Mapping[str, str]) -> str:
    from chambit.core import digest

    return digest.of_json(dict(outputs))


def today() -> str:
    """The date, ISO."""
    return datetime.date.today().isoformat()
