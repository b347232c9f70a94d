"""Steps that let other generators make a set of the same patients, for the comparison of sets.

A rival has stages and a number of images of its own; conditions, refinement and the size of measuring are the study's.
Its steps are those of a recipe under another name, so that nothing of it can be mistaken for the set.
"""

from collections.abc import Callable
from dataclasses import replace

from chambit.core import extensions
from chambit.core.recipe import Rival
from chambit.core.steps import Context, Outputs, Step
from chambit.core.study import Study
from chambit.images.imageset import ImageSet
from chambit.pipeline import drawing, refining, training
from chambit.pipeline.plan import Made, Planned
from chambit.review.policy import Policy

EXTRA = "rivals"


def planned(study: Study, policy: Policy) -> list[Planned]:
    """For each rival its trainings, its drawing and its refinement."""
    steps = []
    for name, rival in study.rivals.items():
        other = as_study(study, rival)
        for entry in [*training.planned(other, policy), drawing.planned(other)]:
            steps.append(entry._replace(name=_called(name, entry.name), build=_renamed(name, entry.build)))
    if study.rivals:
        count = study.recipe.sample.images
        steps.append(Planned(EXTRA, lambda made: _refined(study, policy, made), count, "images", 1500.0, 5))
    return steps


def as_study(study: Study, rival: Rival) -> Study:
    """The study as it would be with the rival's stages."""
    recipe = study.recipe.model_copy(update={"train": rival.train, "sample": rival.sample or study.recipe.sample})
    return study.model_copy(update={"recipe": recipe})


def _called(name: str, step: str) -> str:
    return f"{name}: {step}"


def _renamed(name: str, build: Callable[[Made], Step]) -> Callable[[Made], Step]:
    """The same step under the rival's name, which sees the outputs of the rival's steps as its own."""

    def renamed(made: Made) -> Step:
        prefix = _called(name, "")
        own = {key.removeprefix(prefix): outputs for key, outputs in made.items() if key.startswith(prefix)}
        step = build({**made, **own})
        return replace(step, name=_called(name, step.name))

    return renamed


def _refined(study: Study, policy: Policy, made: Made) -> Step:
    operations = refining.measured(study, policy)
    inputs = {name: made[_called(name, "sample")]["images"] for name in study.rivals}

    def run(context: Context) -> Outputs:
        return {
            name: context.store.put_table(
                refining.applied(context, ImageSet.load(context.store, key), name, operations).table
            )
            for name, key in inputs.items()
        }

    versions = {entry["name"]: extensions.load(refining.REFINE, entry["name"]).version for entry in operations}
    return Step(EXTRA, "1", {"chain": operations, "versions": versions}, inputs, run, study.seed)
