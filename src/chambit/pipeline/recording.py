"""What is known of a run beside the measures: the facts of the process, and the facts on the dossier's first page."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from chambit.core.evidence import Finding
from chambit.core.recipe import Recipe
from chambit.core.steps import Workshop
from chambit.core.store import Store
from chambit.core.study import Study, resolve
from chambit.images.imageset import ImageSet
from chambit.pipeline import (
    candidate,
    chain,
    closing,
    conditions,
    plan,
    preparation_evidence,
    prepared,
    refining,
    released,
    watching,
)
from chambit.prepare import intensities, register
from chambit.prepare.split import proof_lines

PURPOSE = ("text", "prohibited_uses", "recipients", "tier")
SOURCE = {
    "hospital": ("name", "irb", "drb", "de_identification"),
    "public": ("name", "licence"),
    "phantoms": ("name",),
}


def whole(store: Store, made: plan.Made) -> dict[str, ImageSet]:
    """The refined sets by role, at full size and in colour: what would be released, and the real ones beside it."""
    return {role: ImageSet.load(store, key) for role, key in made["refine"].items() if role != "marks"}


def measured(store: Store, made: plan.Made) -> dict[str, ImageSet]:
    """The sets by role as the measures saw them."""
    if "examined" not in made:
        return whole(store, made)
    return {role: ImageSet.load(store, key) for role, key in made["examined"].items()}


def facts(
    workshop: Workshop,
    study: Study,
    file: Path,
    made: plan.Made,
    done: Sequence[bool],
    attempt: tuple[int, str],
    lawful: register.Register,
) -> closing.Facts:
    """Everything the closing needs to know beside the measures.

    Args:
        workshop: where the run is.
        study: the study.
        file: where it was read from.
        made: outputs of all steps.
        done: for each step of the plan whether the ledger has it as done.
        attempt: number and date of this attempt.
        lawful: what the legal register said.
    """
    sets = whole(workshop.store, made)
    store = workshop.store
    proof = store.get_json(made["split"]["proof"])
    refused = [
        row
        for name in ("intake", "intake test")
        if name in made
        for row in store.get_table(made[name]["refused"]).to_dicts()
    ]
    korean, english = intensities.sentences(_intensities(store, made), {"cohort": "원본", "test": "시험"})
    purpose, origin = study.purpose.model_dump(), _stated_source(study)
    attached = {f"purpose.{k}": v for k, v in purpose.items() if v} | {
        f"source.{k}": v for k, v in origin.items() if v and k not in ("kind", "name")
    }
    if study.source.kind == "phantoms":
        attached |= dict.fromkeys(("source.irb", "source.drb", "source.licence", "source.de_identification"),
                                  "해당 없음 — 팬텀 / not applicable: phantoms")  # fmt: skip
    return closing.Facts(
        kind="run",
        title=study.title,
        phantom=study.source.kind == "phantoms",
        study_digest=study.digest,
        attempt=attempt[0],
        attempts=len(workshop.ledger.events("study.frozen")),
        produced=attempt[1],
        attached=attached,
        facts=_key_facts(study, sets, made) | {"intensities": english},
        records=_records(workshop, study, file, made, sets, done, proof, len(refused), lawful),
        refused=refused,
        proof=proof_lines(proof),
        counts=closing.counts(sets),
        korean={english: korean} | register.KOREAN | preparation_evidence.KOREAN,
    )


def _stated_source(study: Study) -> dict[str, str]:
    """The statements on the source, those made from the register included."""
    fields = study.source.model_dump(exclude={"approvals", "permissions"})
    return fields | register.statements(study.source)


def _intensities(store: Store, made: plan.Made) -> dict[str, Any]:
    """What intake did to grey levels and sizes, by source."""
    names = {"cohort": "intake", "test": "intake test"}
    return {source: store.get_json(made[name]["intensities"]) for source, name in names.items() if name in made}


def _records(
    workshop: Workshop,
    study: Study,
    file: Path,
    made: plan.Made,
    sets: dict[str, ImageSet],
    done: Sequence[bool],
    proof: dict[str, Any],
    refused: int,
    lawful: register.Register,
) -> list[Finding]:
    store = workshop.store
    intakes = [made[name] for name in ("intake", "intake test") if name in made]
    found = sum(store.get_json(outputs["found"]) for outputs in intakes)
    accepted = sum(len(store.get_table(outputs["images"])) for outputs in intakes)
    recorded = Finding(
        measure="generation@1",
        quantity="recorded",
        value=sum(done) / len(done),
        n={"steps": len(done), "with digests": sum(done)},
        null=1.0,
        direction="higher",
    )
    return [
        closing.stated("purpose", study.purpose.model_dump(), PURPOSE),
        closing.stated("source", _stated_source(study), SOURCE[study.source.kind]),
        register.finding(lawful),
        *(prepared.recorded(resolve(file, study.prepare.into)) if study.prepare else ()),
        closing.accounted(found, accepted, refused, _intensities(store, made)),
        closing.overlap(proof),
        recorded,
        refinement(study.recipe),
        closing.marks(store.get_json(made["refine"]["marks"]), len(sets["synthetic"])),
        *watching.recorded(store, made),
        *released.of_sets([workshop.folder.parent / "candidate"], sets, [candidate.NOTICE], told(store, made)),
        closing.connections(len(done)),
    ]


def refinement(recipe: Recipe) -> Finding:
    """Whether the study says what is done after the drawing: operations, or `refine: []`, which waives them."""
    return closing.decided(len(recipe.refine) if "refine" in recipe.model_fields_set else None)


def told(store: Store, made: plan.Made) -> dict[str, released.Told]:
    """The columns of the released table that follow from the study: conditions, geometry, the place in a sequence.

    A factor may hold the levels of training, a number what lies between the least and the largest of training; that is
    what the plan of the sample draws from (`conditions.wanted`).
    """
    about = store.get_json(made["items"]["about"])
    items = conditions.training_items(about, ImageSet.load(store, made["items"]["train"]))
    columns = {name: released.Told(frozenset(levels)) for name, levels in about["factors"].items()}
    for name in about["numbers"]:
        if len(values := items[name].drop_nulls()):
            columns[name] = released.Told(ends=(float(values.min()), float(values.max())))
    columns |= {name: released.Told(frozenset({value})) for name, value in about.get("geometry", {}).items()}
    axis, length = about["form"][3:]
    if axis:
        columns |= {"series": released.Told(own=True), "frame": released.Told(frozenset(map(str, range(length))))}
    return columns


def _key_facts(study: Study, sets: dict[str, ImageSet], made: plan.Made) -> dict[str, str]:
    synthetic = sets["synthetic"]
    colour = ", colour" if len(synthetic.shape) == 3 else ""
    depth = next(synthetic.blocks())[1].dtype.name
    facts = {
        "source": study.source.name or study.source.kind,
        "generator": " -> ".join(link.name for link in chain.links(study)),
        "options": "; ".join(_plain(link.told) for link in chain.links(study)),
        "refinement": "; ".join(
            f"{next(iter(e))} {_plain(next(iter(e.values())))}" for e in study.recipe.refine
        ).strip()
        or "none",
        "released images": f"{len(synthetic)}, {synthetic.shape[1]} x {synthetic.shape[0]} pixels{colour}, {depth}",
        "seed": str(study.seed),
    }
    if (reduced := refining.reduction(study)) and "examined" in made:
        height, width = ImageSet.load(synthetic.store, made["examined"]["synthetic"]).shape[:2]
        grey = ", by luminance" if colour else ""
        facts["measured at"] = f"{width} x {height} pixels{grey}" if reduced else ""
    if study.measures and any(study.measures.values()):
        facts["settings changed by the study"] = "; ".join(
            f"{name}: {_plain(options)}" for name, options in study.measures.items() if options
        )
    return facts


def _plain(options: dict[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in options.items() if value is not None)
