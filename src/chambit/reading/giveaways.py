"""Where readers point when they call an image synthetic, and whether they point elsewhere on images that are not.

Clicks fall into a grid. `hits` are clicks on synthetic images that were called synthetic, `alarms` clicks on real
images that were called synthetic. The number is the share of hits in the cell that has most of them. Where people
look for artefacts at all, alarms gather, too; so the share is held against what it is when the kinds of the clicked
images are dealt out anew (all clicks on one image stay together):

    p = (1 + number of permutations with a share at least as large) / (1 + permutations)    (Phipson and Smyth 2010,
                                                                                             doi:10.2202/1544-6115.1585)

Known failure: with few alarms there is nothing to hold the hits against, and p is near 1 however plain the place is.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from chambit.core.errors import InputError, Problem
from chambit.reading.votes import Vote


class Giveaways(NamedTuple):
    """Clicks on what gave images away.

    Attributes:
        hits: int (cells, cells), rows from the top, clicks on synthetic images called synthetic.
        alarms: int (cells, cells), clicks on real images called synthetic.
        cell: (row, column) with most hits, or None.
        share: share of hits in that cell, or None.
        alarm_share: share of alarms in that cell, or None.
        null: mean share in the fullest cell when kinds are permuted, or None.
        p: of the permutation test, or None.
        images: clicked images: (synthetic, real).
        reason: why there is no p.
    """

    hits: np.ndarray
    alarms: np.ndarray
    cell: tuple[int, int] | None
    share: float | None
    alarm_share: float | None
    null: float | None
    p: float | None
    images: tuple[int, int]
    reason: str = ""


def giveaways(votes: Sequence[Vote], cells: int, permutations: int, rng: np.random.Generator) -> Giveaways:
    """Density of clicks, and whether hits gather where alarms do not.

    Args:
        votes: of one study; practice, repeats and votes without a click are left out.
        cells: rows and columns of the grid, 1 to 64.
        permutations: how often kinds are dealt out anew.
        rng: for the permutations.

    Raises:
        InputError: when the grid is none.
    """
    if not 1 <= cells <= 64:
        raise InputError("clicks cannot be mapped", [Problem("cells", f"{cells} rows", "choose 1 to 64")])
    maps, synthetic = _maps(votes, cells)
    hits, alarms = maps[synthetic].sum(0), maps[~synthetic].sum(0)
    images = int(synthetic.sum()), int((~synthetic).sum())
    found = Giveaways(hits.reshape(cells, cells), alarms.reshape(cells, cells), None, None, None, None, None, images)
    if not hits.any():
        return found._replace(reason="no click on a synthetic image")
    best, share = int(hits.argmax()), float(hits.max() / hits.sum())
    found = found._replace(cell=(best // cells, best % cells), share=share)
    if not alarms.any():
        return found._replace(reason="no click on a real image to compare with")
    null = np.array([_fullest(maps[rng.permutation(len(maps))[: images[0]]]) for _ in range(permutations)])
    p = (1 + int((null >= share - 1e-12).sum())) / (1 + permutations)
    return found._replace(alarm_share=float(alarms[best] / alarms.sum()), null=float(null.mean()), p=p)


def _maps(votes: Sequence[Vote], cells: int) -> tuple[np.ndarray, np.ndarray]:
    """Clicks on each image that was called synthetic, int (images, cells^2), and whether it is, bool (images,)."""
    clicked = [vote for vote in votes if vote.counted and vote.called_synthetic and vote.giveaway is not None]
    number = {name: k for k, name in enumerate(sorted({vote.item for vote in clicked}))}
    synthetic = np.zeros(len(number), bool)
    maps = np.zeros((len(number), cells * cells), int)
    for vote in clicked:
        x, y = (min(int(place * cells), cells - 1) for place in vote.giveaway or (0.0, 0.0))
        maps[number[vote.item], y * cells + x] += 1
        synthetic[number[vote.item]] = vote.kind == "synthetic"
    return maps, synthetic


def _fullest(maps: np.ndarray) -> float:
    clicks = maps.sum(0)
    return float(clicks.max() / max(1, clicks.sum()))
