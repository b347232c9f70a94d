"""The trail: what was done, by whom and when, and whether its chain holds."""

from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response

from chambit.hub import accounts, studies, trail
from chambit.web.asking import AnyHub, Asking, must_have
from chambit.web.rendering import page

router = APIRouter(include_in_schema=False)
SHOWN = 200
"""Acts on a page."""
Text = Annotated[str, Query(max_length=200)]
Number = Annotated[int | None, Query(ge=1, le=2**53)]


@router.get("/trail")
def acts(
    request: Request, hub: AnyHub, session: Asking, about: Text = "", kind: Text = "", before: Number = None
) -> Response:
    """The newest acts, all or of one study or kind, and the check of the whole chain."""
    must_have(session, "steward", "inspector", "administrator", "approver")
    rows = trail.newest(hub.database, about or None, SHOWN + 1, kind or None, before)
    older = rows[SHOWN - 1].number if len(rows) > SHOWN else None
    rows = rows[:SHOWN]
    people = accounts.by_id(hub.database, {row.actor for row in rows})
    broken = trail.verify(hub.database)
    number, head = trail.head(hub.database)
    return page(
        request, "trail.html.j2", rows=rows, people=people, broken=broken, number=number, head=head, about=about,
        kind=kind, older=older, before=before, kinds=trail.kinds(hub.database), studies=studies.listed(hub.database),
    )  # fmt: skip
