"""A volume in three dimensions: its page, its NIfTI file, and NiiVue, which draws it in the browser.

NiiVue is no part of the repository: `make setup` fetches it into `web/vendor`. Without it the page says so and leads to
the slices.
"""

from pathlib import Path

from fastapi import APIRouter, Request
from fastapi.responses import FileResponse, Response

from chambit.hub import catalogue, factsheet, imagetable, volume
from chambit.hub.refusals import HubError, NotAllowedError, NotThereError
from chambit.web.asking import AnyHub, Asking
from chambit.web.rendering import page

router = APIRouter()
NIIVUE = Path(__file__).parents[1] / "vendor" / "niivue"
FILES = {"niivue.umd.js": "text/javascript", "LICENCES.txt": "text/plain; charset=utf-8"}
KEPT = {"cache-control": "private, no-cache", "vary": "cookie"}


def installed() -> str:
    """The version of NiiVue that is there, '' where none is."""
    there = (NIIVUE / "VERSION").is_file() and all((NIIVUE / name).is_file() for name in FILES)
    return (NIIVUE / "VERSION").read_text(encoding="utf-8").strip() if there else ""


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
        request, "catalogue_volume.html.j2", view=view, sheet=factsheet.card(view), shown=shown, volume=found, why=why,
        niivue=installed(),
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


@router.get("/vendor/niivue/{name}", include_in_schema=False)
def script(name: str) -> Response:
    """NiiVue itself, or the licences of what it carries."""
    if name not in FILES or not installed():
        raise NotThereError("3차원 보기가 설치되어 있지 않습니다.", "The view in three dimensions is not installed.")
    return FileResponse(NIIVUE / name, media_type=FILES[name], headers={"cache-control": "private, max-age=86400"})
