"""The trail: what was done, by whom and when, and whether its chain holds."""

from fastapi import APIRouter, Request
from fastapi.responses import Response

from chambit.hub import accounts, trail
from chambit.web.asking import AnyHub, Asking, must_have
from chambit.web.rendering import page

router = APIRouter(include_in_schema=False)


@router.get("/trail")
def acts(request: Request, hub: AnyHub, session: Asking, about: str = "") -> Response:
    """The newest acts, and the check of the whole chain."""
    must_have(session, "steward", "inspector", "administrator", "approver")
    rows = trail.newest(hub.database, about or None, 200)
    people = accounts.by_id(hub.database, {row.actor for row in rows})
    broken = trail.verify(hub.database)
    number, head = trail.head(hub.database)
    return page(
        request, "trail.html.j2", rows=rows, people=people, broken=broken, number=number, head=head, about=about
    )
