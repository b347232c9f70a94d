"""The prompted recipe: grid, plan, what may be sent, pace, ledger, runs that are killed."""

import itertools
import os
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import yaml
from hypothesis import given as drawn_from
from hypothesis import settings
from hypothesis import strategies as st

import promptplans
from chambit.core.errors import InputError
from chambit.core.offline import EgressError
from chambit.generate.prompted import attempts, drawing, egress, grid, pace, page, plan, running
from chambit.generate.prompted.attempts import Attempt, Attempts
from chambit.generate.prompted.fakeserver import Behaviour, FakeService
from chambit.generate.prompted.request import Answer, Ask, Busy, Denied, Request

EXAMPLE = Path(__file__).resolve().parents[1] / "examples" / "prompts-cxr.yaml"
PNG = drawing.png("posteroanterior", 1, 128, drawing.Faults())

# --- the grid


def _counts(told: plan.PromptPlan, name: str) -> Counter[str]:
    return Counter(request.levels[name] for request in grid.requests(told))


@settings(max_examples=20, deadline=None)
@drawn_from(
    st.sampled_from(["factorial", "latin", "marginals"]), st.integers(1, 60), st.integers(1, 60), st.integers(0, 9)
)
def test_classes_are_exact_and_nothing_forbidden_is_asked(way: str, well: int, ill: int, seed: int) -> None:
    told = promptplans.made(allocation=way, classes={"normal": well, "pneumonia": ill}, seed=seed)
    rows = grid.allocate(told)
    assert not grid.forbidden(told, rows).any()
    assert _counts(told, "disease") == {"normal": well, "pneumonia": ill}
    assert [r.key for r in grid.requests(told)] == [r.key for r in grid.requests(told)]
    assert len({r.key for r in grid.requests(told)}) == well + ill


def test_marginals_meet_the_shares() -> None:
    told = plan.read(EXAMPLE)
    assert told.images == 300
    assert _counts(told, "disease") == {"normal": 150, "pneumonia": 150}
    for name, factor in told.factors.items():
        shares = factor.shares or dict.fromkeys(factor.levels, 1 / len(factor.levels))
        for level, share in shares.items():
            assert abs(_counts(told, name)[level] - 300 * share) <= 1, (name, level)


def test_a_latin_hypercube_has_each_level_equally_often() -> None:
    told = promptplans.made(allocation="latin", classes={"normal": 30, "pneumonia": 30})
    rows = [r.levels for r in grid.requests(told) if r.levels["disease"] == "pneumonia"]
    for name, factor in told.factors.items():
        counts = Counter(row[name] for row in rows)
        levels = [level for level in factor.levels if name != "disease" or level == "pneumonia"]
        assert max(counts[level] for level in levels) - min(counts[level] for level in levels) <= 1, name


def test_the_full_factorial_covers_every_allowed_cell() -> None:
    told = promptplans.made(allocation="factorial", classes={"normal": 20, "pneumonia": 20})
    assert len(grid.cells(told)) == 2 * (5 * 2 * 2)  # 5 of 6 pairs of view and posture, 2 sexes, 2 ages, 2 classes
    assert len(np.unique(grid.allocate(told), axis=0)) == 40


def test_the_fit_has_a_known_answer() -> None:
    # three cells of a 2 x 2 table with margins (0.7, 0.3) and (0.6, 0.4): only (0.3, 0.4; 0.3, 0) fits
    allowed = np.array([[0, 0], [0, 1], [1, 0]])
    p = grid.fitted(allowed, [np.array([0.7, 0.3]), np.array([0.6, 0.4])], ["a", "b"])
    assert np.allclose(p, [0.3, 0.4, 0.3], atol=1e-6)
    free = np.array(list(itertools.product(range(2), range(2))))
    p = grid.fitted(free, [np.array([0.7, 0.3]), np.array([0.6, 0.4])], ["a", "b"])
    assert np.allclose(p, [0.42, 0.28, 0.18, 0.12])
    assert np.allclose(grid.fitted(free, [np.array([0.7, 0.3]), None], ["a", "b"]), [0.35, 0.35, 0.15, 0.15])
    with pytest.raises(InputError, match="cannot be met"):
        grid.fitted(allowed, [np.array([0.2, 0.8]), np.array([0.1, 0.9])], ["a", "b"])


def test_constraints_that_leave_nothing_are_named() -> None:
    with pytest.raises(InputError, match="disease pneumonia"):
        grid.cells(promptplans.made(never=[{"disease": ["pneumonia"]}]))
    never = [{"view": ["lateral", "PA"], "posture": ["supine"]}]  # half the images lie, a third may
    with pytest.raises(InputError, match="Latin hypercube"):
        grid.allocate(promptplans.made(allocation="latin", never=never))
    factors = promptplans.FACTORS | {
        "posture": {"levels": {"standing": "", "supine": ""}, "shares": {"standing": 0.1, "supine": 0.9}}
    }
    factors |= {"view": promptplans.FACTORS["view"] | {"shares": {"PA": 0.5, "AP": 0.3, "lateral": 0.2}}}
    with pytest.raises(InputError, match="cannot be met"):
        grid.allocate(promptplans.made(never=never, factors=factors))


# --- the plan


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"label": "stage"}, "none of the factors"),
        ({"classes": {"covid": 3}}, "no level"),
        ({"template": "{sex.__class__}"}, "nothing else in braces"),
        ({"template": "{race}"}, "no factor"),
        ({"words": ["Kim"]}, "small ASCII"),
        ({"image": "x.png"}, "Extra inputs"),
        ({"never": [{"view": ["oblique"]}]}, "no factor with these levels"),
        ({"factors": {"disease": {"levels": {"a": "", "b": ""}, "shares": {"a": 0.5, "b": 0.6}}}}, "add to 1"),
    ],
)
def test_a_plan_says_what_is_wrong(change: dict[str, Any], told: str, tmp_path: Path) -> None:
    path = tmp_path / "plan.yaml"
    path.write_text(yaml.safe_dump(promptplans.given(**change)), encoding="utf-8")
    with pytest.raises(InputError, match=told):
        plan.read(path)


def test_price_and_scale() -> None:
    told = plan.read(EXAMPLE)
    assert plan.cost(told).total == pytest.approx(300 * (1290 * 30 + 40 * 0.3) / 1e6)
    assert plan.scaled(told, 31).classes == {"normal": 16, "pneumonia": 15}
    assert told.sentence({name: next(iter(factor.levels)) for name, factor in told.factors.items()}) == (
        "posteroanterior chest radiograph of a 30 year old woman, slim, standing, healthy lungs without disease. "
        "Greyscale, whole chest, no text."
    )


def test_the_order_of_factors_is_part_of_a_plan() -> None:
    """It decides the requests, so another order in a run's folder is another plan."""
    turned = promptplans.made(factors=dict(reversed(promptplans.FACTORS.items())))
    assert turned.digest != promptplans.made().digest
    assert promptplans.made(title="x", limits={"cost": 1}).digest == promptplans.made().digest


# --- what may be sent

ENCODED = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk"
PLANTED = [
    "of Jane Roe",
    "of Hong Gildong",
    "환자 홍길동",
    "record 900101-1234568",
    "call 010-1234-5678",
    "on 2024-03-15",
    "patient 1234567",
    "12 34 56 78",
    f"data:image/png;base64,{ENCODED}",
    ENCODED,
    "see http://example.org/x",
    "\x89PNG",
]


def _never(request: Request) -> Answer:
    raise AssertionError("a request was sent")


@pytest.mark.parametrize("text", PLANTED)
@pytest.mark.parametrize("where", ["template", "factor"])
def test_what_could_be_a_patients_is_refused_before_a_socket_is_opened(
    text: str, where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    factors = promptplans.FACTORS | {"sex": {"levels": {"F": text, "M": "man"}}}
    change = {"template": f"chest {text} {{view}}"} if where == "template" else {"factors": factors}
    monkeypatch.setattr(socket, "socket", lambda *a, **b: pytest.fail("a socket was opened"))
    with pytest.raises(InputError, match="must not be sent") as caught:
        running.run(promptplans.made(**change), tmp_path, ask=_never)
    masked = str(caught.value)
    assert "1234568" not in masked
    assert "1234-5678" not in masked
    assert not (tmp_path / "attempts.jsonl").exists()


def test_the_example_and_known_strings() -> None:
    told = plan.read(EXAMPLE)
    egress.check_plan(told)
    with pytest.raises(InputError, match="known string"):
        egress.check_plan(told, known=["consolidation"])


def test_a_request_that_the_plan_did_not_make_is_refused() -> None:
    told = promptplans.made()
    request = grid.requests(told)[0]
    egress.check_request(request, told)
    with pytest.raises(InputError, match="not made by the plan"):
        egress.check_request(request.model_copy(update={"prompt": request.prompt + " heart"}), told)
    with pytest.raises(InputError, match="levels"):
        egress.check_request(request.model_copy(update={"levels": request.levels | {"sex": "X"}}), told)
    with pytest.raises(ValueError, match="Extra inputs"):
        Request.model_validate(request.model_dump(exclude={"key"}) | {"image": ENCODED})


def test_a_body_holds_the_prompt_once_and_nothing_else() -> None:
    request = grid.requests(promptplans.made())[0]

    def body(**more: Any) -> bytes:
        import json

        return json.dumps({"model": "m-1", "prompt": request.prompt, "seed": request.seed, **more}).encode()

    egress.check_body(body(n=1, size="1024x1024"), request)
    for more in (
        {"inlineData": {"data": "x"}},
        {"image_url": "x"},
        {"user": "Jane Roe"},
        {"note": ENCODED},
        {"n": 12345678},
    ):
        with pytest.raises(EgressError):
            egress.check_body(body(**more), request)
    with pytest.raises(EgressError, match="0 times"):
        egress.check_body(b'{"prompt": "chest"}', request)
    with pytest.raises(EgressError, match="no JSON"):
        egress.check_body(b"--boundary\r\nContent-Disposition: form-data", request)
    with pytest.raises(EgressError, match="none of"):
        egress.check_host("https://example.org/v1", ["api.openai.com"])
    with pytest.raises(EgressError, match="TLS"):
        egress.check_host("http://api.openai.com/v1", ["api.openai.com"])


# --- pace and ledger


def test_the_bucket_keeps_the_pace() -> None:
    now = [0.0]
    bucket = pace.Bucket(60, 2, lambda: now[0], lambda seconds: now.__setitem__(0, now[0] + seconds))
    times = []
    for _ in range(6):
        bucket.take()
        times.append(now[0])
    assert times == pytest.approx([0, 0, 1, 2, 3, 4])


def test_a_purse_lets_nothing_over_its_cap() -> None:
    purse = pace.Purse(1.0, 0.4)
    assert purse.set_aside(0.5)
    assert not purse.set_aside(0.2)
    purse.settle(0.5, 0.1)
    assert purse.set_aside(0.5)
    assert not purse.set_aside(0.01)


def test_the_ledger_survives_a_torn_line_and_keeps_others_out(tmp_path: Path) -> None:
    path = tmp_path / "attempts.jsonl"
    line = Attempt(key="a" * 64, number=1, at=attempts.now(), outcome="asked")
    with Attempts(path) as ledger:
        ledger.add(line)
        with pytest.raises(InputError, match="another run"):
            Attempts(path)
    with path.open("ab") as file:
        file.write(b'{"key": "bb')
    with Attempts(path) as ledger:
        assert ledger.lines == [line]
        ledger.add(line.model_copy(update={"outcome": "lost", "cost": 0.5}))
        assert ledger.spent() == 0.5
    path.write_bytes(b"nonsense\n" + path.read_bytes())
    with pytest.raises(InputError, match="line 1"):
        Attempts(path)


# --- running


def _scripted(script: dict[int, list[Any]], asked: list[str]) -> Ask:
    """Answers by how often a request was asked; the rest get an image."""
    order: dict[str, int] = {}

    def ask(request: Request) -> Answer:
        number = order.setdefault(request.key, len(order))
        asked.append(request.key)
        steps = script.get(number, [])
        step = steps.pop(0) if steps else Answer(PNG, "STOP", 10, 1290, "m", "r")
        if isinstance(step, Exception):
            raise step
        assert isinstance(step, Answer)
        return step

    return ask


def test_waits_refusals_and_costs_are_recorded(tmp_path: Path) -> None:
    told = promptplans.made(limits={"cost": 5, "concurrent": 1, "per_minute": 60000, "instead": 1})
    waits: list[float] = []
    asked: list[str] = []
    script = {
        0: [Busy(429, 7.5, "RESOURCE_EXHAUSTED")],
        1: [Answer(None, "IMAGE_SAFETY", 10, 0)],
        2: [Answer(b"no", "STOP")],
    }
    done = running.run(told, tmp_path, ask=_scripted(script, asked), sleep=waits.append)
    assert (done.images, done.refused, done.missing, done.stopped) == (12, 2, 0, "")
    assert max(waits) >= 7.5
    lines = list(attempts.read(tmp_path / "attempts.jsonl"))
    assert Counter(line.outcome for line in lines) == {"asked": 15, "busy": 1, "refused": 2, "image": 12}
    paid = 12 * (1290 * 30 + 10 * 0.3) / 1e6 + 10 * 0.3 / 1e6 + told.price.image
    assert done.spent == pytest.approx(paid)
    table = pl.read_csv(tmp_path / "labels.csv")
    assert Counter(table["label"]) == {"normal": 6, "pneumonia": 6}
    assert all((tmp_path / file).exists() for file in table["file"])
    assert (
        page.load(told, tmp_path).asked["key"].to_list()
        == pl.read_parquet(tmp_path / "requests.parquet")["key"].to_list()
    )
    again = running.run(told, tmp_path, ask=_never)
    assert (again.images, again.spent) == (12, pytest.approx(paid))


def test_the_cap_stops_a_run_and_a_higher_one_goes_on(tmp_path: Path) -> None:
    limits = {"per_minute": 60000, "concurrent": 3, "instead": 0}
    price = promptplans.made().price.image
    asked: list[str] = []
    told = promptplans.made(limits={**limits, "cost": 4.5 * price})
    done = running.run(told, tmp_path, ask=_scripted({}, asked))
    assert (done.images, done.missing) == (4, 8)
    assert "cap" in done.stopped
    done = running.run(promptplans.made(limits={**limits, "cost": 99}), tmp_path, ask=_scripted({}, asked))
    assert (done.images, len(asked), len(set(asked))) == (12, 12, 12)
    with pytest.raises(InputError, match="another plan"):
        running.run(promptplans.made(seed=4), tmp_path, ask=_never)
    kept = pl.read_parquet(tmp_path / "requests.parquet")
    kept.with_columns(seed=pl.col("seed") + 1).write_parquet(tmp_path / "requests.parquet")
    with pytest.raises(InputError, match="were changed"):
        running.run(told, tmp_path, ask=_never)


def test_a_denial_stops_at_once_and_names_the_remedy(tmp_path: Path) -> None:
    asked: list[str] = []
    told = promptplans.made(limits={"cost": 5, "concurrent": 1, "per_minute": 60000})
    with pytest.raises(InputError, match="401 key") as caught:
        running.run(told, tmp_path, ask=_scripted({0: [Denied(401, "key")]}, asked))
    assert "run again" in str(caught.value)
    assert len(asked) == 1


def test_an_image_that_lies_there_is_adopted_and_a_lost_call_counts(tmp_path: Path) -> None:
    told = promptplans.made()
    first, second = grid.requests(told)[:2]
    with Attempts(tmp_path / "attempts.jsonl") as ledger:
        for request in (first, second):
            ledger.add(Attempt(key=request.key, number=1, at=attempts.now(), outcome="asked"))
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / f"{first.key}.png").write_bytes(PNG)
    asked: list[str] = []
    done = running.run(told, tmp_path, ask=_scripted({}, asked))
    assert first.key not in asked
    assert second.key in asked
    kinds = Counter(line.outcome for line in attempts.read(tmp_path / "attempts.jsonl"))
    assert (done.images, kinds["adopted"], kinds["lost"]) == (12, 1, 1)


CHILD = """
import sys
from pathlib import Path
from chambit.generate.prompted import plan, running
running.run(plan.read(Path(sys.argv[1])), Path(sys.argv[2]))
"""


def test_killed_runs_ask_nothing_twice(tmp_path: Path) -> None:
    with FakeService(Behaviour(busy_every=4, wait=0.01, pixels=128)) as service:
        name = {"name": "fake", "model": "m", "options": {"base_url": service.url}}
        limits = {"cost": 9, "per_minute": 60000, "concurrent": 2, "instead": 0, "first_wait": 0.01}
        told = promptplans.made(provider=name, limits=limits, classes={"normal": 12, "pneumonia": 12})
        path = tmp_path / "plan.yaml"
        path.write_text(yaml.safe_dump(told.model_dump(mode="json"), sort_keys=False), encoding="utf-8")
        out = tmp_path / "run"
        child = subprocess.Popen([sys.executable, "-c", CHILD, str(path), str(out)])
        until = time.monotonic() + 60
        while len(service.served) < 6 and time.monotonic() < until:
            time.sleep(0.01)
        os.kill(child.pid, signal.SIGKILL)
        child.wait()
        before = {line.key for line in attempts.read(out / "attempts.jsonl") if line.outcome in attempts.FINAL}
        assert 0 < len(before) < 24
        served = len(service.served)
        done = running.run(told, out)
        assert done.images + done.refused == 24
        sent = Counter((call.prompt, call.seed) for call in service.served if call.image)
        twice = [pair for pair, times in sent.items() if times > 1]
        assert len(twice) <= 2  # calls under way at the kill, whose image never arrived
        keys = {(r.prompt, r.seed): r.key for r in grid.requests(told)}
        assert not {keys[pair] for pair in twice} & before
        assert not {keys[(c.prompt, c.seed)] for c in service.served[served:]} & before
