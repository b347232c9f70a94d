"""What one reader sees, in which order: a function of (protocol, number of the reader), and of nothing else.

Practice comes first. Then each image once in an order of the reader's own, in small runs of 10 with 5 of each kind, so
that neither kind is early or late. Some images come a second time, in the later half, at least 20 places after the
first time; where the set is too small for that, at the very end. Presentations are cut into blocks of nearly equal
length.

The id of a trial is HMAC-SHA256(secret, protocol, reader, position): who does not hold the secret learns neither order
nor kind from it.
"""

import hashlib
import hmac
from collections.abc import Sequence
from typing import NamedTuple, TypeVar

import numpy as np

from chambit.core import seeds
from chambit.core.errors import InputError, Problem
from chambit.reading.protocol import KINDS, Kind, Protocol

T = TypeVar("T")
RUN = 10  # presentations in which both kinds are equally frequent
APART = 20  # places between the two showings of one image
SECRET_LEAST = 16  # bytes; a shorter secret could be tried out


class Trial(NamedTuple):
    """One presentation.

    Attributes:
        id: 32 hexadecimal digits without meaning, all that a reader's screen may carry.
        position: 0, 1 ... over the whole session, practice included.
        block: 0 for practice, then 1, 2 ...
        item: name of the image, see `items`; the caller knows which picture that is.
        kind: what the image is.
        repeat: the image was shown before.
        practice: never counted.
    """

    id: str
    position: int
    block: int
    item: str
    kind: Kind
    repeat: bool
    practice: bool


def items(protocol: Protocol) -> dict[str, Kind]:
    """Names of all images of the set and what they are: `real-0000` ..., `synthetic-0000` ...; no practice images."""
    count = {"real": protocol.real, "synthetic": protocol.synthetic}
    return {f"{kind}-{number:04d}": kind for kind in KINDS for number in range(count[kind])}


def practice_items(protocol: Protocol) -> dict[str, Kind]:
    """Names of the practice images, half of each kind: `practice-real-00` ..., none of which is in `items`."""
    return {f"practice-{kind}-{number:02d}": kind for kind in KINDS for number in range(protocol.practice // 2)}


def plan(protocol: Protocol, reader: int, secret: bytes) -> tuple[Trial, ...]:
    """All presentations of one reader, in order.

    Args:
        protocol: the study.
        reader: number of the reader, 0 or more; each has an order that does not depend on how many there are.
        secret: key of the opaque ids, 16 bytes or more, kept where readers cannot see it.

    Raises:
        InputError: when the number is negative or the secret too short.
    """
    if reader < 0 or len(secret) < SECRET_LEAST:
        what = "the number is negative" if reader < 0 else f"the secret has {len(secret)} bytes"
        raise InputError(
            "presentations cannot be planned", [Problem(f"reader {reader}", what, f"{SECRET_LEAST} bytes or more")]
        )
    rng = seeds.generator(protocol.seed, "reading order", reader)
    kinds = practice_items(protocol) | items(protocol)
    trained = _shuffled(list(practice_items(protocol)), rng)
    shown = _with_repeats(_in_runs(protocol, rng), kinds, protocol.repeated, rng)
    blocks = [0] * len(trained) + _blocks(len(shown), protocol.block)
    rows = [(name, False, True) for name in trained] + [(name, again, False) for name, again in shown]
    head = f"{protocol.digest}\x1f{reader}\x1f"
    return tuple(
        Trial(_opaque(secret, f"{head}{position}"), position, blocks[position], name, kinds[name], again, practice)
        for position, (name, again, practice) in enumerate(rows)
    )


def _opaque(secret: bytes, text: str) -> str:
    return hmac.new(secret, text.encode(), hashlib.sha256).hexdigest()[:32]


def _shuffled(names: Sequence[T], rng: np.random.Generator) -> list[T]:
    return [names[k] for k in rng.permutation(len(names))]


def _in_runs(protocol: Protocol, rng: np.random.Generator) -> list[str]:
    """Each image once; both kinds in the reader's own order, mixed anew within each run of 10."""
    kinds = items(protocol)
    real, synthetic = (_shuffled([name for name, one in kinds.items() if one == kind], rng) for kind in KINDS)
    order: list[str] = []
    for first in range(0, len(real), RUN // 2):
        part = slice(first, first + RUN // 2)
        order += _shuffled(real[part] + synthetic[part], rng)
    return order


def _with_repeats(
    order: list[str], kinds: dict[str, Kind], each: int, rng: np.random.Generator
) -> list[tuple[str, bool]]:
    """The order with `each` images of each kind shown again: (name, is a repeat)."""
    count = len(order)
    slots = np.linspace(min(max(APART, count // 2), count), count, 2 * each + 1)[1:].astype(int).tolist()
    wanted = _shuffled([kind for kind in KINDS for _ in range(each)], rng)
    after: dict[int, list[str]] = {}  # number of first showings -> what comes again then
    chosen: set[str] = set()
    late = []
    for slot, kind in zip(slots, wanted, strict=True):
        free = [name for name in order[: max(0, slot - APART + 1)] if kinds[name] == kind and name not in chosen]
        if not free:
            late.append(kind)
            continue
        chosen.add(name := free[int(rng.integers(len(free)))])
        after.setdefault(slot, []).append(name)
    rest: set[str] = set()  # the set is too small: what was seen first comes again at the end
    for kind in late:
        rest.add(next(name for name in order if kinds[name] == kind and name not in chosen | rest))
    after.setdefault(count, []).extend(name for name in order if name in rest)
    return [
        one
        for place in range(count + 1)
        for one in [(again, True) for again in after.get(place, [])]
        + [(name, False) for name in order[place : place + 1]]
    ]


def _blocks(count: int, most: int) -> list[int]:
    """Numbers 1, 2 ... of blocks of nearly equal length, none above `most`.

    >>> _blocks(7, 3)
    [1, 1, 1, 2, 2, 3, 3]
    """
    return [number for number, part in enumerate(np.array_split(np.arange(count), -(-count // most)), 1) for _ in part]
