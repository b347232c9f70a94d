"""One file adds one thing: its file name is its public name, its docstring's first line is its help.

Built-ins are listed from the folder and read with `ast`, so listing imports nothing. Third parties register the same
kind of module under an entry point group named like the folder's package, for example `chambit.measure.safety`. A clash
of names or a broken module is an error that names the file and the cause; nothing is skipped in silence.
"""

import ast
import importlib
import importlib.metadata
import importlib.util
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

from chambit.core.errors import ExtensionError, Problem

_KINDS = {
    "engines": "engine",
    "stages": "stage",
    "refine": "refinement",
    "readers": "reader",
    "kinds": "kind of phantoms",
    "providers": "image service",
    "embed": "extractor",
    "utility": "measure",
    "safety": "measure",
}


class Extension(NamedTuple):
    """A file that can be loaded: public name, first line of its docstring, module path, file."""

    name: str
    help: str
    module: str
    file: str


def listing(package: str) -> dict[str, Extension]:
    """All extensions of one kind by name, without importing any.

    Args:
        package: the folder as a package, for example `chambit.measure.safety`.

    Raises:
        ExtensionError: when a file is not Python in UTF-8, has no docstring, or two files claim one name.
    """
    found = {}
    for file in sorted(_folder(package).glob("*.py")):
        if not file.stem.startswith("_"):
            found[file.stem] = Extension(file.stem, _first_line(file), f"{package}.{file.stem}", str(file))
    for point in importlib.metadata.entry_points(group=package):
        if point.name in found:
            raise ExtensionError(
                f"Two extensions are called '{point.name}'.",
                [
                    Problem(
                        point.value,
                        f"the name is taken by {found[point.name].file}",
                        "rename or uninstall one",
                    )
                ],
            )
        found[point.name] = Extension(point.name, f"(from {point.dist and point.dist.name})", point.value, point.value)
    return found


def load(package: str, name: str) -> ModuleType:
    """Import one extension.

    Raises:
        ExtensionError: when there is none of that name, or importing it fails (with the cause).
    """
    found = listing(package)
    if name not in found:
        folder = package.rsplit(".", 1)[-1]
        kind = _KINDS.get(folder, folder)
        raise ExtensionError(f"There is no {kind} called '{name}'. There are: {', '.join(found) or 'none'}.")
    try:
        return importlib.import_module(found[name].module)
    except Exception as error:  # the file is of others: anything can come
        what, remedy = f"{type(error).__name__}: {error}", "mend it"
        if isinstance(error, ImportError):
            what, remedy = str(error), "install what it needs"
        raise ExtensionError(f"'{name}' could not be loaded.", [Problem(found[name].file, what, remedy)]) from error


def _folder(package: str) -> Path:
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise ExtensionError(f"'{package}' is not a folder of extensions.")
    return Path(next(iter(spec.submodule_search_locations)))


def _first_line(file: Path) -> str:
    told = file.stat()
    return _read(file, told.st_mtime_ns, told.st_size)


@cache
def _read(file: Path, written: int, size: int) -> str:
    # Every measure is looked up many times in a run: parsing all of them each time took a quarter of an audit.
    try:
        text = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8")))
    except (SyntaxError, ValueError) as error:  # ValueError: not UTF-8, or with null characters
        problem = Problem(str(file), str(error), "mend it, and save it as UTF-8")
        raise ExtensionError("An extension is not Python.", [problem]) from error
    if not text:
        raise ExtensionError("An extension says nothing about itself.", [Problem(str(file), "it has no docstring")])
    return text.splitlines()[0]
