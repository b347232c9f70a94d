"""Colour: how far the pooled colours of two sets are apart (mean 1-Wasserstein distance of Cb and Cr).

    d = mean over Cb, Cr of integral |F_real(c) - F_synthetic(c)| dc,   F the distribution of all pixels

As `intensity` for grey levels, and with the same blindness: a colour in the wrong place is not seen. Everything else is
measured by luminance, so a set may be faithful there and wrong in colour alone. Grey sets have nothing to report.
"""

from dataclasses import replace

import numpy as np
import polars as pl

from chambit.images.imageset import ImageSet
from chambit.measure import similarity
from chambit.measure.examination import Examination, Result

version = "1"
QUANTITIES = {"distance": "lower"}


class Options(similarity.Options):
    """draws: splits of the band; level: of the interval; pairs: of groups of subjects that make the halves."""

    extractors: tuple[str, ...] = ("chroma",)
    pairs: int = 31


def measure(exam: Examination, options: Options) -> Result:
    """Distance of the synthetic set's colours to those of the holdout, whole and part by part; nothing of grey sets."""
    sets = {role: whole(images) for role, images in exam.sets.items()}
    if not any(len(images.shape) == 3 for images in sets.values()):
        return Result(())
    return similarity.one_distance(replace(exam, sets=sets), f"colour@{version}", options, options.pairs, distance)


def whole(images: ImageSet) -> ImageSet:
    """The images at full size and in colour, where the set keeps them beside those it is measured on."""
    if "full_block" not in images.table.columns:
        return images
    return ImageSet(images.store, images.table.with_columns(block=pl.col("full_block"), row=pl.col("full_row")))


def distance(real: np.ndarray, other: np.ndarray) -> float:
    """Mean 1-Wasserstein distance of the pooled Cb and Cr, in units of their range [0, 1].

    Args:
        real: features `chroma` (N, 128) of one set.
        other: features `chroma` (M, 128) of the other.
    """
    gap = np.cumsum((real.mean(0) - other.mean(0)).reshape(2, -1), 1)
    return float(np.abs(gap).sum() / gap.size)
