"""What stages are given and what they make: named arrays with one row for each item.

An item is a picture, a sequence in time or a volume. The names and what they mean are fixed, so that stages made by
different people fit together, and a chain that does not fit is refused before anything runs.

    label    int64 (N,), of sequences with a class for each frame (N, D): index of the class
    finding  bool (N,): whether the item shall show a finding
    factors  int64 (N, F): index of the level of each factor (sex, modality ...), -1 where it is not known
    vector   float32 (N, V): numbers of each item (age, hours, size ...) in their own units, NaN where not known
    box      float32 (N, 4): top, left, bottom, right as shares of height and width, NaN for no box
    mask     float32 (N[, D], H, W) in [0, 1]: where the finding is
    layout   uint8 (N[, D], H, W): index of the part at each pixel, 0 where there is none
    image    float32 (N[, D], H, W[, 3]) in [0, 1]: D frames or slices where the items have an axis, 3 where coloured
    rank     int64 (N,): which item of its label it is, over the whole sample
    donors   object (N,): for images put together of parts, a list for each item, see `Donor`
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import numpy as np

from chambit.images.imageset import ImageSet

Arrays = Mapping[str, np.ndarray]
"""Named arrays as above, all of one length."""
Earlier = Callable[[int], dict[str, np.ndarray]]
"""What the stages before this one make: `earlier(count)` draws that many items, the same ones at every call."""

NAMES = ("label", "finding", "rank", "factors", "vector", "box", "mask", "layout", "image", "donors")
PLANNED = ("label", "finding", "rank", "factors", "vector", "box")
"""What the plan of the sample can say of an item before any stage has run."""


class Ports(NamedTuple):
    """What the `sample` of a stage needs, what it uses where it is given, and what it makes."""

    needs: tuple[str, ...] = ()
    takes: tuple[str, ...] = ()
    makes: tuple[str, ...] = ("image",)


class Donor(NamedTuple):
    """One part of a composed image: its name, the real subject it owes most to, and its share of the image's pixels."""

    part: str
    subject: str
    share: float


class Form(NamedTuple):
    """The form of the items: `axis` says what D is, `length` is D (1 without an axis), `channels` is 1 or 3."""

    height: int
    width: int
    channels: int = 1
    axis: Literal["", "time", "depth"] = ""
    length: int = 1

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one item's image: ([D,] H, W[, 3])."""
        frames = (self.length,) if self.axis else ()
        return (*frames, self.height, self.width, *((3,) if self.channels == 3 else ()))


@dataclass(frozen=True)
class Examples:
    """Real items a stage is trained on.

    Attributes:
        images: the training part; rows of one item lie together, in the order of the axis.
        form: of the items, at the size they are stored in.
        classes: names of the labels, in order.
        masks: bool (rows, H, W) of the finding, or None.
        layouts: uint8 (rows, H, W) of the parts, or None.
        factors: column of the table -> its levels, in order.
        numbers: columns of the table that make the vector.
        earlier: draws from the stages before this one; None for the first stage.
    """

    images: ImageSet
    form: Form
    classes: tuple[str, ...]
    masks: np.ndarray | None = None
    layouts: np.ndarray | None = None
    factors: Mapping[str, tuple[str, ...]] | None = None
    numbers: tuple[str, ...] = ()
    earlier: Earlier | None = None

    def __len__(self) -> int:
        return len(self.images) // self.form.length

    def take(self, items: np.ndarray) -> "Examples":
        """These items, in this order."""
        rows = (np.asarray(items, np.int64)[:, None] * self.form.length + np.arange(self.form.length)).ravel()
        return replace(
            self,
            images=self.images.take(rows),
            masks=None if self.masks is None else self.masks[rows],
            layouts=None if self.layouts is None else self.layouts[rows],
        )

    def image(self) -> np.ndarray:
        """All images, float32 (N[, D], H, W[, 3]) in [0, 1]."""
        return self._items(self.images.colour() if self.form.channels == 3 else self.images.grey())

    def mask(self) -> np.ndarray | None:
        """Masks of the finding, bool (N[, D], H, W), or None."""
        return None if self.masks is None else self._items(self.masks)

    def layout(self) -> np.ndarray | None:
        """Parts, uint8 (N[, D], H, W), or None."""
        return None if self.layouts is None else self._items(self.layouts)

    def label(self) -> np.ndarray:
        """Class of each item, int64 (N,); of each frame, (N, D), where frames of one item differ in it."""
        place = {name: number for number, name in enumerate(self.classes)}
        of_rows = self._items(np.array([place[label] for label in self.images.labels], np.int64))
        if not self.form.axis or (of_rows != of_rows[:, :1]).any():
            return of_rows
        return np.ascontiguousarray(of_rows[:, 0])

    def factor(self) -> np.ndarray:
        """Level of each factor, int64 (N, F), by the first row of an item; -1 where it is none of the levels."""
        columns = []
        for name, levels in (self.factors or {}).items():
            place = {level: number for number, level in enumerate(levels)}
            columns.append([place.get(str(value), -1) for value in self._first(name)])
        return np.array(columns, np.int64).reshape(len(columns), len(self)).T

    def vector(self) -> np.ndarray:
        """The numbers of each item, float32 (N, V), by its first row; NaN where a cell is empty or no number."""
        rows = [[_number(value) for value in self._first(name)] for name in self.numbers]
        return np.array(rows, np.float32).reshape(len(rows), len(self)).T

    def subject(self) -> np.ndarray:
        """Subject of each item, str (N,)."""
        return self.images.subjects[:: self.form.length]

    def _items(self, rows: np.ndarray) -> np.ndarray:
        return rows.reshape(-1, self.form.length, *rows.shape[1:]) if self.form.axis else rows

    def _first(self, column: str) -> Sequence[object]:
        values: Sequence[object] = self.images.table[column].to_list()[:: self.form.length]
        return values


def _number(value: object) -> float:
    try:
        return float(str(value))
    except ValueError:
        return float("nan")


def misfits(chain: Sequence[tuple[str, Ports]], planned: Sequence[str]) -> list[str]:
    """What is wrong with stages in this order, in words; empty when each has what it needs and an image comes out.

    Args:
        chain: name and ports of each stage.
        planned: what the plan of the sample gives.

    >>> misfits([("sdm", Ports(needs=("layout",)))], ["label"])
    ["'sdm' needs layout, which neither an earlier stage nor the plan gives; there is: label"]
    """
    there, wrong = list(planned), []
    for name, ports in chain:
        if lacking := [need for need in ports.needs if need not in there]:
            having = ", ".join(there) or "nothing"
            wrong.append(
                f"'{name}' needs {', '.join(lacking)}, which neither an earlier stage nor the plan gives; "
                f"there is: {having}"
            )
        there += [made for made in ports.makes if made not in there]
    if chain and not any("image" in ports.makes for _, ports in chain):
        wrong.append("no stage makes an image")
    return wrong
