"""The stand-in service on this machine: chest phantoms by Gemini's wire protocol, without a network, a key or a price.

A service is started in this process unless `base_url` names a running one (`chambit prompt serve-fake`). The call goes
over a real socket to 127.0.0.1 by the standard library alone, through the same looks at text, host and body as others.
"""

import http.client
import json
from urllib.parse import urlsplit

from pydantic import Field

from chambit.core.evidence import Frozen
from chambit.generate.prompted import egress
from chambit.generate.prompted.fakeserver import Behaviour, FakeService
from chambit.generate.prompted.request import Answer, Ask, Busy, Request
from chambit.generate.providers import gemini

version = "1"
LEAVES_SITE = False
KEY = ""
TIMEOUT = 60.0  # seconds; an image takes a tenth of one


class Options(Frozen):
    """base_url: of a running stand-in, "" to start one; pixels: of its images; busy_every: see the service."""

    base_url: str = ""
    pixels: int = Field(256, ge=128, le=1024)
    busy_every: int = Field(20, ge=0)


def hosts(options: Options) -> tuple[str, ...]:
    """This machine."""
    return (egress.host_of(options.base_url) if options.base_url else "127.0.0.1",)


def opened(options: Options) -> Ask:
    """The call of one image; the service it starts ends with the process."""
    url = options.base_url
    if not url:
        service = FakeService(Behaviour(busy_every=options.busy_every, pixels=options.pixels)).__enter__()
        url = service.url
    allowed = hosts(options)

    def ask(request: Request) -> Answer:
        config = {"seed": request.seed, "responseModalities": ["IMAGE"], "imageConfig": {"aspectRatio": request.aspect}}
        contents = [{"role": "user", "parts": [{"text": request.prompt}]}]
        body = json.dumps({"contents": contents, "generationConfig": config}).encode()
        egress.check_host(url, allowed)
        egress.check_body(body, request)
        return _posted(url, f"/v1beta/models/{request.model}:generateContent", body)

    return ask


def _posted(url: str, path: str, body: bytes) -> Answer:
    address = urlsplit(url)
    connection = http.client.HTTPConnection(address.hostname or "", address.port or 80, timeout=TIMEOUT)
    try:
        connection.request("POST", path, body, {"Content-Type": "application/json"})
        response = connection.getresponse()
        content = json.loads(response.read())
        status, later = response.status, response.getheader("Retry-After")
    except (OSError, http.client.HTTPException) as error:
        raise Busy(0, None, type(error).__name__) from error
    finally:
        connection.close()
    if status != 200:
        raise gemini.refusal(status, content, later)
    return gemini.answer(content)
