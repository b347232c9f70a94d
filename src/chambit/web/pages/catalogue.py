"""The catalogue: sets in a list, one set on a plain page, its images as a grid and one by one; the same as JSON.

Nothing can be handed out yet, and every page says so. Pictures are answered with the pixels that were measured or not
at all; they stay in the browser of the person who asked.
"""

import io
from collections.abc import Mapping, Sequence
from functools import lru_cache
from itertools import groupby
from typing import Annotated, Any
from urllib.parse import urlencode

import numpy as np
from fastapi import APIRouter, Query, Request
from fastapi.responses import Response
from pydantic import BaseModel, Field

from chambit.hub import catalogue, factsheet, imagetable, volume
from chambit.hub.catalogue import View
from chambit.hub.factsheet import Card, Sheet
from chambit.hub.hub import Hub
from chambit.hub.refusals import HubError
from chambit.hub.sessions import Session
from chambit.images import geometry, imageset
from chambit.images.geometry import Geometry
from chambit.review.board.ballot import TIERS
from chambit.review.board.process import State
from chambit.web.asking import AnyHub, Asking
from chambit.web.rendering import page

router = APIRouter()
Words = Annotated[str, Query(max_length=200)]
Number = Annotated[int, Query(ge=1, le=10**9)]
Size = Annotated[int, Query(ge=1, le=1000)]
COLUMN = "c."
"""What stands before the name of a column in an address."""
METADATA = "metadata"
SIDE = 192
"""Pixels of the longer side of a thumbnail; smaller pictures are not enlarged."""
BUNDLE = 16 << 20
"""Bytes of frames that are answered at once; a longer film is asked for piece by piece."""
NOTICE = "AI-generated synthetic image; not for diagnosis. 인공지능으로 생성한 합성영상, 진단용 아님."
KEPT = {"cache-control": "private, max-age=3600", "vary": "cookie"}


class Listing(BaseModel):
    """Sets that match: how many, and each in a line."""

    total: int
    sets: list[Card]


class Item(BaseModel):
    """One image: its id, label, digest of its pixels, film or volume with its place in it, and what else is told."""

    id: str
    label: str
    sha256: str
    series: str
    frame: str
    told: dict[str, str]
    pixels: str = Field(description="address of its grey levels")
    thumbnail: str


class Items(BaseModel):
    """A page of images; `pages` and `page` count from 1."""

    total: int
    page: int
    pages: int
    items: list[Item]


# ------------------------------------------------------------------------------------------------- pages


@router.get("/catalogue", include_in_schema=False)
def catalogue_page(
    request: Request, hub: AnyHub, session: Asking, q: Words = "", tier: Words = "", state: Words = "",
    label: Words = "",
) -> Response:  # fmt: skip
    """The list of sets, searched by words and narrowed by tier, state and label."""
    every = _cards(hub, session)
    found = [one for one in every if _wanted(one, q, tier, state, label)]
    states = [one.value for one in State if any(card.state == one.value for _, card in every)]
    return page(
        request, "catalogue.html.j2", cards=[card for _, card in found], total=len(every), states=states,
        tiers=[METADATA, *TIERS[1:]], labels=sorted({name for _, card in every for name in card.labels}),
        asked={"q": q, "tier": tier, "state": state, "label": label},
    )  # fmt: skip


@router.get("/catalogue/{study}", include_in_schema=False)
def set_page(request: Request, hub: AnyHub, session: Asking, study: str) -> Response:
    """One set on a plain page."""
    view = catalogue.of(hub, session.account, study)
    return page(request, "catalogue_set.html.j2", view=view, sheet=factsheet.sheet(hub, view))


@router.get("/catalogue/{study}/images", include_in_schema=False)
def images_page(request: Request, hub: AnyHub, session: Asking, study: str) -> Response:
    """Thumbnails of a set, sixty a page."""
    view = catalogue.of(hub, session.account, study)
    where, number = _where(request), request.query_params.get("page", "1")
    shown = imagetable.page(view.images, where, int(number) if number.isdecimal() and len(number) < 10 else 1)
    table = imagetable.table(view.study.folder)
    return page(
        request, "catalogue_images.html.j2", view=view, sheet=factsheet.card(hub, view), shown=shown, where=where,
        table=table, form=imagetable.form(view.images), query=lambda **more: _query(where, **more),
        unit=_unit(view), column=COLUMN,
    )  # fmt: skip


@router.get("/catalogue/{study}/images/{name}", include_in_schema=False)
def image_page(request: Request, hub: AnyHub, session: Asking, study: str, name: str) -> Response:
    """One image in the viewer, with its row of facts."""
    view = catalogue.of(hub, session.account, study)
    where = _where(request)
    shown = imagetable.shown(view.images, name, where)
    table = imagetable.table(view.study.folder)
    rows = {one["id"]: one["label"] for one in imagetable.rows_of(view.images, shown.frames)}
    labels = [rows[one] for one in shown.frames]
    pixels, _ = imagetable.picture(view.images, name)
    return page(
        request, "catalogue_image.html.j2", view=view, sheet=factsheet.card(hub, view), shown=shown, table=table,
        where=where, pixels=pixels, labels=labels, stages=_stages(labels), unit=_unit(view), space=_space(shown.row),
        query=lambda **more: _query(where, **more),
    )  # fmt: skip


# ---------------------------------------------------------------------------------------------- pictures


@router.get("/catalogue/{study}/pixels/{name}", tags=["catalogue"], response_class=Response)
def pixels(hub: AnyHub, session: Asking, study: str, name: str) -> Response:
    """Grey levels, little-endian uint16, row by row; `X-Width` and `X-Height` say how many. 8 bits are scaled by 257.

    A picture in colour comes as its PNG.
    """
    view = catalogue.of(hub, session.account, study)
    found, data = imagetable.picture(view.images, name)
    size = {"x-width": str(found.shape[1]), "x-height": str(found.shape[0])}
    if found.ndim == 3:
        return Response(data, media_type="image/png", headers=KEPT | size)
    return Response(_levels(found), media_type="application/octet-stream", headers=KEPT | size)


@router.get("/catalogue/{study}/frames/{name}", tags=["catalogue"], response_class=Response)
def frames(
    hub: AnyHub, session: Asking, study: str, name: str, first: Annotated[int, Query(ge=0, le=10**6)] = 0
) -> Response:
    """Frames of an image's film or volume in their order from `first` on, grey levels as of `pixels`, in one piece.

    `X-Frames` says how many came and `X-Length` how many there are; what does not fit is asked for again.
    """
    view = catalogue.of(hub, session.account, study)
    rows = imagetable.sequence(view.images, name)
    shape, found, room = None, [], BUNDLE
    for one in rows[first:]:
        now, _ = imagetable.checked(view.images, one)
        shape = shape or now.shape
        if now.ndim == 3 or now.shape != shape:
            raise HubError(
                "크기가 다르거나 컬러인 프레임은 이어서 볼 수 없습니다.",
                "Frames in colour or of several sizes cannot be looked at one after another.",
            )
        found.append(_levels(now))
        room -= len(found[-1])
        if room < len(found[-1]):
            break
    height, width = shape or (0, 0)
    said = {"x-width": width, "x-height": height, "x-frames": len(found), "x-length": len(rows)}
    headers = KEPT | {key: str(value) for key, value in said.items()}
    return Response(b"".join(found), media_type="application/octet-stream", headers=headers)


@router.get("/catalogue/{study}/thumb/{name}", tags=["catalogue"], response_class=Response)
def thumb(hub: AnyHub, session: Asking, study: str, name: str) -> Response:
    """A small PNG of 8 bits that says in its text that it is AI-generated."""
    return thumbnail(catalogue.of(hub, session.account, study), name)


def thumbnail(view: View, name: str) -> Response:
    """The small PNG of an image that a person may look at."""
    one = imagetable.row(view.images, name)
    path = imagetable.file_of(view.images, one)
    there = path.stat()
    made = _thumb(view.images, name, one["sha256"], (there.st_mtime_ns, there.st_size, there.st_ino))
    return Response(made, media_type="image/png", headers=KEPT)


@lru_cache(maxsize=4096)
def _thumb(images: imagetable.Images, name: str, _digest: str, _stamp: tuple[int, int, int]) -> bytes:
    from PIL import Image as Picture
    from PIL.PngImagePlugin import PngInfo

    found, _ = imagetable.picture(images, name)
    small = Picture.fromarray((found >> 8).astype(np.uint8) if found.dtype == np.uint16 else found)
    small.thumbnail((SIDE, SIDE), Picture.Resampling.LANCZOS)
    text, buffer = PngInfo(), io.BytesIO()
    text.add_itxt("Comment", NOTICE)
    small.save(buffer, "PNG", pnginfo=text)
    return buffer.getvalue()


# -------------------------------------------------------------------------------------------------- JSON


@router.get("/api/catalogue", tags=["catalogue"])
def listing(
    hub: AnyHub, session: Asking, q: Words = "", tier: Words = "", state: Words = "", label: Words = ""
) -> Listing:
    """Sets this account may know of; `tier` is one of metadata, safe_zone, gated, open."""
    found = [card for view, card in _cards(hub, session) if _wanted((view, card), q, tier, state, label)]
    return Listing(total=len(found), sets=found)


@router.get("/api/catalogue/{study}", tags=["catalogue"])
def one_set(hub: AnyHub, session: Asking, study: str) -> Sheet:
    """Everything that is told of one set."""
    return factsheet.sheet(hub, catalogue.of(hub, session.account, study))


@router.get("/api/catalogue/{study}/images", tags=["catalogue"])
def images(
    request: Request, hub: AnyHub, session: Asking, study: str, number: Annotated[Number, Query(alias="page")] = 1,
    size: Size = imagetable.PAGE, label: Words = "",
) -> Items:  # fmt: skip
    """Images of a set, of films and volumes each frame; further columns are asked for as `c.NAME=VALUE`."""
    view = catalogue.of(hub, session.account, study)
    shown = imagetable.page(view.images, _where(request), number, size, whole=True)
    told = imagetable.table(view.study.folder).told
    at = f"/catalogue/{study}"
    items = [
        Item(
            id=row["id"], label=row["label"], sha256=row["sha256"], series=row["series"], frame=row["frame"],
            told={name: row[name] for name in told}, pixels=f"{at}/pixels/{row['id']}",
            thumbnail=f"{at}/thumb/{row['id']}",
        )
        for row in shown.rows
    ]  # fmt: skip
    return Items(total=shown.total, page=shown.number, pages=shown.pages, items=items)


def _cards(hub: Hub, session: Session) -> list[tuple[View, Card]]:
    """Every set as a line; one whose files cannot be read is left out."""
    found = []
    for view in catalogue.listed(hub, session.account):
        try:
            found.append((view, factsheet.card(hub, view)))
        except (OSError, ValueError):
            continue
    return found


def _wanted(one: tuple[View, Card], q: str, tier: str, state: str, label: str) -> bool:
    view, card = one
    fits = (not tier or (card.tier or METADATA) == tier) and (not state or card.state == state)
    return fits and (not label or label in card.labels) and factsheet.matches(view, q)


def _where(request: Request) -> dict[str, str]:
    """The values asked for by column, from `label` and the columns of an address; empty ones are left out."""
    given = request.query_params
    found = {key.removeprefix(COLUMN): value for key, value in given.items() if key.startswith(COLUMN) and value}
    return ({"label": given["label"]} if given.get("label") else {}) | found


def _query(where: Mapping[str, str], **more: Any) -> str:
    """An address's end that asks for the same again, and for more."""
    named = {key if key == "label" else COLUMN + key: value for key, value in where.items()}
    whole = named | {key: value for key, value in more.items() if value}
    return f"?{urlencode(whole)}" if whole else ""


def _unit(view: View) -> str:
    """Whether the images of a series are slices of a volume or frames of a film."""
    return "slice" if volume.holds(view.study.folder) else "frame"


def _levels(pixels: np.ndarray) -> bytes:
    """Grey levels of uint8 or uint16 pixels as little-endian uint16 of full scale."""
    return imageset.full_scale(pixels).astype("<u2").tobytes()


def _stages(labels: Sequence[str]) -> list[tuple[str, int, int]]:
    """Label, first frame and number of frames of every stretch of one label; none where the label never changes.

    >>> _stages(["1-cell", "2-cell", "2-cell"]), _stages(["sound", "sound"])
    ([('1-cell', 0, 1), ('2-cell', 1, 2)], [])
    """
    found, first = [], 0
    for label, stretch in groupby(labels):
        count = len(list(stretch))
        found.append((label, first, count))
        first += count
    return found if len(found) > 1 else []


def _space(row: Mapping[str, str]) -> Geometry:
    """What the numbers of an image mean; nothing where its table says what cannot be understood."""
    try:
        return geometry.of(row)
    except ValueError:
        return Geometry()
