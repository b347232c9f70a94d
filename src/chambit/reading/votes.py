"""Votes as they were cast, and the tables of readers and images that all statistics start from.

Only first readings count: practice is left out, a repeat serves agreement of a reader with himself alone.
"""

from collections.abc import Sequence
from typing import Annotated, Literal, NamedTuple

import numpy as np
from pydantic import Field

from chambit.core.errors import InputError, Problem
from chambit.core.evidence import Frozen
from chambit.reading.protocol import SCALE_MIDDLE, Kind

PSEUDONYM = r"^[A-Za-z0-9_-]{1,32}$"  # no blank and no comma: no name of a person, and safe in every export

Place = Annotated[float, Field(ge=0, le=1)]


class Reader(Frozen):
    """Who read, under a pseudonym: from outside the team or not, and the experience in the team's own words."""

    pseudonym: str = Field(pattern=PSEUDONYM)
    outside: bool
    experience: str = ""


class Plausibility(Frozen):
    """Answers to the second task: is the label right, quality from 1 (poor) to 5, names of reasons to reject."""

    label: Literal["yes", "no", "unsure"]
    quality: int = Field(ge=1, le=5)
    reject: tuple[str, ...] = ()


class Vote(Frozen):
    """One answer of one reader.

    Attributes:
        study: digest of the protocol.
        reader: pseudonym.
        trial: opaque id of the presentation.
        item: the image.
        kind: what the image is; the reader did not know.
        repeat: the image was shown to this reader before.
        practice: never counted.
        score: 1 (surely real) to 6 (surely synthetic).
        plausibility: answers to the second task, or None.
        giveaway: where the reader clicked as what gave the image away, (x, y) in [0, 1] from the top left, or None.
        seconds: from showing to answer.
        moves: changes of window and zoom.
        position: 0, 1 ... over the session.
        block: 0 for practice, then 1, 2 ...
        hour: hour of the day where the reader sat, 0 to 23.
    """

    study: str = Field(min_length=1)
    reader: str = Field(pattern=PSEUDONYM)
    trial: str = Field(min_length=1)
    item: str = Field(min_length=1)
    kind: Kind
    repeat: bool
    practice: bool
    score: int = Field(ge=1, le=6)
    plausibility: Plausibility | None = None
    giveaway: tuple[Place, Place] | None = None
    seconds: float = Field(ge=0)
    moves: int = Field(ge=0)
    position: int = Field(ge=0)
    block: int = Field(ge=0)
    hour: int = Field(ge=0, le=23)

    @property
    def counted(self) -> bool:
        """Whether it is a first reading of an image of the set."""
        return not self.repeat and not self.practice

    @property
    def called_synthetic(self) -> bool:
        """Whether the score lies on the synthetic side of the scale."""
        return self.score > SCALE_MIDDLE

    @property
    def correct(self) -> bool:
        """Whether the call is right."""
        return self.called_synthetic == (self.kind == "synthetic")


class Table(NamedTuple):
    """Readers x images.

    Attributes:
        readers: R pseudonyms, sorted.
        items: N names, sorted.
        synthetic: bool (N,).
        scores: float64 (R, N), 1 .. 6, NaN where a reader did not see an image.
    """

    readers: tuple[str, ...]
    items: tuple[str, ...]
    synthetic: np.ndarray
    scores: np.ndarray

    @property
    def called(self) -> np.ndarray:
        """1.0 where the image was called synthetic, 0.0 where real, NaN where missing; float64 (R, N)."""
        return np.where(np.isnan(self.scores), np.nan, (self.scores > SCALE_MIDDLE).astype(np.float64))

    @property
    def correct(self) -> np.ndarray:
        """1.0 where the call is right, 0.0 where wrong, NaN where missing; float64 (R, N)."""
        return np.where(self.synthetic, self.called, 1 - self.called)

    @property
    def finished(self) -> np.ndarray:
        """Share of the images each reader answered, float64 (R,)."""
        return np.asarray((~np.isnan(self.scores)).mean(1))

    def of(self, rows: np.ndarray) -> "Table":
        """The readers for whom bool (R,) says True, all images."""
        names = tuple(name for name, keep in zip(self.readers, rows, strict=True) if keep)
        return self._replace(readers=names, scores=self.scores[rows])


def table(votes: Sequence[Vote]) -> Table:
    """First readings as a table of readers and images.

    Raises:
        InputError: when there is none, when votes are of several studies, when an image has two kinds, or when one
            reader has two first readings of one image.
    """
    kinds = checked(votes)
    counted = [vote for vote in votes if vote.counted]
    readers, names = sorted({vote.reader for vote in counted}), sorted(kinds)
    row, column = {name: k for k, name in enumerate(readers)}, {name: k for k, name in enumerate(names)}
    scores = np.full((len(readers), len(names)), np.nan)
    for vote in counted:
        scores[row[vote.reader], column[vote.item]] = vote.score
    return Table(tuple(readers), tuple(names), np.array([kinds[name] == "synthetic" for name in names]), scores)


def checked(votes: Sequence[Vote]) -> dict[str, Kind]:
    """Whether votes are of one study and contradict nothing; the kind of each image with a first reading.

    Raises:
        InputError: as `table`.
    """
    kinds: dict[str, Kind] = {}
    seen: set[tuple[str, str, bool]] = set()
    problems = []
    for vote in votes:
        if vote.practice:
            continue
        if kinds.setdefault(vote.item, vote.kind) != vote.kind:
            problems.append(Problem(f"image {vote.item}", "it is real in one vote and synthetic in another"))
        if (key := (vote.reader, vote.item, vote.repeat)) in seen:
            what = "two repeats" if vote.repeat else "two first readings"
            problems.append(Problem(f"reader {vote.reader}, image {vote.item}", what, "keep the first answer"))
        seen.add(key)
    if len({vote.study for vote in votes}) > 1:
        problems.append(Problem("votes", "they are of several studies", "analyse each protocol by itself"))
    if not any(vote.counted for vote in votes):
        problems.append(Problem("votes", "there is no first reading"))
    if problems:
        raise InputError("the votes cannot be analysed", problems)
    first = {vote.item for vote in votes if vote.counted}
    return {name: kind for name, kind in kinds.items() if name in first}
