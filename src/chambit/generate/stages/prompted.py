"""Images ordered by text from a service that never saw the cohort; `chambit prompt` asks, this stage hands them out.

Nothing is trained. The images of a finished run, or of a provider that needs no network (`fake`, `replay`,
`folder_drop`), are brought to the form of the items and kept with their labels and requested factors; each is handed
out at most once, by label and order. The real images are not looked at. Requested factors are wishes: what was verified
stands on the run's page. A service that is reached over a network is asked beforehand, outside a closed run.
"""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import Field

from chambit.core.errors import InputError, Problem
from chambit.core.evidence import Frozen
from chambit.core.steps import Context
from chambit.core.store import Store
from chambit.generate.items import Arrays, Examples, Ports

if TYPE_CHECKING:
    from chambit.generate.prompted.page import Run
    from chambit.generate.prompted.plan import PromptPlan

version = "1"
WHOLE = True
"""`sample` wants all items in one call, or `rank` beside the labels (see `generate.prompted.handing`)."""


class Options(Frozen):
    """What changes the result.

    plan: the prompt plan; provider: `fake`, `replay`, `folder_drop`, or the folder of a finished `chambit prompt run`;
    options: of that provider; images: so many in place of the plan's; labels: a level of the plan's label -> the
    study's class, where they differ; bottom: share of the height cut off before the images are brought to size.
    """

    plan: Path
    provider: str = "fake"
    options: dict[str, Any] = Field(default_factory=dict)
    images: int | None = Field(None, ge=1)
    labels: dict[str, str] = Field(default_factory=dict)
    bottom: float = Field(0.0, ge=0, le=0.9)


def ports(options: Options) -> Ports:
    """A label goes in, an image comes out."""
    return Ports(needs=("label",), makes=("image",))


def train(context: Context, examples: Examples, options: Options, watch: object = None) -> str:
    """Get the images, bring them to the form of the items, keep them.

    Args:
        context: of the running step; a run under way in its scratch folder goes on.
        examples: the form and the classes are used, the images are not.
        options: see `Options`.
        watch: not called: nothing is learned from the cohort.

    Returns:
        Digest of images, labels, factors and where they came from.

    Raises:
        InputError: when the provider would leave this machine, images are missing, or labels are no classes.
    """
    from chambit.generate.prompted import handing
    from chambit.generate.prompted import plan as plans

    handing.refuse_axis(examples.form, "prompted")
    plan = plans.read(options.plan)
    if options.images is not None:
        plan = plans.scaled(plan, options.images)
    run = _loaded(context, plan, options)
    labels = run.obtained["label"].to_list()
    numbers = handing.numbers_of(labels, options.labels, examples.classes, f"{options.plan.name}: classes")
    images = np.stack(
        [handing.fitted(Path(path), examples.form, options.bottom) for path in run.obtained["path"].to_list()]
    )
    factors = {name: list(factor.levels) for name, factor in plan.factors.items()}
    levels = [[factors[name].index(row[f"asked_{name}"]) for name in factors] for row in run.obtained.to_dicts()]
    told = {
        "classes": list(examples.classes),
        "factors": factors,
        "keys": run.obtained["key"].to_list(),
        "sha256": [run.last[key].sha256 for key in run.obtained["key"].to_list()],
        "plan": plan.digest,
        "provider": run.plan.provider.name,
        "models": sorted({line.model for line in run.lines if line.model}),
        "bottom": options.bottom,
    }
    context.note(f"{len(images)} of {plan.images} images of {run.plan.provider.name} {run.plan.provider.model}")
    return handing.put(context.store, images, numbers, told, factors=np.array(levels, np.int64))


def sample(store: Store, weights: str, given: Arrays, seeds: Sequence[int], options: Options) -> dict[str, np.ndarray]:
    """Hand out images by label and order; the seeds change nothing.

    Args:
        store: where they are.
        weights: digest that `train` returned.
        given: `label`, and `rank` where the sample comes in parts.
        seeds: one for each item; unused.
        options: those of training.

    Returns:
        `image`: float32 (N, H, W[, 3]) in [0, 1].

    Raises:
        InputError: when fewer images of a label exist than are asked for.
    """
    from chambit.generate.prompted import handing

    return {"image": handing.handed(store, weights, given)}


def _loaded(context: Context, plan: "PromptPlan", options: Options) -> "Run":
    """The finished run, asked for now where the provider stays on this machine."""
    from chambit.core import extensions
    from chambit.generate.prompted import page, running

    given = Path(options.provider)
    if (given / "attempts.jsonl").exists():
        running.check_folder(plan, given)
        run = page.load(plan, given)
    else:
        provider = extensions.load(running.PROVIDERS, options.provider)
        if provider.LEAVES_SITE:
            problem = Problem(
                f"recipe.train.prompted.provider: {options.provider}",
                "is reached over a network, and a study runs closed",
                f"run `chambit prompt run {options.plan}` before, and give the folder it made",
            )
            raise InputError("A study asks no outside service.", [problem])
        model = plan.provider.model
        service = plan.provider.model_copy(
            update={"name": options.provider, "options": options.options, "model": model}
        )
        plan, folder = plan.model_copy(update={"provider": service}), context.scratch / "prompted"
        done = running.run(plan, folder, tell=lambda done, of, text: context.progress(done, of, "images"))
        if done.stopped:
            problem = Problem(options.plan.name, done.stopped, "raise the cap, or ask for fewer images")
            raise InputError("The prompt plan was not carried out.", [problem])
        run = page.load(plan, folder)
    if not len(run.obtained):
        shutil.rmtree(context.scratch / "prompted", ignore_errors=True)
        problem = Problem(
            str(options.plan), "no image is there", "run `chambit prompt run`, or drop images in its folder"
        )
        raise InputError("The prompt plan has no images.", [problem])
    return run
