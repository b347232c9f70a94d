"""One file adds one thing: its file name is its public name, its docstring's first line is its help.

Built-ins are listed from the folder and read with `ast`, so listing imports nothing. Third parties register the same
kind of module under an entry point group named like the folder's package, for example `chambit.measure.safety`. A clash
of names or a broken module is an error that names the file and the cause; nothing is skipped in silence.
"""

import ast
import importlib
import importlib.metadata
import importlib.util
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

from chambit.core.errors import ExtensionError, Problem


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
        ExtensionError: when a file has no docstring or two files claim one name.
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
        kind = package.rsplit(".", 1)[-1]
        raise ExtensionError(f"There is no {kind} called '{name}'. There are: {', '.join(found) or 'none'}.")
    try:
        return importlib.import_module(found[name].module)
    except ImportError as error:
        raise ExtensionError(
            f"'{name}' could not be loaded.", [Problem(found[name].file, str(error), "install what it needs")]
        ) from error


def _folder(package: str) -> Path:
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise ExtensionError(f"'{package}' is not a folder of extensions.")
    return Path(next(iter(spec.submodule_search_locations)))


def _first_line(file: Path) -> str:
    try:
        text = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8")))
    except SyntaxError as error:
        raise ExtensionError("An extension is not Python.", [Problem(str(file), str(error), "mend it")]) from error
    if not text:
        raise ExtensionError("An extension says nothing about itself.", [Problem(str(file), "it has no docstring")])
    return text.splitlines()[0]
