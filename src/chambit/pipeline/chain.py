"""The stages of a recipe as a chain: each is given what the plan says and what those before it made."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np

from chambit.core import digest, extensions
from chambit.core.errors import Problem
from chambit.core.seeds import seed as derive
from chambit.core.store import Store
from chambit.core.study import Study
from chambit.generate.items import PLANNED, Arrays, Ports, misfits
from chambit.pipeline.plan import Made

STAGES = "chambit.generate.stages"


class Link(NamedTuple):
    """One stage of a recipe.

    Attributes:
        number, name, module: its place in the recipe, its name and its file.
        options: its options, paths in them resolved.
        told: the options as the study says them, plain JSON values, which are the same on every machine.
        files: digest of each file or folder that the options name.
        step: the name of the step that trains it.
    """

    number: int
    name: str
    module: ModuleType
    options: Any
    told: dict[str, Any]
    files: dict[str, str]
    step: str

    @property
    def ports(self) -> Ports:
        """What it needs, takes and makes."""
        ports: Ports = self.module.ports(self.options)
        return ports


def links(study: Study) -> list[Link]:
    """The stages of a recipe in their order, options validated by the stages themselves."""
    found = []
    for number, (name, options) in enumerate(study.recipe.stages):
        module = extensions.load(STAGES, name)
        step = f"train {number + 1} {name}" if len(study.recipe.stages) > 1 else "train"
        given = module.Options.model_validate(options)
        paths = {
            key: (study.folder / value).resolve()
            for key in type(given).model_fields
            if isinstance(value := getattr(given, key), Path)
        }
        files = {key: _content(path) for key, path in paths.items()}
        told = given.model_dump(mode="json")
        found.append(Link(number, name, module, given.model_copy(update=paths), told, files, step))
    return found


def _content(path: Path) -> str:
    """What a file or folder holds, as a digest; the files of a folder by name and size. "" where there is nothing."""
    if path.is_file():
        return digest.of_file(path)
    listed = sorted((one.relative_to(path).as_posix(), one.stat().st_size) for one in path.rglob("*") if one.is_file())
    return digest.of_json(listed) if listed else ""


def problems(study: Study, where: str) -> list[Problem]:
    """What does not fit in the chain, before anything runs."""
    conditions = study.recipe.conditions
    absent = {"factors": not conditions.factors, "vector": not conditions.numbers, "box": True}
    planned = [name for name in PLANNED if not absent.get(name, False)]
    wrong = misfits([(link.name, link.ports) for link in links(study)], planned)
    remedy = "put a stage before it that makes what is needed, or name columns in recipe.conditions"
    return [Problem(where, text, remedy) for text in wrong]


def source(study: Study) -> Link:
    """The stage that first makes an image from the plan alone, else the first that makes one: it can be asked of it."""
    makers = [link for link in links(study) if "image" in link.ports.makes]
    alone = [link for link in makers if set(link.ports.needs) <= set(PLANNED)]
    return (alone or makers)[0]


def single(study: Study) -> Link | None:
    """The only stage of a recipe, or None where there are several: of a chain none speaks for the whole."""
    found = links(study)
    return found[0] if len(found) == 1 else None


def trained(study: Study, made: Made, count: int | None = None) -> list[dict[str, Any]]:
    """The first `count` stages with their weights, as `through` takes them; plain JSON values."""
    return [
        {"name": link.name, "version": link.module.version, "options": link.told, "weights": made[link.step]["weights"],
         "resolved": link.options.model_dump(mode="json")}
        for link in links(study)[:count]
    ]  # fmt: skip


def through(
    store: Store, chain: Sequence[Mapping[str, Any]], given: Arrays, seeds: Sequence[int]
) -> list[dict[str, np.ndarray]]:
    """What each stage makes of some items, in order; the seed of a later stage follows from that of the item."""
    now, outputs = dict(given), []
    for number, entry in enumerate(chain):
        stage = extensions.load(STAGES, entry["name"])
        options = stage.Options.model_validate(entry["resolved"])
        own = seeds if number == 0 else [derive(seed, entry["name"], number) for seed in seeds]
        made = stage.sample(store, entry["weights"], now, own, options)
        now |= made
        outputs.append(made)
    return outputs
