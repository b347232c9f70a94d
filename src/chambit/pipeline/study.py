"""Run or plan a whole study: cohort, making, examining, closing."""

import datetime
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np

from chambit.core import extensions, offline
from chambit.core.errors import ChambitError, InputError, Problem, StudyError
from chambit.core.ledger import Ledger
from chambit.core.steps import Engine, Listener, Workshop
from chambit.core.store import Store
from chambit.core.study import Files, Run, Study, check_options, load, resolve
from chambit.measure.weights import Weights
from chambit.pipeline import (
    candidate,
    chain,
    closing,
    cohort,
    enlarging,
    examining,
    making,
    plan,
    prepared,
    probing,
    recording,
    refining,
    rivals,
    variants,
)
from chambit.pipeline.plan import Estimate, Planned
from chambit.prepare import intake, register
from chambit.review import policy as policies
from chambit.review.policy import Policy

WORK = "work"
_ONLY_FILES = Problem("prepare", "is for `cohort.files`; phantoms need no preparation", "leave the block out")


class Ready(NamedTuple):
    """A study that was read and found without problems."""

    study: Study
    file: Path
    policy: Policy
    margin: float


def read(file: Path) -> Ready:
    """Read and check a study file; every problem is reported at once.

    Raises:
        StudyError: with all problems of keys, options, measures, policy and paths.
    """
    study = load(file)
    problems: list[Problem] = []
    policy = _collect(problems, lambda: policies.load(study.policy, file.parent))
    every = [study.recipe, *(rivals.as_study(study, rival).recipe for rival in study.rivals.values())]
    for name, options in (entry for recipe in every for entry in recipe.stages):
        stage = _collect(problems, partial(extensions.load, chain.STAGES, name))
        if stage is not None:
            problems += check_options(f"{file}: recipe.train.{name}", stage.Options, options)
    problems += chain.problems(study, f"{file}: recipe.train") if not problems else []
    for name, rival in study.rivals.items() if not problems else ():
        problems += chain.problems(rivals.as_study(study, rival), f"{file}: rivals.{name}")
    if (drawn := study.cohort.phantoms) is not None:
        kind = _collect(problems, lambda: extensions.load(cohort.KINDS, drawn.kind))
        if kind is not None:
            problems += check_options(f"{file}: cohort.phantoms", kind.Options, drawn.options)
    for entry in study.recipe.refine:
        name, options = next(iter(entry.items()))
        module = _collect(problems, partial(extensions.load, refining.REFINE, name))
        # a detector's settings are the policy's: without a policy its options cannot be checked
        if module is not None and (policy is not None or module.geometry):
            given = (policy.settings.get(name, {}) if policy else {}) | options
            if policy is not None and not module.geometry:
                problems += _not_the_studys(f"{file}: recipe.refine.{name}", policy, name, module, options)
            problems += check_options(f"{file}: recipe.refine.{name}", module.Options, given)
    problems += _recipe_problems(file, study) if not problems else []
    _collect(problems, lambda: extensions.load("chambit.core.engines", study.run.engine))
    margin = study.margins.auroc or (policy.margins["auroc"].value if policy else 0.0)
    for name in study.measures or (examining.standard(policy) if policy else ()):
        if name not in examining.kinds():
            known = ", ".join(sorted(examining.kinds()))
            problems.append(Problem(f"{file}: measures.{name}", "there is no such measure", f"there are: {known}"))
        elif policy is not None:
            module = extensions.load(examining.kinds()[name], name)
            chosen = study.measures.get(name, {})
            problems += _not_the_studys(f"{file}: measures.{name}", policy, name, module, chosen)
            given = policy.settings.get(name, {}) | chosen
            given |= {"margin": margin} if "margin" in module.Options.model_fields else {}
            wrong = check_options(f"{file}: measures.{name}", module.Options, given)
            problems += wrong or examining.extractor_problems(
                f"{file}: measures.{name}", module.Options.model_validate(given), weights_of(study, file)
            )
    if study.prepare is not None:
        wrong = prepared.problems(resolve(file, study.prepare.into), f"chambit prepare {file}")
        problems += wrong or [] if study.cohort.files else [_ONLY_FILES]
    for files in (None if study.prepare and problems else cohort.used(study), study.cohort.test):
        if files is not None:
            _collect(problems, partial(_listed, file, files))
    if problems or policy is None:
        raise StudyError(f"The study {file} has {len(problems)} problem(s).", problems)
    return Ready(study, file, policy, margin)


def weights_of(study: Study, file: Path) -> dict[str, Weights]:
    """Where the weights lie that a study names, and the digests they must have."""
    return {name: Weights(resolve(file, Path(given.path)), given.sha256) for name, given in study.weights.items()}


def _not_the_studys(
    where: str, policy: Policy, name: str, module: ModuleType, options: dict[str, Any]
) -> list[Problem]:
    """Settings a study may not set: a threshold stands in the policy file and nowhere else."""
    allowed = policy.study_may_set.get(name, ())
    return [
        Problem(
            f"{where}.{key}", f"is set by the policy '{policy.name}', not by a study", "use a policy file of your own"
        )
        for key in options
        if key in module.Options.model_fields and key not in allowed
    ]


def _listed(file: Path, files: Files) -> list[intake.Entry]:
    return intake.files(cohort.source(file, files))


def _recipe_problems(file: Path, study: Study) -> list[Problem]:
    """Operations that cannot be applied to images of the study's size, as far as the size is known."""
    cohort_files = study.cohort.files
    size = cohort_files.size if cohort_files else (study.cohort.phantoms.pixels,) * 2 if study.cohort.phantoms else None
    if size is None:
        return []
    pixels = np.zeros((1, *size, 3) if cohort.coloured(study) else (1, *size), np.uint8)
    for entry in study.recipe.refine:
        name, options = next(iter(entry.items()))
        module = extensions.load(refining.REFINE, name)
        if module.geometry:
            try:
                pixels = module.apply(pixels, module.Options.model_validate(options))
            except ValueError as error:
                return [Problem(f"{file}: recipe.refine.{name}", str(error), "cut less, or work on larger images")]
    return []


def _collect(problems: list[Problem], work: Callable[[], Any]) -> Any:
    try:
        return work()
    except ChambitError as error:
        problems += error.problems or [Problem("study", error.summary)]
        return None


def planned(ready: Ready, out: Path) -> list[Planned]:
    """All steps of a study, in order."""
    study = ready.study
    names = study.measures or {name: {} for name in examining.standard(ready.policy)}
    others = variants.planned(study, ready.policy)
    extras = probing.extras(study, ready.policy) | ({"variants": variants.NAME} if others else {})
    extras |= {rivals.EXTRA: rivals.EXTRA} if study.rivals else {}
    enlarged = enlarging.planned(study)
    extras |= {enlarging.NAME: enlarging.NAME} if enlarged else {}
    measures = examining.planned(
        names,
        ready.policy,
        ready.margin,
        study.seed,
        study.recipe.sample.images,
        source="examined" if refining.reduction(study) else "refine",
        extras=extras,
        weights=weights_of(study, ready.file),
    )
    return [
        *cohort.planned(study, ready.file.resolve(), out),
        *making.planned(study, ready.policy),
        *probing.planned(study, ready.policy),
        *others,
        *enlarged,
        *rivals.planned(study, ready.policy),
        *measures,
    ]


def engine_of(run: Run) -> Engine:
    """The engine a study asks for; 0 workers means one for each core this process may use."""
    module = extensions.load("chambit.core.engines", run.engine)
    workers = run.workers or len(os.sched_getaffinity(0))
    engine: Engine = module.Engine(workers)
    return engine


def folder_of(ready: Ready, out: Path | None) -> Path:
    """The output folder: from the command line, else from the study, else `out/<name of the file>`."""
    if out is not None:
        return out.resolve()
    given = ready.study.run.out
    return resolve(ready.file, given) if given else (Path("out") / ready.file.stem).resolve()


def estimate(ready: Ready, out: Path) -> list[Estimate]:
    """What is done and what the rest will take; leaves nothing behind where nothing has run."""
    work = out / WORK
    ledger = Ledger.beside(work) if work.is_dir() else Ledger("sqlite://")
    workshop = Workshop(work, engine_of(Run(engine="inline")), lambda _: None, ledger, Store(work))
    try:
        return plan.estimate(workshop, planned(ready, out))
    finally:
        workshop.close()


def obstacles(ready: Ready, day: datetime.date | None = None) -> tuple[Problem, ...]:
    """What of the legal register would block training and release on a day (None: today)."""
    return register.read(ready.study.source, ready.file, day or datetime.date.today()).problems


def run(ready: Ready, out: Path, tell: Listener, day: datetime.date | None = None) -> closing.Closed:
    """Run what is missing, write the files, return the verdict.

    The legal register is asked before the first step and again before the closing, each time by the day it is then.

    Args:
        ready: the study.
        out: the output folder.
        tell: is told of progress.
        day: the day to judge the register by, for tests; None is today.

    Raises:
        StudyError: an approval or a permission that the source needs does not hold.
    """
    offline.guard()
    writable(out)
    register.require(ready.study.source, ready.file, day or datetime.date.today())
    workshop = Workshop.at(out / WORK, engine_of(ready.study.run), tell)
    try:
        attempt = _freeze(workshop, ready)
        made = plan.run(workshop, planned(ready, out))
        # a run may take weeks: nothing is laid out for release on an approval that ran out meanwhile
        lawful = register.require(ready.study.source, ready.file, day or datetime.date.today())
        _register(workshop, ready.study)
        whole = recording.whole(workshop.store, made)
        candidate.write(out / closing.CANDIDATE, whole["synthetic"])
        done = [workshop.ledger.outputs(entry.build(made).digest) is not None for entry in planned(ready, out)]
        facts = recording.facts(workshop, ready.study, ready.file, made, done, attempt, lawful)
        sets = recording.measured(workshop.store, made)
        return closing.close(workshop, out, made, sets, ready.policy, facts, whole)
    finally:
        workshop.close()


def writable(out: Path) -> None:
    """Refuse an output folder that is a file.

    Raises:
        InputError: naming it.
    """
    if out.exists() and not out.is_dir():
        problem = Problem(str(out), "is a file, not a folder", "give another name with --out")
        raise InputError("Nothing can be written there.", [problem])


def _freeze(workshop: Workshop, ready: Ready) -> tuple[int, str]:
    """Record the study's digest before the first measurement; another digest in the same folder is another attempt."""
    body = {"study": ready.study.digest, "policy": ready.policy.digest, "margin": ready.margin}
    frozen = workshop.ledger.events("study.frozen")
    same = [number for number, event in enumerate(frozen, start=1) if {k: event["body"][k] for k in body} == body]
    if same:
        return same[0], str(frozen[same[0] - 1]["body"]["date"])
    date = closing.today()
    workshop.ledger.add_event("study.frozen", body | {"date": date})
    return len(frozen) + 1, date


def _register(workshop: Workshop, study: Study) -> None:
    """Record which register the closing relied on, where it is another than the last time."""
    body = {"register": register.identity(study.source)}
    recorded = workshop.ledger.events("register.held")
    if not recorded or recorded[-1]["body"] != body:
        workshop.ledger.add_event("register.held", body)
