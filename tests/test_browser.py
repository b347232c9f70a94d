"""The hub in a real browser, from the first account to an approved set: what people do, with keyboard and mouse."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hubs import PASSWORD

sync_api = pytest.importorskip("playwright.sync_api")
pytest.importorskip("fastapi")

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
if CHROMIUM is None:
    pytest.skip("chromium is not installed", allow_module_level=True)

AXE = Path(__file__).parents[1] / "javascript" / "node_modules" / "axe-core" / "axe.min.js"
QUIET = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
PASSPHRASE = "a passphrase for the key alone"
PEOPLE = {
    "steward": ("김데이터", "steward"),
    "maker": ("박생성", "generator"),
    "approver": ("정승인", "approver"),
    "privacy": ("이보호", "member"),
    "law": ("최법률", "member"),
    "ai": ("강지능", "member"),
    "clinical": ("윤임상", "member"),
    "citizen": ("한시민", "member"),
    "reader": ("조판독", "reader"),
    "inspector": ("서검수", "inspector"),
    "second": ("문검수", "inspector"),
}
BOARD = {"privacy": "privacy", "law": "law", "ai": "ai", "clinical": "clinical", "citizen": "ethics"}
ATTACHED = (
    "process.network", "process.access", "process.pledges", "generation.model_card", "safety.residual_risk",
    "source.second_inspection", "source.de_identification",
)  # fmt: skip
SMALL = {"telltales": [], "images_least": 20, "practice": 2, "repeats": 0.0, "block": 10, "pixels": 64}


def a_free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


class Served:
    """A server of its own process over a hub's folder."""

    def __init__(self, folder: Path, port: int = 0) -> None:
        self.port = port or a_free_port()
        command = [
            sys.executable,
            "-c",
            "from chambit.cli import main; main()",
            "serve",
            str(folder),
            "--port",
            str(self.port),
        ]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self.said = ""
        self.base = f"http://127.0.0.1:{self.port}"
        self._answering()

    def _answering(self) -> None:
        import urllib.error
        import urllib.request

        for _ in range(200):
            assert self.process.poll() is None, self.process.stdout and self.process.stdout.read()
            try:
                urllib.request.urlopen(f"{self.base}/login", timeout=2).close()
                return
            except (urllib.error.URLError, ConnectionError):
                time.sleep(0.1)
        raise AssertionError("the server does not answer")

    def first(self) -> str:
        """The address at which the first account is made, as the server printed it."""
        assert self.process.stdout is not None
        while not (found := re.search(r"http\S+first\S+", self.said)):
            line = self.process.stdout.readline()
            assert line, self.said
            self.said += line
        return found.group()

    def stop(self) -> None:
        self.process.send_signal(signal.SIGINT)
        self.process.wait(timeout=20)


class Person:
    """A browser in which one person after the other works."""

    def __init__(self, page: Any, base: str) -> None:
        self.page, self.base = page, base
        self.errors: list[str] = []
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("console", lambda said: said.type == "error" and self.errors.append(f"{page.url}: {said.text}"))

    def comes(self, login: str) -> None:
        self.page.context.clear_cookies()
        self.page.goto(f"{self.base}/login")
        self.page.fill("[name=login]", login)
        self.page.fill("[name=password]", PASSWORD)
        self.page.keyboard.press("Enter")
        self.page.wait_for_url(lambda url: "/login" not in url)

    def goes(self, path: str) -> None:
        self.page.goto(self.base + path)

    def sends(self, form: str) -> None:
        self.page.locator(form).locator("button").first.click()
        self.page.wait_for_load_state()

    def reads(self, place: str = "main") -> str:
        return str(self.page.locator(place).inner_text())


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    import yaml

    from chambit.hub import settings
    from chambit.review import policy

    folder = tmp_path_factory.mktemp("hub")
    raw = policy.merged(policy.FOLDER / "default.yaml")
    raw["settings"]["reading"] |= SMALL
    raw["settings"]["inspecting"] |= {"limit": 0.3}
    (folder / "small.yaml").write_text(yaml.safe_dump(raw, allow_unicode=True), encoding="utf-8")
    (folder / settings.NAME).write_text("policy: small.yaml\nlimits: {requests: 5000, logins: 500}\n")
    made = Served(folder)
    yield made
    made.stop()


@pytest.fixture(scope="module")
def person(served: Served) -> Iterator[Person]:
    with sync_api.sync_playwright() as play:
        browser = play.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        page = browser.new_context(viewport={"width": 1200, "height": 900}).new_page()
        page.set_default_timeout(20_000)
        yield Person(page, served.base)
        browser.close()


@pytest.fixture(scope="module")
def run(reviewable: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run that this module may change."""
    return Path(shutil.copytree(reviewable, tmp_path_factory.mktemp("run") / "out"))


@pytest.fixture(scope="module")
def study(served: Served, person: Person, run: Path) -> str:
    """Accounts made by an administrator, the run registered by a steward, everybody given a part; the study's path."""
    page = person.page
    page.goto(served.first())
    for name, value in (("login", "admin"), ("name", "관리자"), ("password", PASSWORD)):
        page.fill(f"[name={name}]", value)
    person.sends("main form")
    for login, (name, role) in PEOPLE.items():
        page.fill("#f-login", login)
        page.fill("#f-name", name)
        page.fill("#f-password", PASSWORD)
        page.check(f'form[action="/accounts"] input[value={role}]')
        person.sends('form[action="/accounts"]')
    person.comes("steward")
    page.fill("#f-folder", str(run))
    person.sends('form[action="/studies"]')
    path = str(page.url).removeprefix(served.base)
    for name, role in list(PEOPLE.values())[1:]:
        person.goes(path)
        label = next(text for text in page.locator("#who option").all_inner_texts() if text.startswith(name))
        page.select_option("#who", label=label)
        page.select_option("#what", role)
        person.sends("form:has(#what)")
    return path


def happens(person: Person, study: str, event: str) -> str:
    """Let an event happen and return where the study stands, or what is in the way."""
    person.goes(f"{study}/review")
    form = person.page.locator(f'form:has(input[value="{event}"])')
    if not form.count():
        return person.reads("#next")
    form.locator("button").click()
    return str(person.page.locator(".masthead .chip").first.inner_text())


def votes(person: Person, study: str, login: str) -> None:
    person.comes(login)
    person.goes(f"{study}/board")
    page = person.page
    for number in range(1, 7):
        page.check(f"input[name=vote-{number}][value=meets_with_conditions]")
        page.fill(f"#reason-{number}", "근거를 보았고 조건을 달아 충족합니다.")
    page.locator("fieldset.vote details").evaluate_all("all => all.forEach(one => { one.open = true })")
    for box in page.locator("fieldset.vote input[type=checkbox]").all():
        box.check()
    page.check("input[name=choice][value=approve_with_conditions]")
    page.fill("#b-reason", "조건부로 승인하기를 권합니다.")
    page.fill("#b-wanted", "분기마다 이용 현황을 보고할 것")
    page.select_option("#b-tier", "gated")
    person.sends('form[action$="/ballot"]')


def counts(page: Any, done: int) -> None:
    """Wait until the reader's screen says that so many are done."""
    sync_api.expect(page.locator("#count")).to_have_text(re.compile(f"^{done} /"))


def test_a_steward_leads_the_study_to_its_review(person: Person, study: str) -> None:
    assert "막고 있는 것" in happens(person, study, "prepare")
    for what in ATTACHED:
        person.goes(f"{study}/review")
        form = person.page.locator(f'form:has(input[value="{what}"])')
        form.evaluate("one => { one.closest('details').open = true }")
        form.locator("[name=text]").fill("문서 12-3, 보관함 가")
        form.locator("button").click()
    states = [happens(person, study, event) for event in ("submit", "prepare", "generate", "examine")]
    assert states == ["초안", "사전준비 완료", "생성 완료", "검증 완료"]
    assert "위원" in happens(person, study, "open_review")  # not before the board is composed


def test_members_are_appointed_state_their_interests_and_make_keys(person: Person, study: str) -> None:
    page = person.page
    person.comes("steward")
    for login, field in BOARD.items():
        person.goes(f"{study}/board")
        page.select_option("#member", label=PEOPLE[login][0])
        page.check(f"input[name=expertise][value={field}]")
        if login in ("law", "citizen"):
            page.check("input[name=outside]")
        if login == "citizen":
            page.check("input[name=subjects]")
        person.sends("form:has(#member)")
    for login in BOARD:
        person.comes(login)
        person.goes(f"{study}/board")
        page.check("input[name=kind][value=none]")
        page.check("input[name=pledge]")
        person.sends('form[action$="/statement"]')
        person.goes("/account")
        page.fill("#f-passphrase", PASSPHRASE)
        person.sends('form[action="/account/key"]')
    person.comes("steward")
    person.goes(f"{study}/board")
    assert "아직 심의할 수 있는 구성이 아닙니다" not in person.reads("#members")
    assert happens(person, study, "open_review") == "심의 중"


def test_four_members_vote_and_three_sign(person: Person, study: str) -> None:
    page = person.page
    for login in list(BOARD)[:3]:
        votes(person, study, login)
    person.goes(f"{study}/board")
    assert "투표 3표, 정족수 4표" in person.reads("#count")
    votes(person, study, "clinical")
    person.goes(f"{study}/board")
    page.locator("details:has(#d-tier)").evaluate("one => { one.open = true }")
    page.select_option("#d-tier", "gated")
    page.fill("#c-1", "분기마다 이용 현황을 위원회에 보고할 것")
    person.sends('form[action$="/decision"]')
    for login in ("privacy", "law"):
        person.comes(login)
        person.goes(f"{study}/board")
        page.fill("#pass", PASSPHRASE)
        person.sends('form[action$="/signature"]')
    person.comes("steward")
    assert "막고 있는 것" in happens(person, study, "decide_conditions")  # two signatures are too few
    person.comes("ai")
    person.goes(f"{study}/board")
    page.fill("#pass", "not the passphrase of this key")
    person.sends('form[action$="/signature"]')
    assert "암호문이 맞지 않거나" in person.reads(".said")
    person.goes(f"{study}/board")
    page.fill("#pass", PASSPHRASE)
    person.sends('form[action$="/signature"]')
    person.comes("steward")
    assert happens(person, study, "decide_conditions") == "승인"


def test_the_signed_decision_is_a_file_that_others_can_verify(person: Person, study: str, served: Served) -> None:
    person.comes("privacy")
    answer = person.page.request.get(f"{served.base}{study}/board/D1.dsse.json")
    envelope = json.loads(answer.body())
    assert envelope["payloadType"] == "application/vnd.in-toto+json"
    assert len(envelope["signatures"]) == 3


def test_a_reader_reads_by_keyboard_alone_and_goes_on_after_closing_the_window(
    person: Person, study: str, served: Served
) -> None:
    page = person.page
    person.comes("steward")
    person.goes(f"{study}/readings")
    page.fill("#f-ko", "예행 판독")
    page.fill("#f-en", "Rehearsal")
    page.fill("#f-images", "10")
    person.sends(f'form[action="{study}/readings"]')
    page.locator("select[name=account]").select_option(label=PEOPLE["reader"][0])
    person.sends('form[action$="/seats"]')
    person.comes("reader")
    person.goes(f"{study}/readings")
    page.click("text=판독하기")
    for number in range(2):
        counts(page, number)
        page.wait_for_selector("#work:not([hidden])")
        for key in ("4", "y", "3", "ArrowUp", "+", "Enter"):
            page.keyboard.press(key)
        counts(page, number + 1)
    place = page.url
    page.goto("about:blank")
    page.goto(place)
    counts(page, 2)
    page.wait_for_selector("#pause:not([hidden])")  # practice has ended
    page.keyboard.press("Tab")
    page.locator("#go-on").press("Enter")
    page.wait_for_selector("#work:not([hidden])")


def test_an_inspector_judges_by_keyboard_alone_and_judges_anew(person: Person, study: str) -> None:
    page = person.page
    person.comes("steward")
    person.goes(f"{study}/inspections")
    person.sends("form.plan-form")
    person.comes("inspector")
    person.goes(f"{study}/inspections")
    page.click("text=검수하기")
    for name, value in (("speciality", "영상의학과"), ("years", "8"), ("institution", "가상병원")):
        page.fill(f"#f-{name}", value)
    page.check("[name=no_conflict]")
    page.locator("main form button").click()
    for number, keys in enumerate((["1"], ["3", "4", "6", "x", "l", "j"], ["2", "5", "ArrowUp", "+"])):
        counts(page, number)
        page.wait_for_selector("#look:not([hidden])")
        for key in [*keys, "Enter"]:
            page.keyboard.press(key)
        counts(page, number + 1)
    place = page.url
    page.goto("about:blank")
    page.goto(place)
    page.wait_for_selector("#look:not([hidden])")
    counts(page, 3)
    page.keyboard.press("p")  # the third, which is to be mended: judged anew
    sync_api.expect(page.locator("#earlier")).to_be_visible()
    sync_api.expect(page.locator("input[value=crop]")).to_be_checked()
    page.keyboard.press("p")
    sync_api.expect(page.locator("input[value=reject]")).to_be_checked()
    sync_api.expect(page.locator("#earlier")).to_be_visible()
    page.keyboard.press("1")
    page.keyboard.press("Enter")
    sync_api.expect(page.locator("input[value=crop]")).to_be_checked()
    page.keyboard.press("p")
    sync_api.expect(page.locator("input[value=accept]")).to_be_checked()
    counts(page, 3)  # nothing more was judged, one anew


def lit(person: Person, of: str) -> int:
    """How many of the picture's points are not nearly black, of a canvas or of what a browser shows of an element."""
    from io import BytesIO

    from PIL import Image

    shot = Image.open(BytesIO(person.page.locator(of).screenshot())).convert("L")
    return sum(shot.histogram()[40:])


def test_the_wall_is_zoomed_by_keyboard_and_an_image_opened(person: Person, study: str) -> None:
    from chambit.web.pages import vendor

    if not vendor.installed("openseadragon"):
        pytest.skip("OpenSeadragon is not installed: `make setup` brings it where npm is")
    page = person.page
    person.comes("steward")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    person.goes(study.replace("/studies/", "/exhibition/"))
    page.wait_for_selector("#wall canvas", timeout=60_000)
    sync_api.expect(page.locator("#wall-said")).to_have_text(re.compile(r"^\d+ / \d+$"))
    page.wait_for_load_state("networkidle")
    assert lit(person, "#wall") > 2000
    page.locator("#wall .openseadragon-canvas").focus()
    page.wait_for_timeout(1000)
    whole = page.locator("#wall").screenshot()
    for _ in range(6):
        page.keyboard.press("+")
    page.wait_for_timeout(1500)
    assert page.locator("#wall").screenshot() != whole
    page.keyboard.press("Enter")
    page.wait_for_url("**/catalogue/*/images/*")
    assert all(url.startswith(person.base) or url.startswith(("data:", "blob:")) for url in asked)


def test_the_map_is_drawn_and_walked_by_keyboard(person: Person, study: str) -> None:
    page = person.page
    person.comes("steward")
    person.goes(study.replace("/studies/", "/exhibition/") + "/map")
    page.wait_for_selector("#map", timeout=60_000)
    page.wait_for_load_state("networkidle")
    assert lit(person, "#map") > 300
    page.locator("#map").focus()
    page.keyboard.press("ArrowRight")
    sync_api.expect(page.locator("#map-shown")).to_be_visible()
    been = set()
    for key in ("ArrowRight", "ArrowUp", "ArrowLeft", "ArrowDown"):
        page.keyboard.press(key)
        been.add(page.locator("#map-shown span").inner_text())
    assert len(been) > 1
    page.keyboard.press("Enter")
    page.wait_for_url("**/catalogue/*/images/*")


@pytest.mark.skipif(not AXE.is_file(), reason="axe-core is not installed: `make setup` brings it where npm is")
def test_no_page_has_a_serious_barrier(person: Person, study: str) -> None:
    script = AXE.read_text(encoding="utf-8")
    found = []

    def look(path: str) -> None:
        person.goes(path)
        person.page.wait_for_load_state("networkidle")
        person.page.evaluate(script)
        told = person.page.evaluate("axe.run(document, {runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa']})")
        for one in told["violations"]:
            if one["impact"] in ("serious", "critical"):
                found.append(f"{path}: {one['id']}: {one['help']}: {[n['target'] for n in one['nodes']][:4]}")

    person.page.context.clear_cookies()
    look("/login")
    for login, paths in {
        "admin": ["/accounts", "/trail"],
        "steward": [
            "/",
            "/account",
            "/account/second",
            study,
            f"{study}/review",
            f"{study}/board",
            f"{study}/readings",
            f"{study}/inspections",
            "/exhibition",
            study.replace("/studies/", "/exhibition/"),
            study.replace("/studies/", "/exhibition/") + "/map",
            study.replace("/studies/", "/exhibition/") + "/game",
            f"/inspections/{study.rsplit('/', 1)[1]}-i1",
        ],
        "clinical": [f"{study}/board"],
        "reader": [f"/read/{study.rsplit('/', 1)[1]}-r1"],
        "inspector": [f"/inspect/{study.rsplit('/', 1)[1]}-i1"],
        "second": [f"/inspect/{study.rsplit('/', 1)[1]}-i1"],
    }.items():
        person.comes(login)
        for path in paths:
            look(path)
    assert found == []


def test_nothing_went_wrong_in_the_browser(person: Person) -> None:
    expected = re.compile(r"status of (409|404|401)")
    assert [error for error in person.errors if not expected.search(error)] == []


def test_a_changed_image_drops_the_approval(person: Person, study: str, run: Path) -> None:
    person.comes("steward")
    person.goes(f"{study}/review")
    assert person.page.locator(".masthead .chip").first.inner_text() == "승인"
    image = next((run / "candidate").rglob("*.png"))
    image.write_bytes(image.read_bytes() + os.urandom(1))
    person.goes(f"{study}/review")
    assert person.page.locator(".masthead .chip").first.inner_text() == "생성 완료"
    assert "등록된 것과 다릅니다" in person.reads()
    assert "막고 있는 것" in happens(person, study, "examine")
