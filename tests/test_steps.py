"""Steps: what their digests say, resume, and the same result from every engine."""

import dataclasses
import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from chambit.core.engines import inline, processes
from chambit.core.steps import Context, Event, Outputs, Step, Workshop
from chambit.core.store import Store

TASKS = {f"{k:02d}": {"n": k} for k in range(7)}


def _double(store: Store, task: Mapping[str, Any]) -> str:
    """Double a number, and keep where and how it was done out of the result."""
    return store.put_json({"n": 2 * task["n"]})


def _sum(store: Store, task: Mapping[str, Any]) -> str:
    """A sum in single precision by the BLAS and by torch: rounds otherwise when split over other threads."""
    import torch

    values = np.random.default_rng(task["n"]).normal(size=(300, 400)).astype(np.float32)
    product = values @ values.T
    other = torch.from_numpy(values).sum(0).numpy()
    return store.put_arrays(product=product, other=other, threads=np.array([torch.get_num_threads()]))


def _fails(store: Store, task: Mapping[str, Any]) -> str:
    if task["n"] == task.get("fatal"):
        raise RuntimeError(f"chunk {task['n']}")
    return _double(store, task)


class Backwards:
    """An engine that ends tasks in the opposite order, and counts them."""

    workers = 1

    def __init__(self) -> None:
        self.ran: list[str] = []

    def map(self, work: Any, tasks: Mapping[str, Any], root: Path) -> Iterator[tuple[str, str]]:
        for key in reversed(list(tasks)):
            self.ran.append(key)
            yield key, work(Store(root), tasks[key])

    def close(self) -> None:
        """Nothing is held."""


def _step(run: Callable[[Context], Outputs] | None = None, **changes: Any) -> Step:
    step = Step("double", "1", {"a": 1}, {"images": "0" * 64}, run or (lambda context: {}), seed=7, items=7)
    return dataclasses.replace(step, **changes)


def _mapping(work: Any = _double, tasks: Mapping[str, Any] = TASKS) -> Callable[[Context], Outputs]:
    def run(context: Context) -> Outputs:
        made = context.map(work, tasks, unit="numbers")
        return {"all": context.store.put_json(made)}

    return run


@pytest.fixture
def events() -> list[Event]:
    return []


@pytest.fixture
def shop(tmp_path: Path, events: list[Event]) -> Iterator[Workshop]:
    shop = Workshop.at(tmp_path, Backwards(), events.append)
    yield shop
    shop.close()


# --- digests


@pytest.mark.parametrize(
    "change",
    [
        {"name": "triple"},
        {"version": "2"},
        {"options": {"a": 2}},
        {"options": {"a": 1, "b": None}},
        {"inputs": {"images": "1" * 64}},
        {"inputs": {"pictures": "0" * 64}},
        {"seed": 8},
    ],
)
def test_what_changes_the_result_changes_the_digest(change: dict[str, Any]) -> None:
    assert _step(**change).digest != _step().digest


@pytest.mark.parametrize("change", [{"run": lambda _: {"x": "y"}}, {"items": 99}, {"present": bool}])
def test_what_does_not_change_the_result_does_not(change: dict[str, Any]) -> None:
    assert _step(**change).digest == _step().digest


def test_the_seed_of_an_item_depends_on_study_step_and_index(shop: Workshop) -> None:
    def seeds(step: Step) -> list[int]:
        context = Context(step, shop.store, shop.ledger, shop.engine, shop.tell)
        return [context.seed(), context.seed(1), context.seed("a")]

    assert seeds(_step()) == seeds(_step(version="2"))
    assert not set(seeds(_step())) & set(seeds(_step(seed=8)))
    assert not set(seeds(_step())) & set(seeds(_step(name="other")))


# --- map


def test_results_come_in_the_order_of_the_tasks(shop: Workshop) -> None:
    made: list[Outputs] = []
    shop.run(_step(lambda context: made.append(context.map(_double, TASKS, unit="numbers")) or {}))
    assert list(made[0]) == list(TASKS)
    assert [shop.store.get_json(key)["n"] for key in made[0].values()] == [0, 2, 4, 6, 8, 10, 12]
    assert shop.engine.ran == list(reversed(TASKS))


def test_progress_counts_the_sizes_of_the_tasks(shop: Workshop, events: list[Event]) -> None:
    sizes = {key: 10 for key in TASKS} | {"00": 5}
    shop.run(_step(lambda context: context.map(_double, TASKS, unit="files", sizes=sizes) and {}))
    counted = [(event.done, event.total, event.unit) for event in events if event.unit]
    assert counted == [(10 * k, 65, "files") for k in range(7)] + [(65, 65, "files")]
    assert [event.state for event in events if event.state != "running"] == ["started", "done"]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, SystemExit])
def test_after_an_interruption_only_missing_chunks_are_made(
    shop: Workshop, events: list[Event], error: type[BaseException]
) -> None:
    step = _step(_mapping())
    whole = Workshop.at(shop.folder / "whole", Backwards(), lambda _: None)
    want = whole.run(step)
    whole.close()

    def stop(event: Event) -> None:
        if event.done == 3 and event.unit:
            raise error

    with pytest.raises(error):
        dataclasses.replace(shop, tell=stop).run(step)
    assert sorted(shop.ledger.chunks(step.digest)) == ["04", "05", "06"]
    assert shop.done(step) is None
    shop.engine.ran.clear()
    assert shop.run(step) == want
    assert shop.engine.ran == ["03", "02", "01", "00"]
    assert (events[1].done, events[1].total) == (3, 7)  # what was kept counts from the start


def test_an_error_in_a_chunk_keeps_those_before_it(shop: Workshop) -> None:
    bad = {key: task | {"fatal": 2} for key, task in TASKS.items()}
    with pytest.raises(RuntimeError, match="chunk 2"):
        shop.run(_step(_mapping(_fails, bad)))
    assert sorted(shop.ledger.chunks(_step().digest)) == ["03", "04", "05", "06"]


def test_a_chunk_whose_blob_is_lost_is_made_again(shop: Workshop) -> None:
    step = _step(_mapping())
    want = shop.run(step)
    shop.store.path(want["all"]).unlink()
    shop.store.path(shop.ledger.chunks(step.digest)["02"]).unlink()
    shop.engine.ran.clear()
    assert shop.run(step) == want
    assert shop.engine.ran == ["02"]


def test_a_chunk_that_does_not_still_count_is_made_again(shop: Workshop) -> None:
    def run(context: Context) -> Outputs:
        asked.clear()
        return context.map(_double, TASKS, unit="numbers", still=lambda *one: asked.append(one) or one[0] != "04")

    asked: list[tuple[str, str]] = []
    want = shop.run(_step(run))
    assert asked == []
    shop.engine.ran.clear()
    again = _step(run, present=lambda: False)
    assert shop.run(again) == want
    assert asked == list(want.items())
    assert shop.engine.ran == ["04"]


def test_chunks_of_another_step_do_not_count(shop: Workshop) -> None:
    shop.run(_step(_mapping()))
    shop.engine.ran.clear()
    shop.run(_step(_mapping(), version="2"))
    assert len(shop.engine.ran) == 7


# --- steps


def test_a_finished_step_is_not_run_again(tmp_path: Path) -> None:
    ran: list[int] = []

    def run(context: Context) -> Outputs:
        ran.append(1)
        return {"all": context.store.put_json("made")}

    for _ in range(2):  # the second time as another run of the program would
        events: list[Event] = []
        shop = Workshop.at(tmp_path, Backwards(), events.append)
        outputs = shop.run(_step(run))
        assert shop.store.get_json(outputs["all"]) == "made"
        shop.close()
    assert len(ran) == 1
    assert [event.state for event in events] == ["kept"]
    shop.store.path(outputs["all"]).unlink()
    shop = Workshop.at(tmp_path, Backwards(), events.append)
    assert shop.done(_step(run)) is None
    assert shop.run(_step(run)) == outputs
    assert len(ran) == 2
    shop.close()


def test_a_step_whose_files_are_gone_is_not_done(shop: Workshop, tmp_path: Path) -> None:
    file = tmp_path / "made"
    step = _step(lambda context: file.touch() or {"all": context.store.put_json("made")}, present=file.exists)
    assert shop.done(step) is None
    outputs = shop.run(step)
    assert shop.done(step) == outputs
    file.unlink()
    assert shop.done(step) is None
    assert shop.run(step) == outputs
    assert file.exists()


def test_a_step_is_recorded_with_an_event(shop: Workshop) -> None:
    step = _step(_mapping())
    outputs = shop.run(step)
    (event,) = shop.ledger.events("step.done")
    assert event["body"] == {"step": "double", "digest": step.digest, "outputs": outputs}
    assert shop.ledger.rate("double") > 0
    shop.ledger.verify()


def test_scratch_survives_a_failure_and_goes_with_success(shop: Workshop) -> None:
    seen: list[str] = []

    def run(context: Context) -> Outputs:
        context.scratch.mkdir(parents=True, exist_ok=True)
        note = context.scratch / "note.json"
        if note.exists():
            seen.append(json.loads(note.read_text()))
            return {}
        note.write_text('"so far"')
        raise RuntimeError

    with pytest.raises(RuntimeError):
        shop.run(_step(run))
    shop.run(_step(run))
    assert seen == ["so far"]
    assert not list((shop.folder / "scratch").iterdir())


# --- engines


def test_engines_and_numbers_of_workers_give_the_same_digests(tmp_path: Path) -> None:
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(2)
    results, ledgers = [], []
    for engine in (inline.Engine(), inline.Engine(workers=5), processes.Engine(workers=2)):
        shop = Workshop.at(tmp_path / str(len(results)), engine, lambda _: None)
        try:
            step = _step(_mapping(_sum))
            results.append(shop.run(step))
            ledgers.append(shop.ledger.chunks(step.digest))
            if isinstance(engine, processes.Engine):
                # the pool is kept; an error comes back with its type, and the workers still serve
                bad = {key: task | {"fatal": 3} for key, task in TASKS.items()}
                with pytest.raises(RuntimeError, match="chunk 3"):
                    shop.run(_step(_mapping(_fails, bad), name="fails"))
                assert shop.run(_step(_mapping(), name="again"))
        finally:
            shop.close()
    assert results[0] == results[1] == results[2]
    assert ledgers[0] == ledgers[1] == ledgers[2]
    first = Store(tmp_path / "0").get_arrays(ledgers[0]["00"])
    assert first["threads"].tolist() == [1]
    assert torch.get_num_threads() == 2
    torch.set_num_threads(before)


def test_workers_end_when_the_coordinator_is_killed(tmp_path: Path) -> None:
    code = f"""
        import os, pathlib, signal, sys
        sys.path.insert(0, {str(Path(__file__).parent)!r})
        if __name__ == "__main__":
            from chambit.core.engines.processes import Engine
            from test_steps import _double
            engine = Engine(1)
            list(engine.map(_double, {{"a": {{"n": 1}}}}, pathlib.Path({str(tmp_path)!r})))
            print(*engine._pool._processes, flush=True)
            os.kill(os.getpid(), signal.SIGKILL)
    """
    # files, not pipes: the worker that stays would keep a pipe open
    with (tmp_path / "out").open("w") as out, (tmp_path / "err").open("w") as err:
        subprocess.run([sys.executable, "-c", textwrap.dedent(code)], stdout=out, stderr=err, check=False, timeout=60)
    worker = int((tmp_path / "out").read_text().split()[-1])
    try:
        until = time.monotonic() + 10  # init may take its time to collect it
        while Path(f"/proc/{worker}").exists() and time.monotonic() < until:
            time.sleep(0.05)
        assert not Path(f"/proc/{worker}").exists()
    finally:
        if Path(f"/proc/{worker}").exists():
            os.kill(worker, 9)


def test_an_interrupt_while_workers_start_is_told_by_nobody_but_the_coordinator(tmp_path: Path) -> None:
    code = f"""
        import pathlib, sys, time
        sys.path.insert(0, {str(Path(__file__).parent)!r})
        if __name__ == "__main__":
            from chambit.core.engines.processes import Engine
            from test_steps import TASKS, _double
            engine = Engine(2)
            print("go", flush=True)
            try:
                for _ in range(10**6):
                    list(engine.map(_double, TASKS, pathlib.Path({str(tmp_path)!r})))
            except KeyboardInterrupt:
                time.sleep(0.5)  # for a worker to say something, if it does
                engine.close()
                print("interrupted")
    """
    for delay in (0.03, 0.1, 0.2):
        run = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(code)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        try:
            assert run.stdout is not None
            assert run.stdout.readline() == "go\n"
            time.sleep(delay)
            os.killpg(run.pid, signal.SIGINT)  # as a terminal does: the whole group
            assert run.communicate(timeout=30) == ("interrupted\n", "")
        finally:
            run.kill()
