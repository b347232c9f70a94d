"""Run a prompt plan against a provider: resumable after any kill, under a cap, and no image is paid for twice.

The folder of a run:

    plan.yaml          the plan as it was read; another plan is refused here
    requests.parquet   key, class, levels, prompt and seed of every request: the plan, before any call
    attempts.jsonl     `chambit.generate.prompted.attempts`
    images/KEY.png     each image as it came (.jpg where it came so)
    labels.csv         file, label, subject, levels, sha256 of every image that is there

What is still to do is the plan minus what has a final outcome, so the same call goes on where it was stopped.
"""

import threading
import time
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import polars as pl
import yaml

from chambit.core import digest, extensions
from chambit.core.errors import InputError, Problem
from chambit.core.store import write_atomically
from chambit.generate.prompted import attempts, egress, grid, pace, provenance
from chambit.generate.prompted import plan as plans
from chambit.generate.prompted.attempts import Attempt, Attempts
from chambit.generate.prompted.plan import PromptPlan
from chambit.generate.prompted.request import SHORT, Answer, Ask, Busy, Denied, Pending, Request

PROVIDERS = "chambit.generate.providers"
Tell = Callable[[int, int, str], None]
"""Progress: how many requests have a final outcome, of how many, and a sentence or ""."""


class Summary(NamedTuple):
    """Outcome of a run: images there, calls refused, images missing, what it cost in all, and why it stopped ("")."""

    images: int
    refused: int
    missing: int
    spent: float
    stopped: str


def asked_of(plan: PromptPlan) -> tuple[ModuleType, Any]:
    """The plan's provider and its options, validated by the provider itself.

    Raises:
        InputError: when its options are wrong; ExtensionError: when there is none of that name.
    """
    from pydantic import ValidationError

    provider = extensions.load(PROVIDERS, plan.provider.name)
    try:
        return provider, provider.Options.model_validate(plan.provider.options)
    except ValidationError as error:
        problems = [
            Problem(f"provider.options.{'.'.join(map(str, one['loc']))}", one["msg"], f"see `{plan.provider.name}`")
            for one in error.errors()
        ]
        raise InputError("The provider's options cannot be used.", problems) from error


def table(requests: Sequence[Request], label: str) -> pl.DataFrame:
    """Requests as `requests.parquet` holds them: key, label, prompt, seed, and `asked_FACTOR` for each factor."""
    return pl.DataFrame(
        [
            {"key": one.key, "label": one.levels[label], "prompt": one.prompt, "seed": one.seed}
            | {f"asked_{name}": level for name, level in one.levels.items()}
            for one in requests
        ]
    )


def prepare(plan: PromptPlan, folder: Path, known: Collection[str] = ()) -> list[Request]:
    """Look at a plan, lay out its requests and write them to the folder; nothing is asked.

    Raises:
        InputError: when the plan may not be sent, or the folder belongs to another plan.
    """
    egress.check_plan(plan, known)
    requests = laid_out(plan, folder)
    text = yaml.safe_dump(plan.model_dump(mode="json"), allow_unicode=True, sort_keys=False)
    write_atomically(folder / "plan.yaml", text.encode())
    if not (folder / "requests.parquet").exists():
        write_parquet(table(requests, plan.label), folder / "requests.parquet")
    return requests


def laid_out(plan: PromptPlan, folder: Path) -> list[Request]:
    """A plan's own requests: those of the folder where it has them, so that a run goes on with what it began with.

    Raises:
        InputError: when the folder is the run of another plan, or its requests were changed.
    """
    check_folder(plan, folder)
    kept = folder / "requests.parquet"
    if not kept.exists():
        return grid.requests(plan)
    rows = pl.read_parquet(kept).head(plan.images).to_dicts()
    found = [grid.request(plan, {name: row[f"asked_{name}"] for name in plan.factors}, row["seed"]) for row in rows]
    if len(found) < plan.images or [one.key for one in found] != [row["key"] for row in rows]:
        problem = Problem(str(kept), "its requests are not this plan's", "restore the file, or give another folder")
        raise InputError("The requests of the run were changed.", [problem])
    return found


def check_folder(plan: PromptPlan, folder: Path) -> None:
    """Whether a folder is empty of runs or holds one of this plan; title, price and limits may have changed.

    Raises:
        InputError: when it is the run of another plan.
    """
    kept = folder / "plan.yaml"
    if kept.exists() and plans.read(kept).digest != plan.digest:
        problem = Problem(str(folder), "holds the run of another plan", "give another folder, or that run's plan.yaml")
        raise InputError("The folder belongs to another plan.", [problem])


def write_parquet(frame: pl.DataFrame, path: Path) -> None:
    """Write a table whole or not at all."""
    import io

    buffer = io.BytesIO()
    frame.write_parquet(buffer, compression="zstd", statistics=False)
    write_atomically(path, buffer.getvalue())


def run(
    plan: PromptPlan,
    folder: Path,
    *,
    ask: Ask | None = None,
    known: Collection[str] = (),
    tell: Tell = lambda done, of, text: None,
    clock: pace.Clock = time.monotonic,
    sleep: pace.Sleep | None = None,
) -> Summary:
    """Ask for everything of a plan that has no final outcome yet.

    Args:
        plan: the plan.
        folder: of the run, see the module.
        ask: the provider's call; opened by the plan's provider where not given.
        known: strings of a cohort that must not be sent.
        tell: hears of progress, from one thread at a time.
        clock: of the pace, seconds; for tests.
        sleep: waits; one that a stop cuts short where not given.

    Raises:
        InputError: when the plan may not be sent or the provider denies every call.
    """
    requests = prepare(plan, folder, known)
    for request in requests:
        egress.check_request(request, plan, known)
    if ask is None:
        provider, options = asked_of(plan)
        ask = provider.opened(options)
    with Attempts(folder / "attempts.jsonl") as ledger:
        every = with_replacements(plan, requests, ledger.lines)
        _settle_last_run(plan, every, folder, ledger)
        worker = _Worker(plan, folder, ledger, ask, clock, sleep)
        turn = 0
        while turn <= plan.limits.instead and not worker.stopped:
            every = with_replacements(plan, requests, ledger.lines, turn)
            standing = ledger.standing()
            todo = [r for r in every if r.key not in standing or standing[r.key].last.outcome not in attempts.FINAL]
            worker.all(todo, len(every), tell)
            turn += 1
        every = with_replacements(plan, requests, ledger.lines)
        write_parquet(table(every, plan.label), folder / "requests.parquet")
        write_labels(plan, every, folder, ledger.lines)
        outcomes = [s.last.outcome for s in ledger.standing().values()]
        images, refused = sum(outcome in ("image", "adopted") for outcome in outcomes), outcomes.count("refused")
        return Summary(images, refused, plan.images - images, ledger.spent(), worker.stopped)


def with_replacements(
    plan: PromptPlan, requests: Sequence[Request], lines: list[Attempt], turns: int | None = None
) -> list[Request]:
    """The plan's requests and those that replace refused ones, by what the ledger says; so a second start has the same.

    Args:
        plan: the plan.
        requests: its own.
        lines: of the ledger.
        turns: at most so many replacements of one request; the plan's own number where not given.
    """
    standing = attempts.standing(lines)
    every, latest = list(requests), list(requests)
    for _ in range(plan.limits.instead if turns is None else turns):
        refused = [r for r in latest if r.key in standing and standing[r.key].last.outcome == "refused"]
        latest = [grid.instead(r) for r in refused]
        every += latest
    return every


def image_file(folder: Path, key: str) -> Path | None:
    """The file of an image that came, or None."""
    return next(
        (path for end in (".png", ".jpg", ".webp") if (path := folder / "images" / f"{key}{end}").exists()), None
    )


def write_labels(plan: PromptPlan, requests: Sequence[Request], folder: Path, lines: list[Attempt]) -> None:
    """Write labels.csv: a row for each image that is there; every image is a subject of its own."""
    files = {line.key: line for line in lines if line.outcome in ("image", "adopted")}
    rows = [
        {
            "file": f"images/{files[one.key].file}",
            "label": one.levels[plan.label],
            "subject": one.key[:SHORT],
            **{f"asked_{name}": level for name, level in one.levels.items() if name != plan.label},
            "sha256": files[one.key].sha256,
            "model": files[one.key].model,
            "c2pa": files[one.key].provenance.get("c2pa", ""),
            "digital_source_type": provenance.SOURCE_TYPE,
        }
        for one in requests
        if one.key in files
    ]
    table = pl.DataFrame(rows or {name: [""][:0] for name in ("file", "label", "subject")})
    write_atomically(folder / "labels.csv", table.write_csv().encode())


def _settle_last_run(plan: PromptPlan, requests: Sequence[Request], folder: Path, ledger: Attempts) -> None:
    """Close calls under way when the last process died: adopt the image if it lies there, else count the cost."""
    every = ledger.standing()
    for request in requests:
        standing = every.get(request.key)
        if standing is None or standing.last.outcome != "asked":
            continue
        file = image_file(folder, request.key)
        line: dict[str, Any] = {"key": request.key, "number": standing.last.number, "at": attempts.now()}
        line["cost"] = plan.price.image
        if file is None:
            ledger.add(Attempt(**line, outcome="lost"))
        else:
            data = file.read_bytes()
            line |= {"file": file.name, "sha256": digest.of_bytes(data), "provenance": provenance.found(data)}
            ledger.add(Attempt(**line, outcome="adopted"))


class _Worker:
    """Calls with pace, cap and ledger; stops everything when one call is denied or the cap is reached."""

    def __init__(
        self, plan: PromptPlan, folder: Path, ledger: Attempts, ask: Ask, clock: pace.Clock, sleep: pace.Sleep | None
    ) -> None:
        self.plan, self.folder, self.ledger, self.ask, self.clock = plan, folder, ledger, ask, clock
        self.halt = threading.Event()
        # a wait that a stop cuts short
        self.sleep: pace.Sleep = sleep or (lambda seconds: _let(self.halt, seconds))
        limits = plan.limits
        self.bucket = pace.Bucket(limits.per_minute, limits.concurrent, clock, self.sleep)
        self.purse = pace.Purse(limits.cost, ledger.spent())
        self.before: dict[str, attempts.Standing] = {}
        self.stopped = ""

    def all(self, todo: Sequence[Request], of: int, tell: Tell) -> None:
        """Ask for all of these, some at a time."""
        self.before = self.ledger.standing()
        done = of - len(todo)
        tell(done, of, "")
        waiting = iter(todo)
        with ThreadPoolExecutor(self.plan.limits.concurrent) as pool:
            running: set[Future[bool]] = set()
            try:
                # handed over a few at a time: after a stop nothing is left in a queue
                while not self.halt.is_set():
                    while len(running) < 2 * self.plan.limits.concurrent and (one := next(waiting, None)) is not None:
                        running.add(pool.submit(self.one, one))
                    if not running:
                        break
                    ended, running = wait(running, return_when=FIRST_COMPLETED)
                    for future in ended:
                        done += future.result()
                        tell(done, of, "")
            except BaseException:
                self.halt.set()
                raise
        for future in running:
            done += future.result()
        tell(done, of, self.stopped)

    def one(self, request: Request) -> bool:
        """Ask for one image, again while the service is busy; whether it came to a final outcome."""
        first = self.before[request.key].attempts + 1 if request.key in self.before else 1
        for attempt in range(1, self.plan.limits.attempts + 1):
            price = self.plan.price.image
            if self.halt.is_set():
                return False
            if not self.purse.set_aside(price):
                self._stop(f"the cap of {self.plan.limits.cost:g} {self.plan.price.currency} is reached")
                return False
            self.bucket.take()
            if self.halt.is_set():
                return False
            line = {"key": request.key, "number": first + attempt - 1, "body": digest.of_bytes(request.prompt.encode())}
            began = self.clock()
            try:
                answer = self._call(request, line)
            except Busy as busy:
                self._waited(request, busy, line | {"seconds": self.clock() - began}, attempt)
            except Pending:
                return False
            except Denied as denied:
                told = {"at": attempts.now(), "status": denied.status, "seconds": self.clock() - began}
                self.ledger.add(Attempt(**line, **told, outcome="failed", finish=str(denied)[:80]))
                self._stop("the provider denies the call")
                problem = Problem(self.plan.provider.name, str(denied), "mend key, address or model, and run again")
                raise InputError("The provider denies the call.", [problem]) from denied
            except BaseException:
                self._stop("an error")
                raise
            else:
                done = line | {"at": attempts.now(), "seconds": self.clock() - began}
                return self._kept(request, answer, done, price)
            self.purse.settle(price, 0.0)  # a call that was put off is not billed
        return False

    def _waited(self, request: Request, busy: Busy, line: dict[str, Any], attempt: int) -> None:
        limits = self.plan.limits
        pause = pace.backoff(attempt, limits.first_wait, limits.longest_wait, busy.wait, request.key)
        told = {"at": attempts.now(), "status": busy.status, "wait": pause, "finish": str(busy)[:80]}
        self.ledger.add(Attempt(**line, **told, outcome="busy"))
        if attempt < limits.attempts:
            self.sleep(pause)

    def _call(self, request: Request, line: dict[str, Any]) -> Answer:
        if not getattr(self.ask, "waits_for_a_person", False):
            self.ledger.add(Attempt(**line, at=attempts.now(), outcome="asked"))
        return self.ask(request)

    def _kept(self, request: Request, answer: Answer, line: dict[str, Any], aside: float) -> bool:
        price = self.plan.price
        told = answer.tokens_in + answer.tokens_out > 0
        cost = price.of(answer.tokens_in, answer.tokens_out) if told else price.image
        line |= {"tokens_in": answer.tokens_in, "tokens_out": answer.tokens_out, "told": told, "cost": cost}
        line |= {"finish": answer.finish, "model": answer.model, "response": answer.response, "status": 200}
        self.purse.settle(aside, cost)
        if answer.image is None:
            self.ledger.add(Attempt(**line, outcome="refused"))
            return True
        end = provenance.ending(answer.image)
        if not end:
            self.ledger.add(Attempt(**line | {"finish": "no PNG, JPEG or WebP"}, outcome="refused"))
            return True
        name = f"{request.key}{end}"
        write_atomically(self.folder / "images" / name, answer.image)
        marks = provenance.found(answer.image)
        self.ledger.add(
            Attempt(**line, outcome="image", file=name, sha256=digest.of_bytes(answer.image), provenance=marks)
        )
        return True

    def _stop(self, why: str) -> None:
        self.stopped = self.stopped or why
        self.halt.set()


def _let(halt: threading.Event, seconds: float) -> None:
    halt.wait(seconds)
