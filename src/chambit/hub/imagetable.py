"""The images of a set as the catalogue shows them: rows of its table, page by page, and their pixels.

The table is the candidate's own `labels.csv`, which the digest of the set covers; the scores of single images that lie
beside the set compare them with patients and are not read here. A picture is given out only with the very pixels that
were measured, never through a link and never from elsewhere.
"""

import io
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import polars as pl

from chambit.core import digest
from chambit.hub import runs
from chambit.hub.refusals import HubError, NotAllowedError, NotThereError
from chambit.images import geometry

SAMPLE = 20
"""Images that are shown of a set which is not open."""
MOST = 0.1
"""The share of a set that a single film or volume with more images than `SAMPLE` may be to be shown whole."""
PAGE = 60
FEW = 40
"""A column with more values than this is filtered by typing."""
TABLE = "labels.csv"
OWN = ("id", "file", "subject", "label", "sha256", "series", "frame")
"""Columns that every table has; all others but those of `images.geometry` are facts the generator was told."""

_EACH = pl.when(pl.col("series") == "").then(pl.col("id")).otherwise(pl.col("series")).alias("_each")
"""What an image belongs to: its film or volume, or itself."""

Reach = Literal["all", "sample", "none"]


class Images(NamedTuple):
    """The images of a run's candidate, as far as somebody may look at them."""

    folder: Path
    reach: Reach


class Form(NamedTuple):
    """What the first image of a set is: width and height in pixels, bits of a channel, whether there is colour."""

    width: int
    height: int
    bits: int
    colour: bool


class Table(NamedTuple):
    """The rows of a set.

    Attributes:
        rows: all of them as text, columns `OWN` and those told.
        told: names of the columns the generator was told.
        values: every value of `label` and of told columns that have few.
        counts: images of each label, most frequent first.
        series: how many films or volumes the images belong to; 0 where each stands for itself.
    """

    rows: pl.DataFrame
    told: tuple[str, ...]
    values: dict[str, tuple[str, ...]]
    counts: dict[str, int]
    series: int


class Page(NamedTuple):
    """One page of rows: numbers from 1, and what each row holds."""

    total: int
    number: int
    pages: int
    rows: list[dict[str, str]]


class Shown(NamedTuple):
    """One image among those that were asked for.

    Attributes:
        row: what is known of it.
        place: where it stands among them, from 1; 0 when it is not among them.
        total: how many they are.
        before: id of the one before, '' where there is none.
        after: id of the one after.
        frames: ids of its film or volume in their order, or only its own.
    """

    row: dict[str, str]
    place: int
    total: int
    before: str
    after: str
    frames: tuple[str, ...]


def table(folder: Path) -> Table:
    """The rows of a run's candidate, read again when the file has changed; none where it has no table."""
    path = folder / runs.CANDIDATE / TABLE
    there = path.stat() if path.is_file() and not path.is_symlink() else None
    return _table(path, (there.st_mtime_ns, there.st_size, there.st_ino) if there else None)


@lru_cache(maxsize=8)
def _table(path: Path, stamp: tuple[int, ...] | None) -> Table:
    needed = {"file", "label", "pixels_sha256"}
    raw = pl.read_csv(path, infer_schema=False).fill_null("") if stamp else pl.DataFrame()
    if not needed <= set(raw.columns):
        empty = pl.DataFrame(schema=dict.fromkeys(OWN, pl.String))
        return Table(empty, (), {"label": ()}, {}, 0)
    name = pl.col("file").str.extract(r"([^/]+)\.png$").fill_null("")
    rows = raw.rename({"pixels_sha256": "sha256"}).with_columns(id=name).filter(pl.col("id") != "")
    has = {column: column in rows.columns for column in ("subject", "series", "frame")}
    rows = rows.with_columns(pl.lit("").alias(column) for column, there in has.items() if not there)
    told = tuple(column for column in rows.columns if column not in (*OWN, *geometry.COLUMNS))
    values = {}
    for column in ("label", *told):
        found = rows[column].unique().sort()
        if column == "label" or len(found) <= FEW:
            values[column] = tuple(found)
    counted = rows["label"].value_counts(sort=True)
    series = rows["series"].replace("", None).n_unique() - int((rows["series"] == "").any())
    return Table(rows, told, values, dict(counted.iter_rows()), series)


def visible(images: Images) -> pl.DataFrame:
    """The rows an account may look at: all, a sample spread over the set that is always the same, or none.

    Films and volumes are in a sample whole, as many as have about `SAMPLE` images, and one longer than that where it is
    at most `MOST` of the set; of larger ones single slices are shown.
    """
    there = table(images.folder)
    rows = there.rows
    if images.reach == "all":
        return rows
    if images.reach == "none":
        return rows.clear()
    each = rows.select(_EACH).unique(maintain_order=True)
    whole = SAMPLE * len(each) // max(1, len(rows))
    if not there.series or (whole < 1 and MOST * len(each) < 1):
        return _spread(rows, SAMPLE)
    shown = _spread(each, max(1, whole))
    return rows.filter(_EACH.is_in(shown["_each"].implode()))


def _spread(rows: pl.DataFrame, count: int) -> pl.DataFrame:
    return rows.gather_every(max(1, len(rows) // count)).head(count)


def asked(images: Images, where: Mapping[str, str], whole: bool = False) -> pl.DataFrame:
    """The visible rows that have these values; of a film or volume the first row alone, unless `whole`."""
    rows = visible(images)
    for column, value in where.items():
        if column not in rows.columns:
            return rows.clear()
        rows = rows.filter(pl.col(column) == value)
    if whole or not table(images.folder).series:
        return rows
    return rows.lazy().with_columns(_EACH).unique("_each", keep="first", maintain_order=True).drop("_each").collect()


def faces(images: Images) -> pl.DataFrame:
    """The visible rows; of a film or volume its middle one, because the first slices of a volume often show nothing."""
    rows = visible(images)
    if not table(images.folder).series:
        return rows
    frame = pl.col("frame").cast(pl.Int64, strict=False)
    middle = pl.int_range(pl.len()).over("_each") == pl.len().over("_each") // 2
    ordered = rows.lazy().with_columns(_EACH, _at=frame, _row=pl.int_range(pl.len())).sort("_each", "_at", "_row")
    return ordered.filter(middle).sort("_row").drop("_each", "_at", "_row").collect()


def page(images: Images, where: Mapping[str, str], number: int, size: int = PAGE, whole: bool = False) -> Page:
    """One page of the rows that have these values; a number beyond the last gives the last."""
    rows = asked(images, where, whole)
    pages = max(1, -(-len(rows) // size))
    number = min(max(1, number), pages)
    return Page(len(rows), number, pages, rows.slice((number - 1) * size, size).to_dicts())


def strip(images: Images, count: int = 6) -> list[str]:
    """Ids of a few images, of as many labels as there are."""
    rows = faces(images)
    if len(rows) > 50 * count:
        rows = rows.gather_every(len(rows) // (50 * count))
    turn = pl.int_range(pl.len()).over("label")
    chosen = rows.lazy().with_columns(_turn=turn).sort("_turn", maintain_order=True).head(count).collect()
    return chosen["id"].to_list()


def row(images: Images, name: str) -> dict[str, str]:
    """What is known of one image.

    Raises:
        NotThereError: when the table has none of this id.
        NotAllowedError: when this account may not look at it.
    """
    found = visible(images).filter(pl.col("id") == name)
    if len(found):
        return found.row(0, named=True)
    if (table(images.folder).rows["id"] == name).any():
        raise NotAllowedError(
            "이 영상은 지금의 개방 등급에서 볼 수 없습니다. 표본이 있으면 표본만 볼 수 있습니다.",
            "The tier of this set does not show this image; where there is a sample, only that may be looked at.",
        )
    raise NotThereError("그런 영상이 없습니다.", "There is no such image.")


def rows_of(images: Images, names: Sequence[str]) -> list[dict[str, str]]:
    """What is known of several images; those that may not be looked at are left out."""
    return visible(images).filter(pl.col("id").is_in(list(names))).to_dicts()


def shown(images: Images, name: str, where: Mapping[str, str]) -> Shown:
    """One image, its neighbours among those that were asked for, and its film or volume; raises as `row`."""
    one = row(images, name)
    every = asked(images, where)
    column = "series" if one["series"] else "id"
    at = every[column].index_of(one[column])
    ids = every["id"]
    frames = tuple(each["id"] for each in sequence(images, name))
    if at is None:
        return Shown(one, 0, len(every), "", "", frames)
    before, after = (ids[at - 1] if at else ""), (ids[at + 1] if at + 1 < len(every) else "")
    return Shown(one, at + 1, len(every), before, after, frames)


def sequence(images: Images, name: str) -> list[dict[str, str]]:
    """The rows of an image's film or volume in their order, as far as they may be looked at; raises as `row`."""
    one = row(images, name)
    if not one["series"]:
        return [one]
    film = visible(images).filter(pl.col("series") == one["series"])
    return film.sort(pl.col("frame").cast(pl.Int64, strict=False), maintain_order=True).to_dicts()


def length(images: Images, one: Mapping[str, str]) -> int:
    """How many images the film or volume of a row has, whether they may be looked at or not."""
    return int((table(images.folder).rows["series"] == one["series"]).sum()) if one["series"] else 1


# ----------------------------------------------------------------------------------------------- pictures


def file_of(images: Images, one: Mapping[str, str]) -> Path:
    """Where the picture of a row lies.

    Raises:
        NotThereError: when it is not a file of the candidate itself: a link, elsewhere, or gone.
    """
    candidate = images.folder / runs.CANDIDATE
    path = candidate / one["file"]
    inside = path.resolve().is_relative_to(candidate.resolve()) and ".." not in Path(one["file"]).parts
    linked = any(step.is_symlink() for step in (path, *path.parents) if step.is_relative_to(candidate))
    if not inside or linked or not path.is_file():
        raise NotThereError("이 영상의 파일이 세트 안에 없습니다.", "The file of this image is not in the set.")
    return path


def picture(images: Images, name: str) -> tuple[np.ndarray, bytes]:
    """The pixels of one image, uint8 or uint16 (H, W) or (H, W, 3), and the bytes of its file.

    Raises:
        NotThereError: as `row` and `file_of`.
        NotAllowedError: as `row`.
        HubError: when the pixels are not those that were measured.
    """
    return checked(images, row(images, name))


def checked(images: Images, one: Mapping[str, str]) -> tuple[np.ndarray, bytes]:
    """Pixels and file of a row, when they are what was measured; raises as `picture`."""
    data = file_of(images, one).read_bytes()
    try:
        pixels = pixels_of(data)
    except (OSError, SyntaxError, ValueError):  # what Pillow raises for a damaged file
        pixels = None
    if pixels is None or digest.of_array(pixels) != one["sha256"]:
        raise HubError(
            "이 영상은 측정한 것과 화소가 다릅니다. 보여 드리지 않습니다.",
            "The pixels of this image are not those that were measured. It is not shown.",
        )
    return pixels, data


def stamp(images: Images, one: Mapping[str, str]) -> tuple[int, int, int]:
    """What changes when the file of a row does: its time, its size and its number on the disk; raises as `file_of`."""
    there = file_of(images, one).stat()
    return there.st_mtime_ns, there.st_size, there.st_ino


def pixels_of(data: bytes) -> np.ndarray:
    """The pixels of a PNG file, uint8 or uint16, as they were written."""
    from PIL import Image as Picture

    with Picture.open(io.BytesIO(data), formats=["PNG"]) as opened:
        return np.asarray(opened)


def form(images: Images) -> Form | None:
    """What the first image is; None where there is none."""
    rows = table(images.folder).rows
    return form_of(images, rows.row(0, named=True)) if len(rows) else None


def form_of(images: Images, one: Mapping[str, str]) -> Form:
    """What the image of a row is, by the head of its file; raises as `file_of`."""
    from PIL import Image as Picture

    path = file_of(images, one)
    try:
        with Picture.open(path, formats=["PNG"]) as opened:
            deep, colour = opened.mode.startswith("I"), opened.mode in ("RGB", "RGBA")
            return Form(*opened.size, 16 if deep else 8, colour)
    except (OSError, SyntaxError, ValueError):
        raise HubError(
            f"영상 {one['id']}의 파일이 손상되어 읽을 수 없습니다.", f"The file of image {one['id']} is damaged."
        ) from None
