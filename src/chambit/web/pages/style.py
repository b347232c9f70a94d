"""Style of the pages: the dossier's own, and what the hub adds to it."""

from fastapi import APIRouter, Response

from chambit.web import rendering

router = APIRouter(include_in_schema=False)


@router.get("/dossier.css")
def dossier_style() -> Response:
    """The dossier's style sheet, so that evidence looks the same here and in the file."""
    return Response(rendering.stylesheet(), media_type="text/css", headers={"cache-control": "max-age=3600"})
