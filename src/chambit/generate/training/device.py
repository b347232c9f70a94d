"""Where networks run: a graphics processor when there is one, else the processor.

The environment variable `CHAMBIT_DEVICE` overrides the choice: `cpu` or `cuda`. Random numbers are drawn on the
processor either way, so that one seed means one noise; results of two kinds of device agree but for rounding.
"""

import os
from typing import Any

import torch

from chambit.core.errors import InputError, Problem

VARIABLE = "CHAMBIT_DEVICE"


def choose() -> torch.device:
    """The device of this process; of several graphics processors the one of its local rank.

    Raises:
        InputError: when the variable names something else, or a graphics processor that is not there.
    """
    wanted = os.environ.get(VARIABLE, "").strip().lower()
    if wanted not in ("", "cpu", "cuda"):
        raise InputError("The device is not known.", [Problem(VARIABLE, f"is '{wanted}'", "cpu or cuda, or unset it")])
    there = torch.cuda.is_available()
    if wanted == "cuda" and not there:
        remedy = f"unset {VARIABLE}, or install a torch built for this machine's graphics processor"
        raise InputError("The device is not there.", [Problem(VARIABLE, "torch finds no graphics processor", remedy)])
    if wanted == "cpu" or not there:
        return torch.device("cpu")
    return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")) % torch.cuda.device_count())


def autocast(where: torch.device) -> Any:
    """A context in which layers compute in bfloat16."""
    return torch.autocast(where.type, torch.bfloat16)
