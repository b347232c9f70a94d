"""Steps that train the stages of a recipe one after the other; a later one may learn from what earlier ones make."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from chambit.core.steps import Context, Outputs, Step
from chambit.core.study import Study
from chambit.generate.items import Examples
from chambit.images.imageset import ImageSet
from chambit.pipeline import chain, conditions, watching
from chambit.pipeline.chain import Link
from chambit.pipeline.plan import Made, Planned
from chambit.review.policy import Policy

EARLIER_AT_ONCE = 64


def planned(study: Study, policy: Policy) -> list[Planned]:
    """One step for each stage."""

    def step(link: Link) -> Planned:
        return Planned(
            link.step, lambda made: _train(study, policy, link, made), _steps(link.options), "steps", 12.0, 15
        )

    return [step(link) for link in chain.links(study)]


def _steps(options: Any) -> int:
    """How much work training is; a stage that has no steps counts as one."""
    return int(getattr(options, "steps", 1))


def _train(study: Study, policy: Policy, link: Link, made: Made) -> Step:
    stage, before = link.module, chain.trained(study, made, link.number)
    inputs = {"train": made["items"]["train"], "about": made["items"]["about"]}
    inputs |= {f"stage {number + 1}": entry["weights"] for number, entry in enumerate(before)}
    used = link.told | ({"files": link.files} if link.files else {})
    watched = link.step == chain.source(study).step
    if (settings := watching.settings_of(policy, stage) if watched else None) is not None:
        inputs |= {"auxiliary": made["split"]["auxiliary"]}
        used |= {"memorisation": settings.model_dump()}

    def run(context: Context) -> Outputs:
        images = ImageSet.load(context.store, inputs["train"])
        about = context.store.get_json(inputs["about"])
        examples = conditions.examples(images, about)
        if before:
            examples = _after(context, study, examples, about, before)
        keep = context.store.put_json
        if settings is None:
            outputs = {"weights": stage.train(context, examples, link.options)}
        else:
            auxiliary = ImageSet.load(context.store, inputs["auxiliary"])
            watch = watching.prepared(context, images, auxiliary, about["classes"], settings)
            given = None if isinstance(watch, str) else watch
            outputs = {"weights": stage.train(context, examples, link.options, watch=given)}
            outputs |= {
                "watched": keep(watching.watched(context, watch)),
                "curve": keep(given.curve() if given else []),
            }
        if hasattr(stage, "claim"):
            outputs["claim"] = keep(stage.claim(context.store, outputs["weights"]))
        if hasattr(stage, "facts"):
            outputs["facts"] = keep(stage.facts(context.store, outputs["weights"]))
        return outputs

    return Step(link.step, f"{link.name}@{stage.version}", used, inputs, run, study.seed, _steps(link.options))


def _after(
    context: Context, study: Study, examples: Examples, about: Mapping[str, Any], before: list[dict[str, Any]]
) -> Examples:
    """The examples of a stage that can see what the stages before it make."""

    def earlier(count: int) -> dict[str, np.ndarray]:
        sample = study.recipe.sample.model_copy(update={"fill": None})
        plan = conditions.wanted(count, sample, about, examples.images, lambda what: context.seed(f"earlier {what}"))
        parts = []
        for first in range(0, len(plan), EARLIER_AT_ONCE):
            part = plan[first : first + EARLIER_AT_ONCE]
            given = conditions.given(part, about)
            made = chain.through(context.store, before, given, [int(seed) for seed in part["seed"]])
            now = dict(given)
            for outputs in made:
                now |= outputs
            parts.append(now)
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    return replace(examples, earlier=earlier)
