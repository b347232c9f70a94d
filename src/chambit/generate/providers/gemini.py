"""Gemini image models by Google's own library (extra `prompt`); the key is read from GEMINI_API_KEY.

POST /v1beta/models/MODEL:generateContent with the prompt and response modality IMAGE. An answer without an image
(`finishReason` IMAGE_SAFETY, NO_IMAGE or a blocked prompt) comes with HTTP 200 and is an outcome. The library's own
repetition is off: every attempt is in the ledger. Known: the seed is sent, but equal seeds do not promise equal images.
"""

import base64
from collections.abc import Mapping
from typing import Any

from pydantic import Field

from chambit.core.evidence import Frozen
from chambit.generate.prompted import egress, secrets
from chambit.generate.prompted.request import Answer, Ask, Busy, Denied, Request, wait_told

version = "1"
LEAVES_SITE = True
KEY = "GEMINI_API_KEY"
HOST = "https://generativelanguage.googleapis.com"


class Options(Frozen):
    """base_url: where the service is; timeout: seconds for one call."""

    base_url: str = HOST
    timeout: float = Field(180.0, gt=0)


def hosts(options: Options) -> tuple[str, ...]:
    """The one host it reaches."""
    return (egress.host_of(options.base_url),)


def opened(options: Options) -> Ask:
    """The call of one image.

    Raises:
        InputError: when the library or the key is missing.
    """
    genai = secrets.library("google.genai", "google-genai")
    secret = secrets.of(KEY, options.base_url)

    def ask(request: Request) -> Answer:
        types = genai.types
        http = types.HttpOptions(
            base_url=options.base_url,
            httpx_client=egress.client(request, hosts(options), options.timeout),
            retry_options=types.HttpRetryOptions(attempts=1),
        )
        config = types.GenerateContentConfig(
            response_modalities=["IMAGE"],
            image_config=types.ImageConfig(aspect_ratio=request.aspect),
            seed=request.seed,
        )
        try:
            with genai.Client(api_key=secret, http_options=http) as client:
                made = client.models.generate_content(model=request.model, contents=request.prompt, config=config)
        except genai.errors.APIError as error:
            headers = getattr(error.response, "headers", None) or {}
            raise refusal(int(error.code or 0), error.details, headers.get("Retry-After")) from error
        except secrets.connection_errors() as error:
            raise Busy(0, None, type(error).__name__) from error
        return answer(made.model_dump(mode="json", by_alias=True, exclude_none=True))

    return ask


def refusal(code: int, details: Any, retry_after: str | None) -> Busy | Denied:
    """The exception for an error of the service: 408, 429 and 5xx are a wait, all others a denial."""
    error = details.get("error", details) if isinstance(details, Mapping) else {}
    what = str(error.get("status") or error.get("message") or "")[:60]
    if code in (408, 429) or code >= 500:
        return Busy(code, wait_told(retry_after, error.get("details")), what)
    return Denied(code, what)


def answer(content: Mapping[str, Any]) -> Answer:
    """What an answer in the wire form of `generateContent` holds; both spellings of base64 are read."""
    usage = content.get("usageMetadata") or {}
    facts: dict[str, Any] = {
        "tokens_in": int(usage.get("promptTokenCount") or 0),
        "tokens_out": int(usage.get("candidatesTokenCount") or 0),
        "model": str(content.get("modelVersion") or ""),
        "response": str(content.get("responseId") or ""),
    }
    blocked = (content.get("promptFeedback") or {}).get("blockReason")
    finish = str(blocked or "NO_CANDIDATE")
    for candidate in content.get("candidates") or []:
        finish = str(candidate.get("finishReason") or "STOP")
        for part in (candidate.get("content") or {}).get("parts") or []:
            if data := (part.get("inlineData") or {}).get("data"):
                plain = str(data).replace("-", "+").replace("_", "/")
                return Answer(base64.b64decode(plain + "=" * (-len(plain) % 4)), finish, **facts)
    return Answer(None, "NO_IMAGE" if finish == "STOP" else finish, **facts)
