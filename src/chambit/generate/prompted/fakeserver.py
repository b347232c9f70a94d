"""A stand-in service on this machine that speaks two wire protocols, so that everything can be tried without a network.

    POST /v1beta/models/MODEL:generateContent     as Gemini: inlineData, usageMetadata, RetryInfo in errors
    POST /v1/images/generations                   as OpenAI and those compatible with it: b64_json, Retry-After
    POST /v1/chat/completions                     as routers of image models: a data URI in the message

One call in `busy_every` gets 429, with the wait in the protocol's own place. Refusals are HTTP 200 without an image in
the first and an error `content_policy_violation` in the second. It binds to 127.0.0.1 alone. It is threaded and counts
what it was asked, so that tests can say that nothing was asked twice.
"""

import base64
import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, NamedTuple, Self

from chambit.generate.prompted import drawing
from chambit.generate.prompted.drawing import Faults

MODEL = "phantom-image-1"
TOKENS = 1290
_SIZES = (128, 1024)


class Behaviour(NamedTuple):
    """busy_every: every how many calls one is put off, 0 for never; wait: seconds it asks for; pixels: of an image."""

    busy_every: int = 5
    wait: float = 0.05
    pixels: int = 256
    faults: Faults = Faults()


USUAL = Behaviour()


class Served(NamedTuple):
    """One call: path, prompt, seed (0 where none came), HTTP status, whether an image went out."""

    path: str
    prompt: str
    seed: int
    status: int
    image: bool


class FakeService:
    """The running service; a context manager.

    Args:
        behaviour: how it behaves.
        port: 0 takes a free one.
    """

    def __init__(self, behaviour: Behaviour = USUAL, port: int = 0) -> None:
        self.behaviour, self.served = behaviour, list[Served]()
        self._lock, self._calls = threading.Lock(), 0
        service = self

        class Handler(_Handler):
            owner = service

        self._server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    @property
    def url(self) -> str:
        """Its address, without a slash at the end."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def puts_off(self) -> bool:
        """Whether this call is put off; counts it."""
        with self._lock:
            self._calls += 1
            every = self.behaviour.busy_every
            return bool(every and self._calls % every == 0)

    def note(self, served: Served) -> None:
        """Remember a call."""
        with self._lock:
            self.served.append(served)


class _Handler(BaseHTTPRequestHandler):
    owner: FakeService
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        try:
            content = json.loads(body)
            answer = _ROUTES[self._route()]
        except (ValueError, KeyError):
            self._send(404, {"error": {"code": 404, "status": "NOT_FOUND", "message": "no such call"}}, {})
            return
        prompt, seed, speak = answer[0](content), answer[1](content), answer[2]
        behaviour = self.owner.behaviour
        if self.owner.puts_off():
            self.owner.note(Served(self.path, prompt, seed, 429, False))
            self._send(429, _busy(behaviour.wait), {"Retry-After": f"{behaviour.wait:g}"})
            return
        refused = drawing.refused(prompt, seed, behaviour.faults)
        wanted = min(max(behaviour.pixels, _SIZES[0]), _SIZES[1])
        image = None if refused else base64.b64encode(drawing.png(prompt, seed, wanted, behaviour.faults)).decode()
        status, told = speak(image, hashlib.sha256(body).hexdigest()[:24], len(prompt) // 4 + 1)
        self.owner.note(Served(self.path, prompt, seed, status, image is not None))
        self._send(status, told, {})

    def _route(self) -> str:
        return "generateContent" if self.path.endswith(":generateContent") else self.path

    def _send(self, status: int, content: dict[str, Any], headers: dict[str, str]) -> None:
        data = json.dumps(content).encode()
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", "Content-Length": str(len(data)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing is logged: prompts are in `served`."""


def _busy(wait: float) -> dict[str, Any]:
    info = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": f"{wait:g}s"}
    error = {"code": 429, "status": "RESOURCE_EXHAUSTED", "message": "quota", "details": [info]}
    return {"error": error}


def _gemini(image: str | None, name: str, words: int) -> tuple[int, dict[str, Any]]:
    usage = {"promptTokenCount": words, "candidatesTokenCount": TOKENS if image else 0}
    usage["totalTokenCount"] = sum(usage.values())
    candidate: dict[str, Any] = {"index": 0, "finishReason": "STOP" if image else "IMAGE_SAFETY"}
    if image:
        part = {"inlineData": {"mimeType": "image/png", "data": image}}
        candidate["content"] = {"role": "model", "parts": [part]}
    return 200, {"candidates": [candidate], "usageMetadata": usage, "modelVersion": MODEL, "responseId": name}


def _openai(image: str | None, name: str, words: int) -> tuple[int, dict[str, Any]]:
    if image is None:
        return 400, {"error": {"code": "content_policy_violation", "type": "invalid_request_error", "message": "no"}}
    usage = {"input_tokens": words, "output_tokens": TOKENS, "total_tokens": words + TOKENS}
    return 200, {"created": int(name[:7], 16), "data": [{"b64_json": image}], "usage": usage}


def _chat(image: str | None, name: str, words: int) -> tuple[int, dict[str, Any]]:
    usage = {"prompt_tokens": words, "completion_tokens": TOKENS if image else 0, "total_tokens": words + TOKENS}
    message: dict[str, Any] = {"role": "assistant", "content": ""}
    if image:
        picture = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{image}"}}
        message["images"] = [picture]
    choice = {"index": 0, "finish_reason": "stop" if image else "content_filter", "message": message}
    head = {"id": name, "object": "chat.completion", "created": int(name[:7], 16), "model": MODEL}
    return 200, head | {"choices": [choice], "usage": usage}


def _gemini_prompt(content: dict[str, Any]) -> str:
    return str(content["contents"][0]["parts"][0]["text"])


def _gemini_seed(content: dict[str, Any]) -> int:
    return int(content.get("generationConfig", {}).get("seed") or 0)


_ROUTES: dict[str, Any] = {
    "generateContent": (_gemini_prompt, _gemini_seed, _gemini),
    "/v1/images/generations": (lambda c: str(c["prompt"]), lambda c: 0, _openai),
    "/v1/chat/completions": (lambda c: str(c["messages"][0]["content"]), lambda c: 0, _chat),
}
