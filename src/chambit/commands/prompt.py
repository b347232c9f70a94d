"""`chambit prompt`: images ordered by text: plan and price them, ask for them, look at what came."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    import numpy as np

    from chambit.generate.prompted.page import Run
    from chambit.generate.prompted.plan import PromptPlan
    from chambit.generate.prompted.running import Tell
    from chambit.generate.refine.visible_mark import Mark

PATH = click.Path(path_type=Path)
OUT = click.option("--out", type=PATH, metavar="DIR", help="Folder of the run.  [default: out/PLAN]")
PIXELS = 64  # at which the verifier reads images
MARKED = 128  # at which marks are looked for: a stamp of 5 % of the width has some forty pixels
REFERENCE = 96  # phantoms beside which marks are looked for where no real images are given
LINE_EVERY = 5.0  # seconds


@click.group("prompt")
def command() -> None:
    """Order images by text: plan, ask, show.

    Only sentences made from the plan are sent, to its provider's host alone. Nothing of a cohort is read.
    """


@command.command("plan")
@click.argument("plan", type=PATH)
@OUT
@click.option("-n", "--images", type=click.IntRange(min=1), metavar="N", help="So many images in place of the plan's.")
def plan_(plan: Path, out: Path | None, images: int | None) -> None:
    """Lay out the requests and price them; nothing is asked."""
    from chambit.generate.prompted import page, running
    from chambit.generate.prompted import plan as plans

    told = _read(plan, images)
    running.asked_of(told)
    folder = _folder(plan, out)
    running.prepare(told, folder)
    run = page.load(told, folder)
    expected = plans.cost(told)
    click.echo(f"{told.title}\nplan {told.digest}\nprovider {told.provider.name}, model {told.provider.model}\n")
    for name, factor in told.factors.items():
        counts = dict(run.asked.head(told.images)[f"asked_{name}"].value_counts().iter_rows())
        click.echo(f"  {name:<12} " + ", ".join(f"{level} {counts.get(level, 0)}" for level in factor.levels))
    click.echo(f"\n  {run.asked['prompt'][0]}\n")
    click.echo(
        f"{expected.images:,} images at {expected.each:.4f} {expected.currency} = {expected.total:.2f} "
        f"{expected.currency} (cap {told.limits.cost:.2f}); price as of {told.price.as_of}: {told.price.source}"
    )
    done = len(run.obtained)
    if done:
        click.echo(f"{done:,} of them are there.")
    click.echo(f"Requests: {folder / 'requests.parquet'}")


@command.command("run")
@click.argument("plan", type=PATH)
@OUT
@click.option("-n", "--images", type=click.IntRange(min=1), metavar="N", help="So many images in place of the plan's.")
def run_(plan: Path, out: Path | None, images: int | None) -> None:
    """Ask for what is missing, under the plan's cap and pace. A stopped call goes on where it was."""
    from chambit.generate.prompted import egress, running

    told = _read(plan, images)
    provider, options = running.asked_of(told)
    folder = _folder(plan, out)
    egress.only(provider.hosts(options))
    if provider.LEAVES_SITE:
        click.echo(f"Sentences of the plan go to {', '.join(provider.hosts(options))}; nothing else leaves.")
    done = running.run(told, folder, tell=_counted())
    _drawn(told, folder, [], verify=False)
    click.echo(
        f"{done.images:,} images, {done.refused:,} refusals, {done.missing:,} missing; "
        f"spent {done.spent:.2f} of {told.limits.cost:.2f} {told.price.currency}"
    )
    if done.stopped:
        click.secho(f"Stopped: {done.stopped}.", fg="yellow")
    elif done.missing:
        click.secho("The same call asks for what is missing.", fg="yellow")
    click.echo(f"Page: {folder / 'report.html'}; `chambit prompt show` also reads the factors in the images.")


@command.command("show")
@click.argument("plan", type=PATH)
@OUT
@click.option("-n", "--images", type=click.IntRange(min=1), metavar="N", help="So many images in place of the plan's.")
@click.option("--real", type=PATH, metavar="DIR", help="Real images to look for marks beside; they are only read.")
@click.option("--no-verify", is_flag=True, help="Do not read the factors in the images (saves half a minute).")
def show(plan: Path, out: Path | None, images: int | None, real: Path | None, no_verify: bool) -> None:
    """Write the page of a run: coverage, refusals, cost, requested against obtained, the images."""
    told, folder = _read(plan, images), _folder(plan, out)
    files = sorted(str(path) for path in real.rglob("*") if path.is_file() and path.suffix != ".csv") if real else []
    _drawn(told, folder, files, verify=not no_verify)
    click.echo(f"Page: {folder / 'report.html'}")


@command.command("serve-fake")
@click.argument("plan", type=PATH)
@click.option("--port", type=click.IntRange(0, 65535), default=8765, show_default=True, metavar="N")
@click.option("--busy-every", type=click.IntRange(min=0), default=5, show_default=True, metavar="N", help="0: never.")
def serve_fake(plan: Path, port: int, busy_every: int) -> None:
    """Serve the stand-in on this machine until Ctrl-C; it speaks Gemini's and OpenAI's protocols."""
    from chambit.generate.prompted.fakeserver import Behaviour, FakeService

    told = _read(plan, None)
    with FakeService(Behaviour(busy_every=busy_every, pixels=min(told.provider.pixels, 512)), port) as service:
        click.echo(f"{service.url} answers; provider.options.base_url of this plan may name it:")
        click.echo(f"  gemini: {service.url}\n  openai_compatible: {service.url}/v1")
        while True:
            time.sleep(3600)


def _read(path: Path, images: int | None) -> "PromptPlan":
    from chambit.generate.prompted import plan as plans

    told = plans.read(path)
    return told if images is None else plans.scaled(told, images)


def _folder(plan: Path, out: Path | None) -> Path:
    return (out or Path("out") / plan.stem).resolve()


def _drawn(told: "PromptPlan", folder: Path, real: Sequence[str], verify: bool) -> None:
    """Read the images, look for marks, write report.html."""
    from chambit.generate.prompted import page, verification

    run = page.load(told, folder)
    verifier = verification.trained(told.seed) if verify and len(run.obtained) and "view" in told.factors else None
    checks = verifier.checks if verifier else {}
    marks, reference = _marks(run, real)
    seen = page.looked_at(run, PIXELS, verifier, checks, page.Marks(marks, MARKED, reference))
    page.write(run, seen, folder / "report.html")


def _marks(run: "Run", real: Sequence[str]) -> tuple[list["Mark"], str]:
    from chambit.generate.prompted import page
    from chambit.generate.refine import visible_mark
    from chambit.review import policy

    paths = run.obtained["path"].to_list()
    if len(paths) < 2:
        return [], ""
    options = visible_mark.Options.model_validate(policy.load("default").settings["visible_mark"])
    beside = page.grey(real, MARKED, MARKED) if real else _phantoms()
    reference = f"{len(beside)} real images" if real else f"{len(beside)} chest phantoms"
    return visible_mark.find(page.grey(paths, MARKED, MARKED), beside, options), reference


def _phantoms() -> "np.ndarray":
    import numpy as np

    from chambit.phantoms import chest

    drawn, _ = chest.render(chest.visits(0, REFERENCE, seed=0), pixels=MARKED, seed=0)
    return drawn.astype(np.float32) / np.float32(4095)


def _counted() -> "Tell":
    """Tells how far a run is, at most every few seconds."""
    last = 0.0

    def tell(done: int, of: int, text: str) -> None:
        nonlocal last
        if text or done == of or time.monotonic() - last >= LINE_EVERY:
            last = time.monotonic()
            click.echo(f"{done:,} of {of:,} requests {text}".rstrip())

    return tell
