"""Trained weights as one blob: tensors of the networks, further arrays, and a record in JSON."""

import json
from collections.abc import Mapping
from typing import Any, NamedTuple, TypeVar

import numpy as np
import torch
from torch import nn

from chambit.core.store import Store

N = TypeVar("N", bound=nn.Module)


class Kept(NamedTuple):
    """What `get` reads: the tensors of the network, further arrays, and the record."""

    network: dict[str, torch.Tensor]
    arrays: dict[str, np.ndarray]
    record: dict[str, Any]


def put(store: Store, network: nn.Module, record: Mapping[str, Any], **arrays: np.ndarray) -> str:
    """Keep a network's weights with a record of how to build it again; returns the digest."""
    tensors = {f"network.{name}": t.detach().cpu().contiguous().numpy() for name, t in network.state_dict().items()}
    written = np.frombuffer(json.dumps(record, sort_keys=True).encode(), np.uint8)
    return store.put_arrays(record=written, **tensors, **arrays)


def get(store: Store, weights: str) -> Kept:
    """What `put` kept under this digest."""
    arrays = store.get_arrays(weights)
    record = json.loads(arrays.pop("record").tobytes())
    names = [name for name in arrays if name.startswith("network.")]
    network = {name.removeprefix("network."): torch.from_numpy(arrays.pop(name)) for name in names}
    return Kept(network, arrays, record)


def placed(network: N, place: torch.device) -> N:
    """The network on a device, in the order of memory that convolutions are fastest in."""
    network.to(place)
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return network


def facts(store: Store, weights: str) -> dict[str, Any]:
    """What training measured, as the stage wrote it."""
    measured: dict[str, Any] = get(store, weights).record["facts"]
    return measured
