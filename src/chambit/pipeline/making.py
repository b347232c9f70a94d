"""The steps that make the synthetic set: items, training of each stage, drawing, refinement, the size of measuring."""

from chambit.core.study import Study
from chambit.pipeline import cohort, conditions, drawing, refining, training
from chambit.pipeline.plan import Planned
from chambit.review.policy import Policy


def planned(study: Study, policy: Policy) -> list[Planned]:
    """The steps from a split cohort to refined sets of every role."""
    count = study.recipe.sample.images
    steps = [
        Planned("items", lambda made: conditions.step(study, cohort.axis(study), made), count, "images", 20000.0, 1),
        *training.planned(study, policy),
        drawing.planned(study),
        Planned("refine", lambda made: refining.step(study, policy, made), count, "images", 1500.0, 20),
    ]
    if refining.reduction(study):
        steps.append(Planned("examined", lambda made: refining.examined(study, made), count, "images", 1500.0, 20))
    return steps
