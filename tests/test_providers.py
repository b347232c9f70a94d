"""Providers: official libraries against the stand-in, what goes out, folder drop, replay, local pipelines, origin."""

import io
import struct
import subprocess
import sys
import types
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import promptplans
from chambit.core import digest, extensions
from chambit.core.errors import InputError
from chambit.core.offline import EgressError
from chambit.generate.prompted import attempts, drawing, egress, grid, provenance, running
from chambit.generate.prompted.drawing import Faults
from chambit.generate.prompted.fakeserver import Behaviour, FakeService
from chambit.generate.prompted.plan import PromptPlan
from chambit.generate.prompted.request import Answer, Busy, Denied, Request, wait_told
from chambit.generate.providers import diffusers_local, fake, folder_drop, gemini, openai_compatible, replay

REFUSES = Behaviour(busy_every=0, pixels=128, faults=Faults(refused=1.0, refused_old=1.0))
SERVES = Behaviour(busy_every=0, pixels=128, faults=Faults(refused=0.0, refused_old=0.0))
PUTS_OFF = Behaviour(busy_every=1, wait=1.5, pixels=128)


def _request(**changes: Any) -> Request:
    return grid.requests(promptplans.made())[0].model_copy(update=changes)


def _gemini(url: str) -> Any:
    pytest.importorskip("google.genai", reason="needs google-genai (extra `prompt`)")
    return gemini.opened(gemini.Options(base_url=url))


def _openai(url: str, api: str = "images") -> Any:
    pytest.importorskip("openai", reason="needs openai (extra `prompt`)")
    return openai_compatible.opened(openai_compatible.Options(base_url=f"{url}/v1", api=api))  # type: ignore[arg-type]


def _chat(url: str) -> Any:
    return _openai(url, "chat")


def _fake(url: str) -> Any:
    return fake.opened(fake.Options(base_url=url))


ALL = [_gemini, _openai, _chat, _fake]


@pytest.mark.parametrize("opened", ALL)
def test_every_protocol_gives_an_image_with_its_tokens(opened: Any) -> None:
    with FakeService(SERVES) as service:
        answer = opened(service.url)(_request())
        assert isinstance(answer, Answer)
        assert answer.image is not None
        with Image.open(io.BytesIO(answer.image)) as image:
            assert (image.size, image.mode) == ((128, 128), "RGB")
            assert "PHANTOM" in image.info["Software"]
        assert (answer.tokens_out, answer.tokens_in > 0) == (1290, True)
        (call,) = service.served
        assert (call.prompt, call.image) == (_request().prompt, True)


@pytest.mark.parametrize("opened", ALL)
def test_a_refusal_is_an_outcome(opened: Any) -> None:
    with FakeService(REFUSES) as service:
        answer = opened(service.url)(_request())
    assert answer.image is None
    assert answer.finish in ("IMAGE_SAFETY", "CONTENT_POLICY_VIOLATION", "CONTENT_FILTER")


@pytest.mark.parametrize("opened", ALL)
def test_a_wait_is_told_and_the_library_does_not_repeat_by_itself(opened: Any) -> None:
    with FakeService(PUTS_OFF) as service:
        with pytest.raises(Busy) as caught:
            opened(service.url)(_request())
        assert (caught.value.status, caught.value.wait) == (429, 1.5)
        assert len(service.served) == 1


@pytest.mark.parametrize("opened", ALL)
def test_no_answer_is_a_wait(opened: Any) -> None:
    with FakeService(SERVES) as service:
        url = service.url
    with pytest.raises(Busy):
        opened(url)(_request())


def _smuggled_by_gemini(url: str, http: Any, prompt: str) -> None:
    genai = pytest.importorskip("google.genai", reason="needs google-genai (extra `prompt`)")
    part = genai.types.Part.from_bytes(data=b"pixels of a patient", mime_type="image/png")
    client = genai.Client(api_key="k", http_options=genai.types.HttpOptions(base_url=url, httpx_client=http))
    client.models.generate_content(model="m", contents=[prompt, part])


def _smuggled_by_openai(url: str, http: Any, prompt: str) -> None:
    openai = pytest.importorskip("openai", reason="needs openai (extra `prompt`)")
    client = openai.OpenAI(api_key="k", base_url=f"{url}/v1", http_client=http, max_retries=0)
    try:
        client.images.edit(model="m", prompt=prompt, image=b"pixels of a patient")
    except openai.APIConnectionError as error:
        raise error.__cause__ or error from None


@pytest.mark.parametrize("smuggled", [_smuggled_by_gemini, _smuggled_by_openai])
def test_the_outgoing_message_itself_is_looked_at(smuggled: Any) -> None:
    """Whatever asks the library to send something else, it does not arrive."""
    request = _request()
    with FakeService(SERVES) as service:
        with pytest.raises(EgressError, match="was not sent"):
            smuggled(service.url, egress.client(request, ("127.0.0.1",), 5), request.prompt)
        elsewhere = egress.client(request, ("example.org",), 5)
        with pytest.raises(EgressError, match="none of"):
            elsewhere.post(service.url, json={"prompt": request.prompt})
        assert service.served == []


def test_keys_come_from_the_environment_and_go_nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("google.genai", reason="needs google-genai (extra `prompt`)")
    monkeypatch.delenv("GEMINI_API_KEY", raising=False)
    with pytest.raises(InputError, match="GEMINI_API_KEY: is not set"):
        gemini.opened(gemini.Options())
    secret = "AIza-not-a-real-key-0123"
    monkeypatch.setenv("GEMINI_API_KEY", secret)
    with FakeService(SERVES) as service:
        provider = {"name": "gemini", "model": "phantom-image-1", "options": {"base_url": service.url}}
        done = running.run(promptplans.made(provider=provider), tmp_path)
    assert done.images == 12
    assert [path.name for path in tmp_path.rglob("*") if path.is_file() and secret.encode() in path.read_bytes()] == []


def test_hosts_are_those_of_the_options() -> None:
    assert gemini.hosts(gemini.Options()) == ("generativelanguage.googleapis.com",)
    assert openai_compatible.hosts(openai_compatible.Options(base_url="https://Images.Example.org/v1")) == (
        "images.example.org",
    )
    assert fake.hosts(fake.Options()) == ("127.0.0.1",)


GUARDED = """
import socket
import sys
from pathlib import Path

import promptplans
from chambit.core import offline
from chambit.core.errors import InputError
from chambit.core.offline import EgressError
from chambit.generate.prompted import egress, running

egress.only(["service.invalid"])
for attempt, to in ((socket.create_connection, (("192.0.2.1", 9), 0.2)), (socket.getaddrinfo, ("other.invalid", 443))):
    try:
        attempt(*to)
        raise SystemExit("went out")
    except EgressError:
        pass
try:
    socket.getaddrinfo("service.invalid", 443)
except OSError:
    pass  # allowed to ask; there is none
with socket.create_server(("127.0.0.1", 0)) as server:
    socket.create_connection(server.getsockname()[:2], 1).close()
for hosts in (["service.invalid", "other.invalid"], ["other.invalid"]):
    try:
        egress.only(hosts)
        raise SystemExit("the list was widened")
    except InputError:
        pass
offline.guard()
egress.only([])
done = running.run(promptplans.made(classes={"normal": 2, "pneumonia": 2}), Path(sys.argv[1]))
assert (done.images + done.refused, offline.attempts()) == (4, 0)
try:
    egress.only(["service.invalid"])
    raise SystemExit("a closed run was opened")
except InputError as error:
    assert "closed to the network" in str(error)
"""


def test_a_process_reaches_its_provider_alone_and_a_closed_run_the_stand_in(tmp_path: Path) -> None:
    command = [sys.executable, "-c", GUARDED, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=Path(__file__).parent)
    assert done.returncode == 0, done.stderr


# --- wire forms


def test_answers_in_odd_forms_are_read() -> None:
    url_safe = {"candidates": [{"content": {"parts": [{"text": "x"}, {"inlineData": {"data": "_-8"}}]}}]}
    assert gemini.answer(url_safe).image == b"\xff\xef"
    assert gemini.answer({"candidates": [{"finishReason": "STOP"}]}).finish == "NO_IMAGE"
    assert gemini.answer({"promptFeedback": {"blockReason": "SAFETY"}}).finish == "SAFETY"
    assert isinstance(gemini.refusal(503, {}, "3"), Busy)
    assert isinstance(gemini.refusal(400, {"error": {"status": "INVALID_ARGUMENT"}}, None), Denied)
    with pytest.raises(Denied, match="address on another host"):
        openai_compatible.answer({"data": [{"url": "https://example.org/x.png"}]}, "m")
    assert openai_compatible.answer({"data": []}, "m").finish == "NO_IMAGE"


@pytest.mark.parametrize(
    ("header", "details", "seconds"),
    [
        (None, [], None),
        ("2", None, 2.0),
        ("Wed, 21 Oct 2026 07:28:00 GMT", [], None),
        ("2", [{"retryDelay": "9s"}], 9.0),
        (None, [{"retryDelay": "soon"}], None),
        ("-1", [], 0.0),
    ],
)
def test_the_wait_a_service_asks_for(header: str | None, details: Any, seconds: float | None) -> None:
    assert wait_told(header, details) == seconds


# --- without a network


def _plan(name: str, **options: Any) -> PromptPlan:
    return promptplans.made(provider={"name": name, "model": "phantom-image-1", "options": options})


def test_images_that_a_person_drops(tmp_path: Path) -> None:
    drop, run = tmp_path / "drop", tmp_path / "run"
    told = _plan("folder_drop", folder=str(drop))
    with pytest.raises(InputError, match="is no folder"):
        running.run(told, run)
    drop.mkdir()
    done = running.run(told, run)
    assert (done.images, done.missing) == (0, 12)
    listed = (drop / folder_drop.LIST).read_text(encoding="utf-8").splitlines()
    requests = grid.requests(told)
    assert sorted(listed[1:]) == sorted(f'{r.key[:16]}.png,"{r.prompt}"' for r in requests)
    for request in requests[:5]:
        (drop / f"{request.key[:16]}.PNG").write_bytes(drawing.png(request.prompt, request.seed, 128, Faults()))
    (drop / f"{requests[5].key[:16]}.jpg").write_bytes(b"")
    done = running.run(told, run)
    assert (done.images, done.refused, done.missing) == (5, 1, 7)
    assert len((drop / folder_drop.LIST).read_text(encoding="utf-8").splitlines()) == 7


def test_a_recording_is_played_again(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    running.run(promptplans.made(), first)
    told = _plan("replay", folder=str(first))
    done = running.run(told, second)
    kept = [{line.sha256 for line in attempts.read(f / "attempts.jsonl") if line.sha256} for f in (first, second)]
    assert kept[0] == kept[1]
    assert len(kept[0]) == done.images > 8
    ask = replay.opened(replay.Options(folder=first))
    with pytest.raises(Denied, match="no answer"):
        ask(grid.requests(told)[0].model_copy(update={"seed": 1}))
    next((first / "images").iterdir()).write_bytes(b"changed")
    with pytest.raises(InputError, match="not the image that was recorded"):
        running.run(told, tmp_path / "third")
    with pytest.raises(InputError, match="no recording"):
        replay.opened(replay.Options(folder=tmp_path))


class _Pipeline:
    """Stands in for a diffusers pipeline: an image of noise by the generator it is given."""

    @classmethod
    def from_pretrained(cls, folder: str, **options: Any) -> "_Pipeline":
        assert options == {"local_files_only": True, "use_safetensors": True}
        return cls()

    def to(self, device: str) -> "_Pipeline":
        assert device == "cpu"
        return self

    def set_progress_bar_config(self, **options: Any) -> None:
        pass

    def __call__(self, prompt: str, *, width: int, height: int, generator: Any, **settings: Any) -> Any:
        import torch

        assert settings == {"num_inference_steps": 2, "guidance_scale": 4.0}
        noise = torch.randint(256, (height, width), generator=generator).numpy().astype(np.uint8)
        flagged = ["blocked" in prompt]
        return types.SimpleNamespace(images=[Image.fromarray(noise)], nsfw_content_detected=flagged)


def test_a_pipeline_on_this_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "diffusers", types.SimpleNamespace(DiffusionPipeline=_Pipeline))
    with pytest.raises(InputError, match=r"model_index\.json"):
        diffusers_local.opened(diffusers_local.Options(folder=tmp_path, sha256="0" * 64))
    (tmp_path / "unet").mkdir()
    (tmp_path / "model_index.json").write_text("{}", encoding="utf-8")
    (tmp_path / "unet" / "weights.safetensors").write_bytes(b"weights")
    options = diffusers_local.Options(folder=tmp_path, sha256=diffusers_local.fingerprint(tmp_path), steps=2)
    ask = diffusers_local.opened(options)
    one, again, other = (ask(_request(seed=seed, pixels=64)).image for seed in (1, 1, 2))
    assert one == again != other
    assert ask(_request(prompt="blocked", pixels=64)).finish == "SAFETY_CHECKER"
    (tmp_path / "unet" / "weights.bin").write_bytes(b"pickle")
    with pytest.raises(InputError, match=r"can run code(?s:.*)fingerprint"):
        diffusers_local.opened(options)


# --- marks of origin


def _chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def test_marks_of_origin_are_found_and_hashed() -> None:
    plain = io.BytesIO()
    Image.new("L", (8, 8)).save(plain, "PNG")
    data = plain.getvalue()
    assert provenance.found(data) == {}
    manifest = b"jumb manifest of a maker"
    signed = data[:33] + _chunk(b"caBX", manifest) + _chunk(b"tEXt", b"Software\0maker") + data[33:]
    with Image.open(io.BytesIO(signed)) as image:
        image.load()
    assert provenance.found(signed) == {
        "c2pa": digest.of_bytes(manifest),
        "text Software": digest.of_bytes(b"Software\0maker"),
    }
    jpeg = io.BytesIO()
    Image.new("L", (8, 8)).save(jpeg, "JPEG")
    segment = b"JP\0\1" + manifest
    marked = jpeg.getvalue()[:2] + b"\xff\xeb" + struct.pack(">H", len(segment) + 2) + segment + jpeg.getvalue()[2:]
    assert provenance.found(marked) == {"c2pa": digest.of_bytes(segment)}
    assert [provenance.ending(d) for d in (signed, marked, b"<html>")] == [".png", ".jpg", ""]


def test_every_provider_says_what_it_is() -> None:
    names = extensions.listing(running.PROVIDERS)
    assert set(names) == {"diffusers_local", "fake", "folder_drop", "gemini", "openai_compatible", "replay"}
    for name in names:
        module = extensions.load(running.PROVIDERS, name)
        assert module.version
        assert bool(module.KEY) <= module.LEAVES_SITE
        assert callable(module.opened)
        assert callable(module.hosts)
