"""Any generator as a Python function: `function(labels, seeds, shape) -> array`, named as `module:function` or a file.

    labels: list of str, the class of each image       seeds: list of int, one for each image
    shape:  tuple, ([D,] H, W[, 3]) of one image       array: (N, *shape), floats in [0, 1] or uint8

Each image must follow from its own label and seed, or a sample could not be made again in parts: `train` asks for some
images together and for each alone and refuses a function that answers differently. Its code runs in this process with
this program's rights; run none that was not read. Errors inside it are told with its name and line.
"""

import importlib
import importlib.util
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
from pydantic import Field, model_validator

from chambit.core import digest
from chambit.core.errors import InputError, Problem
from chambit.core.evidence import Frozen
from chambit.core.steps import Context
from chambit.core.store import Store
from chambit.generate.items import Arrays, Examples, Ports

version = "1"
ALIKE = 1e-3  # largest difference of one image drawn alone and among others: batched arithmetic rounds differently


class Options(Frozen):
    """call: `package.module:function`, or a function of `file`; file: a Python file; tried: images of the trial."""

    call: str = Field(pattern=r"^([\w.]+:)?[A-Za-z_]\w*$")
    file: Path | None = None
    tried: int = Field(3, ge=2, le=64)

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        if (self.file is None) == (":" not in self.call):
            raise ValueError("name `file` and its function, or `package.module:function`")
        return self


def ports(options: Options) -> Ports:
    """A label goes in, an image comes out."""
    return Ports(needs=("label",), makes=("image",))


def train(context: Context, examples: Examples, options: Options, watch: object = None) -> str:
    """Try the function on a few images and keep what it is.

    Args:
        context: of the running step.
        examples: the form and the classes are used, the images are not.
        options: see `Options`.
        watch: not called: nothing is learned here.

    Returns:
        Digest of the function's name, its file's digest, classes and shape.

    Raises:
        InputError: when there is no such function, it fails, or its images do not follow from their own label and seed.
    """
    called = _function(options)
    classes, shape = list(examples.classes), examples.form.shape
    labels = [classes[k % len(classes)] for k in range(options.tried)]
    seeds = [context.seed(f"trial {k}") for k in range(options.tried)]
    together = _called(called, options.call, labels, seeds, shape)
    for k in reversed(range(options.tried)):
        alone = _called(called, options.call, labels[k : k + 1], seeds[k : k + 1], shape)[0]
        if np.abs(alone - together[k]).max() > ALIKE:
            problem = Problem(
                options.call,
                f"the image of label {labels[k]} and seed {seeds[k]} is another one when it is drawn alone",
                "let each image follow from its own label and seed",
            )
            raise InputError("The function cannot be used.", [problem])
    source = getattr(sys.modules.get(called.__module__), "__file__", None)
    about = {
        "call": options.call,
        "file": digest.of_file(Path(source)) if source else "",
        "classes": classes,
        "shape": list(shape),
    }
    return context.store.put_json(about)


def sample(store: Store, weights: str, given: Arrays, seeds: Sequence[int], options: Options) -> dict[str, np.ndarray]:
    """Call the function.

    Args:
        store: where `train` left what it is.
        weights: digest that `train` returned.
        given: `label`.
        seeds: seed of each image.
        options: those of training.

    Returns:
        `image`: float32 (N, *shape) in [0, 1].

    Raises:
        InputError: when the file changed since training, or the function fails.
    """
    about = store.get_json(weights)
    called = _function(options)
    source = getattr(sys.modules.get(called.__module__), "__file__", None)
    if about["file"] != (digest.of_file(Path(source)) if source else ""):
        problem = Problem(options.call, "its file is not the one that was tried", "run the study's training again")
        raise InputError("The function has changed.", [problem])
    labels = [about["classes"][int(number)] for number in given["label"]]
    return {"image": _called(called, options.call, labels, [int(seed) for seed in seeds], tuple(about["shape"]))}


def _function(options: Options) -> Callable[..., Any]:
    place, _, name = options.call.rpartition(":")
    where = options.file.name if options.file else place
    try:
        module = _of_file(options.file) if options.file else importlib.import_module(place)
    except Exception as error:  # foreign code: anything can come
        raise InputError("The function cannot be loaded.", [Problem(where, _told(error), "mend it")]) from error
    found = getattr(module, name, None)
    if not callable(found):
        raise InputError("There is no such function.", [Problem(options.call, f"{where} has no function '{name}'")])
    return found  # type: ignore[no-any-return]


def _of_file(path: Path) -> Any:
    path = path.resolve()
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path.name}")
    # named by content: a file that was edited is another module, in workers and in one long-lived process alike
    name = f"chambit_external_{digest.of_file(path)[:16]}"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, path)
        if spec is None or spec.loader is None:
            raise ImportError(f"{path.name} is no Python file")
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        try:
            spec.loader.exec_module(module)
        except BaseException:
            del sys.modules[name]
            raise
    return sys.modules[name]


def _called(
    function: Callable[..., Any], call: str, labels: list[str], seeds: list[int], shape: tuple[int, ...]
) -> np.ndarray:
    """What the function makes, checked: float32 (N, *shape) in [0, 1]."""
    try:
        made = np.asarray(function(list(labels), list(seeds), shape))
    except Exception as error:
        raise InputError("The function failed.", [Problem(call, _told(error), "mend it")]) from error
    wrong = ""
    if made.shape != (len(labels), *shape):
        wrong = f"gave {made.shape}, not {(len(labels), *shape)}"
    elif made.dtype != np.uint8 and not np.issubdtype(made.dtype, np.floating):
        wrong = f"gave {made.dtype}, not floats in [0, 1] or uint8"
    else:
        made = made.astype(np.float32) / np.float32(255) if made.dtype == np.uint8 else made.astype(np.float32)
        if not np.isfinite(made).all() or made.min() < 0 or made.max() > 1:
            wrong = f"gave values from {made.min():g} to {made.max():g}, not in [0, 1]"
    if wrong:
        raise InputError("The function's images cannot be used.", [Problem(call, wrong, "see the stage `external`")])
    return made


def _told(error: Exception) -> str:
    """The error with the last line of foreign code it passed."""
    frames = traceback.extract_tb(error.__traceback__)
    last = f" (line {frames[-1].lineno} of {Path(frames[-1].filename).name})" if frames else ""
    return f"{type(error).__name__}: {error}{last}"
