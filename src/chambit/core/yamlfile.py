"""YAML files of our own and of institutions, read with libyaml where PyYAML was built with it (ten times as fast)."""

from pathlib import Path
from typing import Any

import yaml

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def read(path: Path) -> Any:
    """What a file says: mappings, lists, text, numbers, nothing else.

    Raises:
        OSError, UnicodeDecodeError, yaml.YAMLError: when it cannot be read.
    """
    return yaml.load(path.read_text(encoding="utf-8"), Loader=_LOADER)
