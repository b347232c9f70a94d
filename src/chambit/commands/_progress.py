"""Progress of a run: a live bar with rate and time left on a terminal, plain lines in a log."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import click

from chambit.core.steps import Event, Listener

LINE_EVERY = 5.0  # seconds between lines of a log


class Teller:
    """Turns events into lines; `bar` says whether the terminal can be redrawn."""

    def __init__(self, bar: bool) -> None:
        self.bar = bar
        self.place = ""
        self.began = self.began_part = self.printed = time.monotonic()
        self.first = 0

    def __call__(self, event: Event) -> None:
        """Show one event."""
        now = time.monotonic()
        if event.state == "step":
            self.place = f"[{event.done}/{event.total}]"
        elif event.state == "started":
            self.began, self.printed, self.first = now, now, -1
            if not self.bar:
                click.echo(f"{self.place} {event.step} ...")
        elif event.state == "kept":
            self._line(f"{self.place} {event.step}: done before")
        elif event.state == "done":
            self._line(f"{self.place} {event.step}: {now - self.began:.1f} s")
        elif event.note:
            self._line(f"    {event.note}")
        elif event.total:
            self._progress(event, now)

    def _progress(self, event: Event, now: float) -> None:
        if self.first < 0 or event.done < self.first:
            self.first, self.began_part = event.done, now
        done, seconds = event.done - self.first, now - self.began_part
        rate = done / seconds if seconds > 0 and done else 0.0
        left = f"{(event.total - event.done) / rate:.0f} s left" if rate else "..."
        text = f"{self.place} {event.step}: {event.done}/{event.total} {event.unit}, {rate:.1f}/s, {left}"
        if self.bar:
            share = round(20 * event.done / event.total)
            click.echo(f"\r\x1b[2K{text} {'█' * share}{'░' * (20 - share)}", nl=False)
        elif now - self.printed >= LINE_EVERY:
            self.printed = now
            click.echo(f"    {text}")

    def _line(self, text: str) -> None:
        click.echo(f"\r\x1b[2K{text}" if self.bar else text)


@contextmanager
def told() -> Iterator[Listener]:
    """A listener for the length of a run; a terminal gets a fresh line at the end."""
    teller = Teller(sys.stdout.isatty())
    try:
        yield teller
    finally:
        if teller.bar:
            click.echo()
