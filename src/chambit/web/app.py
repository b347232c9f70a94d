"""The web application of a hub: every file of `pages` is a screen, its `router` answers."""

import importlib
import pkgutil
from pathlib import Path

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, PlainTextResponse, RedirectResponse
from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException

from chambit import __version__
from chambit.core.errors import ChambitError
from chambit.hub.hub import Hub
from chambit.hub.refusals import HubError, NotAllowedError, NotThereError
from chambit.review.board.words import BoardError
from chambit.web import pages, rendering
from chambit.web.asking import LANGUAGES, SignInError, language_of
from chambit.web.guard import Guard

STATIC = Path(__file__).parent / "static"


def create_app(hub: Hub) -> FastAPI:
    """The application over an open hub."""
    app = FastAPI(
        title="Chambit", version=__version__, openapi_url="/api/openapi.json", docs_url=None, redoc_url=None,
        description="The JSON twin of the pages. Sign in at /login; changes carry the session's token as X-CSRF-Token.",
    )  # fmt: skip
    app.state.hub = hub
    for found in pkgutil.iter_modules(pages.__path__):
        app.include_router(importlib.import_module(f"{pages.__name__}.{found.name}").router)
    app.mount("/static", StaticFiles(directory=STATIC), name="static")
    app.add_middleware(Guard, settings=hub.settings)
    app.add_exception_handler(SignInError, _sign_in)  # type: ignore[arg-type]
    app.add_exception_handler(ChambitError, _refused)  # type: ignore[arg-type]
    app.add_exception_handler(HTTPException, _plain)  # type: ignore[arg-type]
    app.add_exception_handler(RequestValidationError, _malformed)  # type: ignore[arg-type]
    return app


def _sign_in(request: Request, error: SignInError) -> Response:
    if _wants_json(request):
        return JSONResponse({"error": "Sign in first.", "at": "/login"}, 401)
    return RedirectResponse(f"/login?to={error.to}", 303)


def _refused(request: Request, error: ChambitError) -> Response:
    """What a person can mend: said on a page, or as JSON."""
    status = 403 if isinstance(error, NotAllowedError) else 404 if isinstance(error, NotThereError) else 409
    headers = {}
    if isinstance(error, HubError) and error.wait:
        status, headers = 429, {"retry-after": f"{max(1, round(error.wait))}"}
    said = (error.ko, error.en) if isinstance(error, HubError) else (str(error), str(error))
    unmet = error.unmet if isinstance(error, BoardError) else ()
    if isinstance(error, BoardError):
        said = (error.said.ko, error.said.en)
    if _wants_json(request):
        told = [{"what": one.what, "reason": one.reason.en, "remedy": one.remedy.en} for one in unmet]
        return JSONResponse({"error": said[1], "ko": said[0], "unmet": told}, status, headers)
    words = said[LANGUAGES.index(language_of(request))]
    response = rendering.page(request, "refused.html.j2", status, said=words, unmet=unmet)
    response.headers.update(headers)
    return response


def _plain(request: Request, error: HTTPException) -> Response:
    if error.status_code == 404 and not _wants_json(request):
        return _refused(request, NotThereError("이 주소에는 아무것도 없습니다.", "There is nothing at this address."))
    if _wants_json(request):
        return JSONResponse({"error": str(error.detail)}, error.status_code, error.headers)
    return PlainTextResponse(str(error.detail), error.status_code, error.headers)


def _malformed(request: Request, error: RequestValidationError) -> Response:
    """A form or message that lacks something; what was entered is not repeated, because it may be a secret."""
    where = ", ".join(sorted({".".join(map(str, one["loc"][1:])) for one in error.errors()}))
    if _wants_json(request):
        return JSONResponse({"error": f"Not understood: {where}"}, 422)
    said = (f"빠졌거나 잘못된 칸: {where}", f"Missing or wrong: {where}")[LANGUAGES.index(language_of(request))]
    return rendering.page(request, "refused.html.j2", 422, said=said, unmet=())


def _wants_json(request: Request) -> bool:
    return request.url.path.startswith("/api/")
