"""Pictures of the hub's pages for docs/: `python benchmarks/screens.py RUN [VOLUMES] --out docs/pictures`.

A hub is made in a temporary folder: people, a board, a reader study and an inspection by simulated people, all by the
hub's own functions; then Debian's chromium walks through its pages. RUN must be a finished run on phantoms with its
`work/`; VOLUMES another one, of volumes. No picture of a patient comes into documents: other cohorts are refused.
"""

import argparse
import datetime
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyotp

from chambit.hub import accounts, board, desk, inspecting, inspections, readings, runs, signing, studies, trail
from chambit.hub.hub import Hub
from chambit.hub.inspections import Asked
from chambit.review.board.process import Event, State

PASSWORD = "a long enough pass phrase"
PORT = 8497
PRINTED = ".printed"
PEOPLE = {
    "admin": ("한관리", "administrator"), "steward": ("김데이터", "steward"), "maker": ("박생성", "generator"),
    "approver": ("정승인", "approver"), "privacy": ("이보호", "member"), "law": ("최법률", "member"),
    "ai": ("강지능", "member"), "clinical": ("윤임상", "member"), "citizen": ("한시민", "member"),
    "inspector": ("서점검", "inspector"), "second": ("문점검", "inspector"), "consumer": ("오이용", "consumer"),
    **{f"reader{k}": (f"판독{k}", "reader") for k in range(1, 6)},
}  # fmt: skip
MEMBERS = {"privacy": "privacy", "law": "law", "ai": "ai", "clinical": "clinical", "citizen": "ethics"}
ATTACHED = (
    "process.network", "process.access", "process.pledges", "generation.model_card", "safety.residual_risk",
    "source.second_inspection", "source.de_identification",
)  # fmt: skip
SETTINGS = """title: 가상병원 심의 허브
limits: {requests: 5000, logins: 500}
exhibition: {visitors: true}
"""


def main() -> None:
    """Make the hub, and take the pictures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("volumes", type=Path, nargs="?")
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        copies = [Path(shutil.copytree(one, Path(folder) / one.name)) for one in (given.run, given.volumes) if one]
        hub = Path(folder) / "hub"
        names = made(hub, copies)
        with served(hub) as base:
            shoot(base, names, given.out)
        (new := Path(folder) / "new").mkdir()
        with served(new) as base:
            shoot_first(base, str(re.search(r"/first\?word=\S+", new.with_suffix(PRINTED).read_text())[0]), given.out)


def made(folder: Path, copies: list[Path]) -> list[str]:
    """A hub with people and studies, the first one under review; ids of the studies."""
    folder.mkdir()
    (folder / "hub.yaml").write_text(SETTINGS, encoding="utf-8")
    hub = Hub.open(folder)
    who = {
        login: accounts.create(hub.database, trail.HUB, login, name, [role], PASSWORD)
        for login, (name, role) in PEOPLE.items()
    }
    secret, _ = accounts.new_secret(hub.database, who["citizen"].id)
    accounts.enrol(hub.database, who["citizen"].id, secret, pyotp.TOTP(secret).now())
    names = []
    for copy in copies:
        if not desk.dossier_of(copy).phantom:
            sys.exit(f"{copy}: not made from phantoms; its pictures do not go into documents")
        names.append(studies.register(hub.database, who["steward"].id, runs.read(copy), State.DRAFT).id)
    name = names[0]
    for login, (_, role) in PEOPLE.items():
        if role in studies.PARTS:
            studies.give_part(hub.database, trail.HUB, name, who[login], role)
    read(hub, name, {login: one.id for login, one in who.items()})
    inspected(hub, name, {login: one.id for login, one in who.items()})
    reviewed(hub, name, {login: one.id for login, one in who.items()})
    hub.database.close()
    return names


def planned(hub: Hub, name: str, by: str, title: dict[str, str]) -> readings.Reading:
    """A plan of as many images as the policy wants at least."""
    return readings.plan(hub, by, name, title, readings.rules(hub).images_least // 2, True)


def read(hub: Hub, name: str, who: dict[str, str]) -> None:
    """A reader study that five readers finished, and another that has just begun."""
    rng = np.random.default_rng(3)
    title = {"ko": "첫 판독 연구", "en": "First reader study"}
    done = planned(hub, name, who["steward"], title)
    for k in range(1, 6):
        mine = readings.invite(hub, who["steward"], done, who[f"reader{k}"], k == 1, f"{4 + 3 * k}년")
        while (due := readings.next_of(hub, done, mine).trial) is not None:
            synthetic = due.kind == "synthetic"
            score = int(np.clip(round(3.5 + 0.4 * (synthetic - 0.5) + 1.3 * rng.standard_normal()), 1, 6))
            told = {"label": "no" if rng.random() < 0.03 else "yes", "quality": int(rng.integers(3, 6)), "reject": []}
            answer = {
                "score": score,
                "plausibility": told,
                "seconds": float(rng.uniform(4, 15)),
                "moves": 2,
                "hour": 10,
            }
            readings.cast(hub, done, mine, due.id, answer | {"giveaway": None})
    readings.close(hub, who["steward"], done)
    title = {"ko": "두 번째 판독 연구", "en": "Second reader study"}
    begun = planned(hub, name, who["steward"], title)
    readings.invite(hub, who["steward"], begun, who["reader1"], True, "7년")


def inspected(hub: Hub, name: str, who: dict[str, str]) -> None:
    """An inspection that two specialists finished, and another that has just begun."""
    rng = np.random.default_rng(5)
    asked = inspections.rules(hub)
    for finished in (True, False):
        pair = [who["inspector"], who["second"]]
        title = {"ko": f"검수 {1 + (not finished)}", "en": f"Inspection {1 + (not finished)}"}
        question = {"ko": "쓸 수 있는 영상인가", "en": "Can this image be used?"}
        wanted = Asked(
            title=title,
            question=question,
            column="label",
            limit=asked.limit,
            confidence=1 - asked.risk,
            double=asked.double,
            accounts=pair,
        )
        one = inspections.plan(hub, who["steward"], name, wanted)
        for place, account in enumerate(pair):
            mine = inspecting.mine(hub, one, account)
            about = {"speciality": ("영상의학과", "호흡기내과")[place], "years": 9 + place, "institution": "가상병원"}
            inspecting.state(hub, one, mine, about | {"no_conflict": True})
            for position in range(mine.of if finished else 0):
                bad = rng.random() < 0.01
                said = {"decision": "reject", "reasons": ["artefact"]} if bad else {"decision": "accept"}
                inspecting.judge(hub, one, mine, position, said | {"seconds": float(rng.uniform(2, 9)), "moves": 1}, 0)
        if finished:
            inspections.close(hub, who["steward"], one)


def reviewed(hub: Hub, name: str, who: dict[str, str]) -> None:
    """Lead a study into its review, as far as its evidence lets it."""
    now = datetime.datetime.now(datetime.UTC).date()
    for what in ATTACHED:
        board.attach(desk.of(hub, name), who["steward"], what, "문서 12-3, 보관함 가")
    for login, field in MEMBERS.items():
        outside, subjects = login in ("law", "citizen"), login == "citizen"
        board.appoint(desk.of(hub, name), who["steward"], who[login], [field], outside, subjects)
        board.state_conflict(desk.of(hub, name), who[login], "none", "", True)
        signing.make(hub.database, who[login], "a passphrase for the key alone", desk.rules_of(hub), now)
    board.ask(desk.of(hub, name), who["law"], 2, "원본의 이용 근거는 어느 문서에 있습니까?", False)
    for event in (Event.SUBMIT, Event.PREPARE, Event.GENERATE, Event.EXAMINE, Event.OPEN_REVIEW):
        at = desk.of(hub, name, thoroughly=True)
        found = next((one for one in board.possible(at) if one.event is event), None)
        if found is None or found.unmet:
            print(event.value, [item.reason.en for item in found.unmet] if found else "cannot follow")
            return
        board.happen(at, who["steward"], event)


@contextmanager
def served(hub: Path) -> Iterator[str]:
    """The hub, answering on loopback."""
    base = f"http://127.0.0.1:{PORT}"
    command = [sys.executable, "-c", "from chambit.cli import main; main()", "serve", str(hub), "--port", str(PORT)]
    with hub.with_suffix(PRINTED).open("wb") as printed:
        server = subprocess.Popen(command, stdout=printed, env=os.environ | {"PYTHONUNBUFFERED": "1"})
    try:
        for _ in range(300):
            try:
                urllib.request.urlopen(f"{base}/login", timeout=2).close()
                break
            except OSError:
                time.sleep(0.2)
        yield base
    finally:
        server.terminate()
        server.wait(timeout=30)


def shoot(base: str, names: list[str], out: Path) -> None:
    """Walk through the pages as those who use them."""
    from playwright import sync_api

    name = names[0]
    at, show = f"/studies/{name}", f"/exhibition/{name}"
    walks: dict[str, dict[str, str]] = {
        "": {"login": "/login"},
        "admin": {"accounts": "/accounts", "trail": "/trail"},
        "steward": {
            "home": "/", "study": at, "review": f"{at}/review", "board": f"{at}/board", "readings": f"{at}/readings",
            "reading-results": f"/readings/{name}-r1/results", "inspections": f"{at}/inspections",
            "inspection-result": f"/inspections/{name}-i1", "catalogue": "/catalogue", "set": f"/catalogue/{name}",
            "images": f"/catalogue/{name}/images", "exhibition": "/exhibition", "wall": show, "map": f"{show}/map",
            "game": f"{show}/game",
        },
        "clinical": {"ballot": f"{at}/board", "account": "/account", "account-second": "/account/second"},
        "consumer": {"refused": at},
        "citizen": {"second": "/second"},
        "reader1": {"read": f"/read/{name}-r2"},
        "inspector": {"inspect": f"/inspect/{name}-i2"},
    }  # fmt: skip
    with sync_api.sync_playwright() as play:
        browser = play.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_context(viewport={"width": 1200, "height": 860}).new_page()
        for login, paths in walks.items():
            page.context.clear_cookies()
            if login:
                page.goto(f"{base}/login")
                page.fill("[name=login]", login)
                page.fill("[name=password]", PASSWORD)
                page.keyboard.press("Enter")
                page.wait_for_url(lambda url: "/login" not in url)
            for shot, path in paths.items():
                taken(page, base + path, out / f"hub-{shot}.png")
            if login == "steward":
                page.goto(f"{base}/catalogue/{name}/images")
                taken(page, base + str(page.locator("#grid a").first.get_attribute("href")), out / "hub-image.png")
                page.goto(f"{base}/language/en?to={at}")
                taken(page, f"{base}{at}", out / "hub-study-en.png")
                for other in names[1:]:
                    page.goto(f"{base}/catalogue/{other}/images")
                    first = str(page.locator("#grid a").first.get_attribute("href"))
                    taken(page, f"{base}{re.sub(r'[?#].*', '', first)}/volume", out / "hub-volume.png", wait=9000)
        browser.close()


def shoot_first(base: str, path: str, out: Path) -> None:
    """A new hub asks for its first account."""
    from playwright import sync_api

    with sync_api.sync_playwright() as play:
        browser = play.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_context(viewport={"width": 1200, "height": 860}).new_page()
        taken(page, base + path, out / "hub-first.png")
        browser.close()


def taken(page: Any, url: str, path: Path, wait: int = 2500) -> None:
    """One picture, the head of the page, in 128 colours so that the documents stay light."""
    from io import BytesIO

    from PIL import Image

    answer = page.goto(url)
    page.wait_for_timeout(wait)
    if "/exhibition/" in url and not url.endswith("/game"):
        page.wait_for_selector("#map, #wall canvas", timeout=120_000)  # made on the first visit
        page.wait_for_timeout(wait)
    height = min(2400, page.evaluate("document.documentElement.scrollHeight"))
    shot = page.screenshot(full_page=True, clip={"x": 0, "y": 0, "width": 1200, "height": height})
    Image.open(BytesIO(shot)).convert("RGB").quantize(128).save(path, optimize=True)
    print(f"{path.name}: {answer.status if answer else ''} {path.stat().st_size / 1024:.0f} KiB", flush=True)


if __name__ == "__main__":
    main()
