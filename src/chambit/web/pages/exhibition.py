"""The exhibition corner: exhibited sets, the wall of one, its map, the game; open to visitors where it is set so."""

from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import RedirectResponse, Response
from pydantic import BaseModel

from chambit.hub import factsheet
from chambit.hub.exhibition import atlas, exhibits, game, wall
from chambit.hub.exhibition.game import SIDES
from chambit.hub.refusals import NotThereError
from chambit.web.asking import AnyHub, Visiting
from chambit.web.pages import catalogue, vendor
from chambit.web.rendering import page

router = APIRouter()
KEPT = {"cache-control": "private, max-age=3600", "vary": "cookie"}
Count = Annotated[int, Query(ge=0, le=9999)]


class Mapped(BaseModel):
    """The map of a set: points of synthetic images, and the areas of real ones; see `chambit.hub.exhibition.atlas`."""

    points: list[tuple[float, float, int]]
    ids: list[str]
    labels: list[str]
    areas: str
    cells: int


@router.get("/exhibition", include_in_schema=False)
def every(request: Request, hub: AnyHub, who: Visiting) -> Response:
    """All sets that are exhibited to whoever asks."""
    views = exhibits.listed(hub, who)
    return page(
        request, "exhibition.html.j2", exhibits=[(view, factsheet.card(hub, view)) for view in views],
        preview=exhibits.preview, playable=exhibits.playable,
    )  # fmt: skip


@router.get("/exhibition/{study}", include_in_schema=False)
def wall_page(request: Request, hub: AnyHub, who: Visiting, study: str) -> Response:
    """All images side by side, to be zoomed into."""
    view = exhibits.of(hub, who, study)
    hung = wall.hung(hub, view)
    ready = isinstance(hung, wall.Layout)
    return page(
        request, "exhibition_wall.html.j2", view=view, sheet=factsheet.card(hub, view), preview=exhibits.preview(view),
        playable=exhibits.playable(view), wall=hung if ready else None, share=None if ready else hung,
        zoom=vendor.installed("openseadragon"),
    )  # fmt: skip


@router.get("/exhibition/{study}/tiles/{level}/{column}_{row}.jpg", include_in_schema=False)
def tile(hub: AnyHub, who: Visiting, study: str, level: int, column: int, row: int) -> Response:
    """A tile of the wall."""
    found = wall.tile(hub, exhibits.of(hub, who, study), level, column, row)
    return Response(found, media_type="image/jpeg", headers=KEPT)


@router.get("/exhibition/{study}/thumb/{name}", include_in_schema=False)
def thumb(hub: AnyHub, who: Visiting, study: str, name: str) -> Response:
    """A small picture of one image."""
    return catalogue.thumbnail(exhibits.of(hub, who, study), name)


@router.get("/exhibition/{study}/place/{number}", include_in_schema=False)
def place(hub: AnyHub, who: Visiting, study: str, number: int) -> Response:
    """From a place on the wall to the image that hangs there."""
    view = exhibits.of(hub, who, study)
    hung = wall.hung(hub, view)
    if not isinstance(hung, wall.Layout) or not 0 <= number < len(hung.ids):
        raise NotThereError("이 자리에는 영상이 없습니다.", "No image hangs there.")
    return RedirectResponse(f"/catalogue/{study}/images/{hung.ids[number]}", 303)


@router.get("/exhibition/{study}/map", include_in_schema=False)
def map_page(request: Request, hub: AnyHub, who: Visiting, study: str) -> Response:
    """The map of a set."""
    view = exhibits.of(hub, who, study)
    drawn = atlas.drawn(hub, view)
    ready = isinstance(drawn, atlas.Map)
    return page(
        request, "exhibition_map.html.j2", view=view, sheet=factsheet.card(hub, view), preview=exhibits.preview(view),
        playable=exhibits.playable(view), drawn=drawn if ready else None, share=None if ready else drawn,
        rows=_by_label(drawn) if isinstance(drawn, atlas.Map) else {},
    )  # fmt: skip


@router.get("/api/exhibition/{study}/map", tags=["exhibition"])
def mapped(hub: AnyHub, who: Visiting, study: str) -> Mapped:
    """Points of synthetic images, and in how many areas of real ones each cell lies."""
    drawn = atlas.drawn(hub, exhibits.of(hub, who, study))
    if not isinstance(drawn, atlas.Map):
        raise NotThereError("지도를 그리고 있습니다.", "The map is being drawn.")
    return Mapped(
        points=list(drawn.points), ids=list(drawn.ids), labels=list(drawn.labels), areas=drawn.areas, cells=drawn.cells
    )


@router.get("/exhibition/{study}/game", include_in_schema=False)
def game_page(
    request: Request, hub: AnyHub, who: Visiting, study: str, asked: Annotated[str, Query(max_length=16)] = "",
    pick: Annotated[str, Query(max_length=5)] = "", right: Count = 0, of: Count = 0,
) -> Response:  # fmt: skip
    """One round; with an answer, whether it was right, and the way to the next."""
    view = exhibits.of(hub, who, study)
    answered = bool(asked) and pick in SIDES
    name = asked if answered else game.token()
    one = game.of(view, name)
    if answered:
        right, of = right + (pick == one.side), of + 1
    return page(
        request, "exhibition_game.html.j2", view=view, sheet=factsheet.card(hub, view), preview=exhibits.preview(view),
        playable=True, asked=name, answered=answered, one=one, pick=pick, right=min(right, of), of=of, sides=SIDES,
    )  # fmt: skip


@router.get("/exhibition/{study}/game/{name}/{side}.png", include_in_schema=False)
def picture(hub: AnyHub, who: Visiting, study: str, name: str, side: str) -> Response:
    """One of the two pictures of a round."""
    return Response(game.picture(exhibits.of(hub, who, study), name, side), media_type="image/png")


def _by_label(drawn: atlas.Map) -> dict[str, list[float]]:
    """For each label how many points there are, and what share of them lies in each area: the map in words."""
    rows: dict[str, list[float]] = {}
    for at, label in enumerate(drawn.labels):
        own = [(x, y) for x, y, which in drawn.points if which == at]
        depth = [
            int(drawn.areas[min(int(y * drawn.cells), drawn.cells - 1) * drawn.cells
                            + min(int(x * drawn.cells), drawn.cells - 1)])
            for x, y in own
        ]  # fmt: skip
        rows[label] = [len(own), *(sum(one > 2 - k for one in depth) / len(own) for k in range(3))]
    return rows
