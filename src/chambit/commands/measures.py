"""`chambit measures`: what can be measured, one line each."""

import click


@click.command("measures")
def command() -> None:
    """List what can be measured, one line each."""
    from chambit.core import extensions

    for kind in ("utility", "safety"):
        click.secho(kind, bold=True)
        for entry in extensions.listing(f"chambit.measure.{kind}").values():
            click.echo(f"  {entry.name:<18} {entry.help}")
