"""The second task: is the label right, is the image plausible, and what is it rejected for.

An image is right where the reader answers `yes`; `unsure` is not yes. It is plausible where no reason to reject it was
given. Shares are over first readings of one kind of image, with readers and images at random (`crossed`). Real images
are asked the same questions, because a share of synthetic images says little without that of real ones.
"""

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from chambit.reading.protocol import Kind
from chambit.reading.votes import Table, Vote


class Answers(NamedTuple):
    """Readers x images of a `Table`, NaN where nothing was answered.

    Attributes:
        right: 1.0 where the label was called right, else 0.0; float64 (R, N).
        plausible: 1.0 where there was no reason to reject, else 0.0; float64 (R, N).
        quality: float64 (R, N), 1 .. 5.
        unsure: 1.0 where the reader was unsure of the label, else 0.0; float64 (R, N).
    """

    right: np.ndarray
    plausible: np.ndarray
    quality: np.ndarray
    unsure: np.ndarray


def answers(votes: Sequence[Vote], like: Table) -> Answers:
    """Answers of first readings in the rows and columns of a table; other votes are left out."""
    row = {name: k for k, name in enumerate(like.readers)}
    column = {name: k for k, name in enumerate(like.items)}
    found = Answers(*(np.full(like.scores.shape, np.nan) for _ in Answers._fields))
    for vote in votes:
        if not vote.counted or vote.reader not in row or vote.plausibility is None:
            continue
        place, said = (row[vote.reader], column[vote.item]), vote.plausibility
        found.right[place] = said.label == "yes"
        found.unsure[place] = said.label == "unsure"
        found.plausible[place] = not said.reject
        found.quality[place] = said.quality
    return found


def reasons(votes: Sequence[Vote], kind: Kind) -> dict[str, int]:
    """How often each reason to reject was given on first readings of one kind of image."""
    count = Counter(
        reason
        for vote in votes
        if vote.counted and vote.kind == kind and vote.plausibility is not None
        for reason in vote.plausibility.reject
    )
    return dict(sorted(count.items()))
