"""Step that refines the set and the test images again without each operation in turn, for the refinement experiment."""

from chambit.core import extensions
from chambit.core.steps import Context, Outputs, Step
from chambit.core.study import Study
from chambit.images.imageset import ImageSet
from chambit.pipeline import masking, refining
from chambit.pipeline.plan import Made, Planned
from chambit.review.policy import Policy

NAME = "variants"
ROLES = ("synthetic", "test")


def planned(study: Study, policy: Policy) -> list[Planned]:
    """One step where an operation changes pixels and the study asks what that does."""
    asked = not study.measures or "refinement" in study.measures
    if not asked or not refining.geometry(refining.chain(study, policy)):
        return []
    count = study.recipe.sample.images
    return [Planned(NAME, lambda made: _variants(study, policy, made), count, "images", 5000.0, 1)]


def _variants(study: Study, policy: Policy, made: Made) -> Step:
    operations = refining.geometry(refining.chain(study, policy))
    inputs = {"synthetic": made["sample"]["images"], "test": made["split"]["test"], "masks": made["masks"]["test"]}

    def run(context: Context) -> Outputs:
        sets = {role: ImageSet.load(context.store, inputs[role]) for role in ROLES}
        sets["test"] = masking.attached(sets["test"], inputs["masks"])
        outputs = {}
        for number, left_out in enumerate(operations):
            others = [entry for place, entry in enumerate(operations) if place != number]
            for role in ROLES:
                refined = refining.applied(
                    context, sets[role], f"{number}/{role}", [*others, *refining.reduction(study)]
                )
                outputs[f"{number + 1} {left_out['name']}/{role}"] = context.store.put_table(refined.table)
        return outputs

    versions = {entry["name"]: extensions.load(refining.REFINE, entry["name"]).version for entry in operations}
    options = {"chain": operations, "reduced": refining.reduction(study), "versions": versions}
    return Step(NAME, "2", options, inputs, run, study.seed)
