"""The command line: names and one-line helps; a command's module is imported when it is called, not before."""

import importlib
import sys

import click

from chambit import __version__

COMMANDS = {
    "demo": "Run the whole gate on the embedded phantom cohort.",
    "init": "Write a commented study file to start from.",
    "prepare": "De-identify originals; find text, outliers and wrong labels.",
    "plan": "Show a study's steps, what is done, and what the rest will take.",
    "run": "Run a study, or go on where it stopped.",
    "prompt": "Order images by text: plan, price, ask, show.",
    "sample": "Draw more with what a finished run has trained.",
    "audit": "Examine a synthetic set that somebody else made.",
    "serve": "Serve the review and reader studies as pages.",
    "dossier": "Write the dossier of a finished run as PDF, by language.",
    "inspect": "Inspect what was delivered against its contract.",
    "seal": "Encrypt originals at rest.",
    "unseal": "Restore sealed originals with their key.",
    "dispose": "Destroy the key of sealed originals and write a certificate.",
    "measures": "List what can be measured.",
    "doctor": "Say what this machine can do, and how to mend what it cannot.",
}


class Lazy(click.Group):
    """A group that knows its commands' names and helps without importing them."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names, in the order a person meets them."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import one command; None when there is none of that name."""
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = importlib.import_module(f"chambit.commands.{cmd_name}").command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the one-line helps, without importing a command."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(cls=Lazy, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="chambit")
def cli() -> None:
    """Chambit: the release gate for synthetic medical images.

    Makes synthetic images from real ones, measures whether they are useful and safe, and writes the dossier a review
    board decides on. Runs offline.
    """


def main() -> None:
    """Entry point: prints errors a person can mend once, without a traceback."""
    from chambit.core.errors import ChambitError

    try:
        cli(standalone_mode=False)
    except ChambitError as error:
        click.secho(str(error), fg="red", err=True)
        sys.exit(2)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        click.secho("Stopped. What is done is kept; the same command goes on from here.", fg="yellow", err=True)
        sys.exit(130)
