"""A volume in three dimensions: its page and its NIfTI file, which NiiVue draws in the browser.

Where NiiVue is not installed the page says so and leads to the slices.
"""

from fastapi import APIRouter, Request
from fastapi.responses import Response

from chambit.hub import catalogue, factsheet, imagetable, volume
from chambit.hub.refusals import HubError, NotAllowedError, NotThereError
from chambit.web.asking import AnyHub, Asking
from chambit.web.pages import vendor
from chambit.web.rendering import page

router = APIRouter()
KEPT = {"cache-control": "private, no-cache", "vary": "cookie"}


@router.get("/catalogue/{study}/images/{name}/volume", include_in_schema=False)
def volume_page(request: Request, hub: AnyHub, session: Asking, study: str, name: str) -> Response:
    """The volume that an image is a slice of, in four panes; what stands in the way is said instead."""
    view = catalogue.of(hub, session.account, study)
    shown = imagetable.shown(view.images, name, {})
    found, why = None, None
    try:
        found = volume.of(view.images, name)
    except (NotThereError, NotAllowedError):
        raise
    except HubError as error:
        why = error
    return page(
        request, "catalogue_volume.html.j2", view=view, sheet=factsheet.card(hub, view), shown=shown, volume=found,
        why=why, niivue=vendor.installed("niivue"),
    )  # fmt: skip


@router.get("/catalogue/{study}/volume/{name}", tags=["catalogue"], response_class=Response)
def nifti(request: Request, hub: AnyHub, session: Asking, study: str, name: str) -> Response:
    """The volume that an image is a slice of, as .nii.gz; its header says that it is synthetic and no patient."""
    view = catalogue.of(hub, session.account, study)
    found = volume.of(view.images, name)
    headers = KEPT | {"etag": f'"{found.digest}"'}
    if found.digest in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    return Response(volume.packed(view.images, found), media_type="application/gzip", headers=headers)
