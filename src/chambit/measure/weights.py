"""Weights of feature networks: a file that is named with its SHA-256, read without running code, loaded strictly.

Nothing is ever downloaded. A study names path and digest; the digest is of the very bytes that are loaded, so a file
that was exchanged between the check and the loading is refused as well. Safetensors files hold numbers only. Files of
torch are read with `weights_only=True`, which refuses every pickle that needs more than tensors and plain containers.
"""

import pickle
from collections.abc import Iterable, Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import safetensors
import safetensors.torch
import torch
from torch import nn

from chambit.core import digest
from chambit.core.errors import InputError, Problem

_SHOWN = 5  # keys named in an error
_DIGITS = 12
_Network = TypeVar("_Network", bound=nn.Module)


class Weights(NamedTuple):
    """A file of weights.

    Attributes:
        path: the file.
        sha256: the digest it must have, 64 hexadecimal digits.
    """

    path: Path
    sha256: str


def check(weights: Weights) -> None:
    """See that the file is there and is the one that was named, without loading it.

    Raises:
        InputError: it cannot be read, or its SHA-256 is another.
    """
    try:
        found = digest.of_file(weights.path)
    except OSError as error:
        raise _unreadable(weights, error) from error
    _compare(weights, found)


def content(weights: Weights) -> bytes:
    """The bytes of the file, after the same check as `check` on these very bytes.

    Raises:
        InputError: it cannot be read, or its SHA-256 is another.
    """
    try:
        data = weights.path.read_bytes()
    except OSError as error:
        raise _unreadable(weights, error) from error
    _compare(weights, digest.of_bytes(data))
    return data


def tensors(weights: Weights, inside: Iterable[str] = (), prefixes: Iterable[str] = ()) -> dict[str, torch.Tensor]:
    """The tensors of a .safetensors, .pt or .pth file by name.

    Args:
        weights: the file and its digest.
        inside: names of tables to enter where the file wraps its tensors in them, for example `state_dict`, in order.
        prefixes: taken off the front of every name that begins so, in order, for example `module.`.

    Raises:
        InputError: the file is missing, has another digest, needs code to be read, or holds no table of tensors.
    """
    data = content(weights)
    table = _safe(weights, data) if weights.path.suffix in ("", ".safetensors") else _torch(weights, data)
    for name in inside:
        if isinstance(table, Mapping) and isinstance(table.get(name), Mapping):
            table = table[name]
    if not isinstance(table, Mapping) or not table or not all(isinstance(t, torch.Tensor) for t in table.values()):
        raise refusal(weights, "it holds no table of tensors by name", "save the network's state dict alone")
    out = {}
    for name, tensor in table.items():
        short = str(name)
        for prefix in prefixes:
            short = short.removeprefix(prefix)
        if short in out:
            raise refusal(weights, f"it holds '{short}' twice, with and without a prefix", "keep one of them")
        out[short] = tensor
    return out


def fit(
    network: _Network,
    found: Mapping[str, torch.Tensor],
    weights: Weights,
    what: str,
    allow_unused: Sequence[str] = (),
) -> _Network:
    """Load tensors into a network: every one it needs, in its shape, and no other; returns it in evaluation mode.

    The network may be built on torch's device `meta`, which costs nothing and leaves the random state alone. Counts of
    batches (`num_batches_tracked`) matter in training only and may be missing.

    Args:
        network: the network, on any device; its parameters are replaced by float32 ones.
        found: tensors by the names of the network's state dict.
        weights: where they are from, for the error.
        what: the network's name, for the error.
        allow_unused: beginnings of names that the file may hold and the network does not need.

    Raises:
        InputError: names missing or left over, another shape, or a value that is not finite.
    """
    needed = {name: tensor for name, tensor in network.state_dict().items() if not name.endswith("num_batches_tracked")}
    given = {name: tensor for name, tensor in found.items() if not name.endswith("num_batches_tracked")}
    given = {
        name: tensor for name, tensor in given.items() if name in needed or not name.startswith(tuple(allow_unused))
    }
    both = [name for name in needed if name in given]
    reasons = [
        _some("missing", [name for name in needed if name not in given]),
        _some("unexpected", [name for name in given if name not in needed]),
        _some(
            "of another shape",
            [
                f"{name} {tuple(given[name].shape)} instead of {tuple(needed[name].shape)}"
                for name in both
                if given[name].shape != needed[name].shape
            ],
        ),
    ]
    if any(reasons):
        reason = "; ".join(filter(None, reasons))
        raise refusal(weights, f"it is not a {what} network: {reason}", "name the file that belongs to this extractor")
    given = {name: tensor.float() for name, tensor in given.items()}
    if broken := [name for name in both if not torch.isfinite(given[name]).all()]:
        raise refusal(weights, _some("not finite", broken), "take an undamaged copy")
    network.load_state_dict(given, strict=False, assign=True)
    return network.eval().requires_grad_(False)


def refusal(weights: Weights, what: str, remedy: str) -> InputError:
    """The error for a file of weights that cannot be used."""
    return InputError("The weights cannot be used.", [Problem(str(weights.path), what, remedy)])


def _some(word: str, names: Sequence[str]) -> str:
    """`word: a, b and 3 more`, or nothing for no names."""
    if not names:
        return ""
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f"{word}: {', '.join(names[:_SHOWN])}{more}"


def _compare(weights: Weights, found: str) -> None:
    if found != weights.sha256.lower():
        what = f"its SHA-256 begins with {found[:_DIGITS]}, but {weights.sha256[:_DIGITS].lower()} was named"
        remedy = "name the file you mean, or its own digest if you trust it"
        raise refusal(weights, what, remedy)


def _unreadable(weights: Weights, error: OSError) -> InputError:
    what = "there is no such file" if isinstance(error, FileNotFoundError) else (error.strerror or str(error))
    return refusal(weights, what, f"put there the file whose SHA-256 begins with {weights.sha256[:_DIGITS]}")


def _safe(weights: Weights, data: bytes) -> Any:
    try:
        return safetensors.torch.load(data)
    except safetensors.SafetensorError as error:
        raise refusal(weights, f"it is not a safetensors file ({error})", "take an undamaged copy") from error


def _torch(weights: Weights, data: bytes) -> Any:
    try:
        return torch.load(BytesIO(data), map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError) as error:
        # where torch advises to run the code, the reason is the last line before its reference to the documentation
        advice, found, _ = str(error).strip().partition("\n\nCheck the documentation")
        line = advice.strip().split("\n")[-1 if found else 0].strip().removeprefix("WeightsUnpickler error:")
        reason = line.strip().split(". ")[0].strip() or type(error).__name__
        what = f"torch cannot read it without running code from it ({reason})"
        remedy = "where you trust it, load it and save its state dict with safetensors.torch.save_file"
        raise refusal(weights, what, remedy) from error
