"""Any service that speaks OpenAI's image protocol, by OpenAI's own library (extra `prompt`); key in OPENAI_API_KEY.

POST /images/generations with model, prompt, n = 1 and size; the image comes as `b64_json`. With `api: chat` the prompt
goes to /chat/completions with `modalities: [image, text]`, as routers of several vendors' models want it, and the image
is the data URI in the answer. An address in place of the image is not followed: that host is not on the list.
"""

import base64
from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field

from chambit.core.evidence import Frozen
from chambit.core.offline import EgressError
from chambit.generate.prompted import egress, secrets
from chambit.generate.prompted.request import Answer, Ask, Busy, Denied, Request, wait_told

version = "1"
LEAVES_SITE = True
KEY = "OPENAI_API_KEY"
_REFUSED = ("content_policy_violation", "moderation_blocked", "content_filter")


class Options(Frozen):
    """base_url: up to and with /v1; api: which of the two calls; timeout: seconds for one call."""

    base_url: str = "https://api.openai.com/v1"
    api: Literal["images", "chat"] = "images"
    timeout: float = Field(180.0, gt=0)


def hosts(options: Options) -> tuple[str, ...]:
    """The one host it reaches."""
    return (egress.host_of(options.base_url),)


def opened(options: Options) -> Ask:
    """The call of one image.

    Raises:
        InputError: when the library or the key is missing.
    """
    openai = secrets.library("openai", "openai")
    secret = secrets.of(KEY, options.base_url)

    def ask(request: Request) -> Answer:
        http = egress.client(request, hosts(options), options.timeout)
        try:
            with openai.OpenAI(api_key=secret, base_url=options.base_url, max_retries=0, http_client=http) as client:
                return _images(client, request) if options.api == "images" else _chat(client, request)
        except openai.APIStatusError as error:
            if getattr(error, "code", None) in _REFUSED:
                return Answer(None, str(error.code).upper())
            raise _refusal(error) from error
        except openai.APIConnectionError as error:
            # the library hides what its HTTP client raised; a message that was held back must say so itself
            cause = error.__cause__
            if isinstance(cause, EgressError):
                raise cause from None
            raise Busy(0, None, type(cause or error).__name__) from error

    return ask


def _images(client: Any, request: Request) -> Answer:
    size = _size(request)
    made = client.images.generate(model=request.model, prompt=request.prompt, n=1, size=size)
    return answer(made.model_dump(mode="json"), request.model)


def _chat(client: Any, request: Request) -> Answer:
    made = client.chat.completions.create(
        model=request.model,
        messages=[{"role": "user", "content": request.prompt}],
        extra_body={"modalities": ["image", "text"]},
    )
    return chat_answer(made.model_dump(mode="json"))


def _size(request: Request) -> str:
    across, down = map(int, request.aspect.split(":"))
    return f"{request.pixels}x{round(request.pixels * down / across)}"


def _refusal(error: Any) -> Busy | Denied:
    code = int(error.status_code)
    body = error.body if isinstance(error.body, Mapping) else {}
    what = str(body.get("code") or body.get("message") or "")[:60]
    if code in (408, 409, 429) or code >= 500:
        return Busy(code, wait_told(error.response.headers.get("Retry-After"), body.get("details")), what)
    return Denied(code, what)


def answer(content: Mapping[str, Any], model: str) -> Answer:
    """What an answer of /images/generations holds.

    Raises:
        Denied: when the image is given as an address.
    """
    usage = content.get("usage") or {}
    tokens_in, tokens_out = int(usage.get("input_tokens") or 0), int(usage.get("output_tokens") or 0)
    told = str(content.get("created") or "")
    for one in content.get("data") or []:
        if one.get("b64_json"):
            return Answer(base64.b64decode(one["b64_json"]), "STOP", tokens_in, tokens_out, model, told)
        if one.get("url"):
            raise Denied(200, "the image is an address on another host; ask the service for b64_json")
    return Answer(None, "NO_IMAGE", tokens_in, tokens_out, model, told)


def chat_answer(content: Mapping[str, Any]) -> Answer:
    """What an answer of /chat/completions with an image in it holds."""
    usage = content.get("usage") or {}
    facts: dict[str, Any] = {
        "tokens_in": int(usage.get("prompt_tokens") or 0),
        "tokens_out": int(usage.get("completion_tokens") or 0),
        "model": str(content.get("model") or ""),
        "response": str(content.get("id") or ""),
    }
    finish = "NO_IMAGE"
    for choice in content.get("choices") or []:
        reason = str(choice.get("finish_reason") or "")
        for picture in (choice.get("message") or {}).get("images") or []:
            address = str((picture.get("image_url") or {}).get("url") or "")
            if address.startswith("data:image/") and ";base64," in address:
                return Answer(base64.b64decode(address.split(";base64,", 1)[1]), reason.upper() or "STOP", **facts)
        finish = reason.upper() if reason in _REFUSED else finish
    return Answer(None, finish, **facts)
