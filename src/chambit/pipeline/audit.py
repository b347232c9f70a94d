"""Audit: the same evidence for a synthetic set that somebody else made; images only, no generator."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl

from chambit.core import digest, offline
from chambit.core.errors import InputError, Problem
from chambit.core.steps import Context, Listener, Outputs, Step, Workshop
from chambit.core.study import Run
from chambit.images.imageset import ImageSet
from chambit.measure.weights import Weights
from chambit.pipeline import candidate, closing, examining, plan, refining, released, two_folders
from chambit.pipeline.plan import Made, Planned
from chambit.pipeline.recording import PURPOSE, SOURCE
from chambit.pipeline.study import WORK, engine_of, writable
from chambit.prepare import donors, intake, intensities
from chambit.prepare.donors import Donor
from chambit.prepare.split import proof, proof_lines
from chambit.review import policy as policies
from chambit.review.policy import Policy

SEED = 0
PREFIX = {"train": "T", "holdout": "H", "auxiliary": "A", "test": "V", "synthetic": "S", "real": "R"}
KOREAN = {"train": "학습", "holdout": "대조", "auxiliary": "보조", "test": "시험", "synthetic": "합성", "real": "실제"}
CARVED = 0.2


class Request(NamedTuple):
    """What to audit: a source for each role (train, holdout and synthetic at least, or real and synthetic alone: see
    `two_folders`), the policy, the margin, the working size.

    `auxiliary` may be absent: then the test images fit the detectors, or a fifth of the holdout's subjects when there
    are no test images. `donors` are the parts of each composed synthetic image, by its name; `donors_file` names where
    they were read. `extractors` are used instead of the policy's, with `weights` for those that need a file. `text`
    asks two folders for text in pixels.
    """

    sources: Mapping[str, intake.Source]
    policy: Policy
    margin: float
    size: tuple[int, int] | None
    run: Run
    donors: Mapping[str, Sequence[Donor]] = {}
    donors_file: str = ""
    extractors: tuple[str, ...] = ()
    weights: Mapping[str, Weights] = {}
    text: bool = False

    @property
    def first(self) -> str:
        """The role whose size all others are brought to."""
        return two_folders.REAL if two_folders.REAL in self.sources else "train"


def request(
    sources: Mapping[str, intake.Source],
    policy: str,
    margin: float | None,
    size: tuple[int, int] | None,
    run: Run,
    donors_file: Path | None = None,
    extractors: tuple[str, ...] = (),
    weights: Mapping[str, Weights] | None = None,
    text: bool = False,
) -> Request:
    """Check the choice of folders, the paths, the donors file, the policy and the extractors.

    Raises:
        InputError: with the problems of every source at once.
    """
    loaded = policies.load(policy)
    problems = two_folders.problems(sources, donors_file is not None)
    parts: Mapping[str, Sequence[Donor]] = {}
    for role, source in sources.items():
        try:
            listed = intake.files(source)
            if role == "synthetic" and donors_file is not None:
                parts = donors.read(donors_file, [entry.name for entry in listed])
        except InputError as error:
            found = error.problems or [Problem(f"--{role}", error.summary)]
            problems += [problem for problem in found if problem not in problems]
    given = weights or {}
    for name, chosen in _names(loaded, extractors).items():
        if chosen:
            options = examining.options_of(name, loaded, 0.0, chosen)
            problems += [p for p in examining.extractor_problems("--extractor", options, given) if p not in problems]
    if problems:
        raise InputError(f"The inputs have {len(problems)} problem(s).", problems)
    named = donors_file.name if donors_file else ""
    wanted = margin or loaded.margins["auroc"].value
    return Request(sources, loaded, wanted, size, run, parts, named, extractors, given, text)


def _names(policy: Policy, chosen: tuple[str, ...]) -> dict[str, dict[str, object]]:
    """Every measure, with the extractors that were asked for where it takes several."""
    taken = {name for name, allowed in policy.study_may_set.items() if "extractors" in allowed}
    return {name: {"extractors": chosen} if chosen and name in taken else {} for name in examining.standard(policy)}


def planned(wanted: Request) -> list[Planned]:
    """All steps of an audit, in order."""
    order = [wanted.first, *(role for role in wanted.sources if role != wanted.first)]
    steps = [Planned(f"intake {role}", partial(_intake, wanted, role), 1000, "files", 700.0, 10) for role in order]
    names, build = _names(wanted.policy, wanted.extractors), _roles
    if wanted.first == two_folders.REAL:
        names = {name: names[name] for name in two_folders.measured(names, text=wanted.text)}
        build = _halves
    steps.append(Planned("roles", lambda made: build(wanted, made), 1000, "images", 5000.0, 1))
    return steps + examining.planned(
        names, wanted.policy, wanted.margin, SEED, 1000, source="roles", weights=wanted.weights
    )


def run(wanted: Request, out: Path, tell: Listener) -> closing.Closed:
    """Audit and write the files."""
    offline.guard()
    writable(out)
    workshop = Workshop.at(out / WORK, engine_of(wanted.run), tell)
    try:
        made = plan.run(workshop, planned(wanted))
        sets = {role: ImageSet.load(workshop.store, key) for role, key in made["roles"].items() if role in PREFIX}
        facts = _facts(workshop, wanted, made, sets)
        return closing.close(workshop, out, made, sets, wanted.policy, facts)
    finally:
        workshop.close()


def _intake(wanted: Request, role: str, made: Made) -> Step:
    source = wanted.sources[role]
    inputs, first = {"files": intake.inputs_digest(source)}, wanted.first
    if role != first:
        inputs[first] = made[f"intake {first}"]["images"]
    options = {"role": role, "part": source.part, "names": dict(source.class_names), "size": wanted.size}

    def run(context: Context) -> Outputs:
        # every role is brought to the first one's working size: distances between sizes mean nothing
        size = wanted.size
        if size is None and role != first:
            _, block = next(ImageSet.load(context.store, inputs[first]).blocks())
            size = (int(block.shape[1]), int(block.shape[2]))
        outputs = intake.take_in(context, source, intake.Rules(size, True), prefix=PREFIX[role])
        return outputs | {"found": context.store.put_json(len(intake.files(source)))}

    return Step(f"intake {role}", "2", options, inputs, run, SEED)


def _halves(wanted: Request, made: Made) -> Step:
    tables_of = {role: made[f"intake {role}"]["images"] for role in wanted.sources}
    return two_folders.halves(tables_of, wanted.policy, SEED)


def _roles(wanted: Request, made: Made) -> Step:
    """Give every measure its sets; find images for the detectors; count what the sets share."""
    tables_of = {role: made[f"intake {role}"]["images"] for role in wanted.sources}
    donated = {name: [asdict(part) for part in given] for name, given in wanted.donors.items()}
    inputs = tables_of | ({"donors": digest.of_json(donated)} if donated else {})

    def run(context: Context) -> Outputs:
        tables = {role: context.store.get_table(key) for role, key in tables_of.items()}
        if donated:
            if strange := donors.unknown_subjects(wanted.donors_file, wanted.donors, tables["train"]["subject"]):
                raise InputError("The donors file cannot be used.", strange)
            # which person gave which part stays in the store: no product of the run carries this column
            column = [json.dumps(donated[name]) if name in donated else None for name in tables["synthetic"]["file"]]
            tables["synthetic"] = tables["synthetic"].with_columns(pl.Series("donors", column, dtype=pl.String))
        if problems := intake.check_classes(tables["train"], 2):
            raise InputError("The training images cannot be used.", problems)
        note = "given"
        if "auxiliary" not in tables and "test" in tables:
            tables["auxiliary"], note = tables["test"], "the test images"
        elif "auxiliary" not in tables:
            rng = np.random.default_rng(context.seed("carve"))
            names = np.unique(tables["holdout"]["subject"].to_numpy().astype(str))
            carved = rng.permutation(names)[: max(1, round(CARVED * len(names)))].tolist()
            mine = tables["holdout"]["subject"].is_in(carved)
            tables["auxiliary"], tables["holdout"] = (
                tables["holdout"].filter(mine),
                tables["holdout"].filter(~mine),
            )
            note = f"{CARVED:.0%} of the holdout's subjects"
        # each folder keeps its own depth, and sha256 is of that dtype: shared pixels are counted at one depth for all
        parts = [
            tables[role].with_columns(
                pl.lit(role).alias("split"),
                pl.Series("sha256", ImageSet(context.store, tables[role]).full_scale_digests(), dtype=pl.String),
            )
            for role in ("train", "holdout", "auxiliary", "test")
            if role in tables and not (role == "auxiliary" and note == "the test images")
        ]
        together = proof(pl.concat(parts, how="diagonal"))
        sets = {role: ImageSet(context.store, table) for role, table in tables.items()}
        found = refining.marks(sets["synthetic"], sets["train"], wanted.policy.settings.get("visible_mark", {}))
        outputs = {role: context.store.put_table(table) for role, table in tables.items()}
        return outputs | {
            "proof": context.store.put_json(together),
            "marks": context.store.put_json([found]),
            "note": context.store.put_json(note),
        }

    return Step("roles", "2", {"marks": wanted.policy.settings.get("visible_mark", {})}, inputs, run, SEED)


def _facts(workshop: Workshop, wanted: Request, made: Made, sets: dict[str, ImageSet]) -> closing.Facts:
    store, roles = workshop.store, made["roles"]
    intakes = [made[f"intake {role}"] for role in wanted.sources]
    refused = [row for outputs in intakes for row in store.get_table(outputs["refused"]).to_dicts()]
    found = sum(store.get_json(outputs["found"]) for outputs in intakes)
    accepted = sum(len(store.get_table(outputs["images"])) for outputs in intakes)
    identity = digest.of_json({role: images.digest for role, images in sets.items()} | {"margin": wanted.margin})
    _, first = next(sets["synthetic"].blocks())
    rows = {role: store.get_json(made[f"intake {role}"]["intensities"]) for role in wanted.sources}
    korean, english = intensities.sentences(rows, KOREAN)
    told = {"working size": f"{first.shape[2]} x {first.shape[1]} pixels", "intensities": english}
    if wanted.first == two_folders.REAL:
        real = ImageSet.load(store, made["intake real"]["images"])
        counted = {"real": real, "synthetic": sets["synthetic"]}
        told |= {"without a holdout": two_folders.SAID}
        proved = two_folders.proof_lines(real.table)
        sizes = {f"{role} images": len(images) for role, images in counted.items()}
        separate = two_folders.untested(examining.standard(wanted.policy), sizes, text=wanted.text)
    else:
        shared = store.get_json(roles["proof"])
        counted, proved, separate = sets, proof_lines(shared), [closing.overlap(shared)]
        told |= {"detectors fitted on": store.get_json(roles["note"])}
    return closing.Facts(
        kind="audit",
        title="합성영상 감사 / Audit of a synthetic set",
        phantom=False,
        study_digest=identity,
        attempt=1,
        attempts=1,
        produced=_date(workshop, identity),
        attached={},
        facts=told | {"margin": f"{wanted.margin:g} AUROC"},
        records=[
            closing.stated("purpose", {}, PURPOSE),
            closing.stated("source", {}, SOURCE["hospital"]),
            closing.accounted(found, accepted, len(refused), rows),
            *separate,
            closing.stated("generation", {}, ("method",)).model_copy(update={"quantity": "recorded"}),
            closing.marks(store.get_json(roles["marks"]), len(sets["synthetic"])),
            *released.of_sets([wanted.sources["synthetic"].path], sets, [candidate.NOTICE]),
            closing.connections(len(planned(wanted))),
        ],
        refused=refused,
        proof=proved,
        counts=closing.counts(counted),
        korean=two_folders.KOREAN | {english: korean},
    )


def _date(workshop: Workshop, identity: str) -> str:
    """The day these very inputs were first audited here."""
    for event in workshop.ledger.events("audit.began"):
        if event["body"]["inputs"] == identity:
            return str(event["body"]["date"])
    workshop.ledger.add_event("audit.began", {"inputs": identity, "date": closing.today()})
    return closing.today()


def source_of(
    path: Path, labels: Path | None, names: Mapping[str, str], role: str, others: Iterable[Path] = ()
) -> intake.Source:
    """Where one role's images are; `FILE.npz#part` names a part of an archive.

    `others` are the folders of the other roles, of which the same labels file may speak.
    """
    base, mark, part = str(path).partition("#")
    if mark and base.endswith(".npz"):
        path = Path(base)
    else:
        part = ""
    used = labels if labels is not None and role != "synthetic" else None
    return intake.Source(path.resolve(), part, used, names, tuple(other.resolve() for other in others))
