"""Third-party scripts of pages: no part of the repository, `make setup` fetches them by a lock file into `web/vendor`.

A page that needs one that is not there says so and offers another way.
"""

from pathlib import Path

from fastapi import APIRouter
from fastapi.responses import FileResponse, Response

from chambit.hub.refusals import NotThereError
from chambit.web.asking import Visiting

router = APIRouter(include_in_schema=False)
FOLDER = Path(__file__).parents[1] / "vendor"
LICENCES = "LICENCES.txt"
SCRIPTS = {"niivue": "niivue.umd.js", "openseadragon": "openseadragon.min.js"}


def installed(package: str) -> str:
    """The version of a package that is there whole, with the licences of all it carries; '' where it is not."""
    folder = FOLDER / package
    there = all((folder / name).is_file() for name in ("VERSION", LICENCES, SCRIPTS[package]))
    return (folder / "VERSION").read_text(encoding="utf-8").strip() if there else ""


@router.get("/vendor/{package}/{name}")
def script(who: Visiting, package: str, name: str) -> Response:
    """The script of a package, or the licences of what it carries, to whoever may see a page that uses one."""
    if package not in SCRIPTS or name not in (SCRIPTS[package], LICENCES) or not installed(package):
        raise NotThereError("설치되어 있지 않습니다.", "This is not installed.")
    kind = "text/javascript" if name != LICENCES else "text/plain; charset=utf-8"
    return FileResponse(FOLDER / package / name, media_type=kind, headers={"cache-control": "private, max-age=86400"})
