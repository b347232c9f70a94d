"""`chambit serve STUDY_OR_HUB`: the review as pages for a browser on this machine or the hospital's network."""

from pathlib import Path

import click


@click.command("serve")
@click.argument("study_or_hub", type=click.Path(path_type=Path))
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on; 0.0.0.0 for a network.")
@click.option("--port", default=8420, show_default=True, type=click.IntRange(0, 65535), help="Port to listen on.")
def command(study_or_hub: Path, host: str, port: int) -> None:
    """Serve the review and reader studies as pages.

    STUDY_OR_HUB is the output folder of a finished run, or a folder for a hub of many studies (made when it is not
    there). Nothing is loaded from elsewhere; settings stand in hub.yaml in the hub's folder.
    """
    import importlib.util

    from chambit.core.errors import InputError, Problem

    needed = ("fastapi", "uvicorn", "argon2", "alembic", "authlib", "httpx2")
    lacking = [name for name in needed if importlib.util.find_spec(name) is None]
    if lacking:
        problem = Problem("chambit serve", f"needs {', '.join(lacking)}", "pip install 'chambit[web]'")
        raise InputError("The web application is not installed.", [problem])
    import uvicorn

    from chambit.core import offline
    from chambit.hub import hub as hubs
    from chambit.web.app import create_app

    hub = hubs.opened(study_or_hub)
    here = hub.settings.address or f"http://{'127.0.0.1' if host == '0.0.0.0' else host}:{port}"
    click.echo(f"Hub: {hub.folder}")
    click.secho(f"Open {here}", bold=True)
    if hub.first:
        click.echo("There is no account yet. Whoever opens this address makes the first one, an administrator:")
        click.secho(f"  {here}/first?word={hub.first}", bold=True)
    settings = uvicorn.Config(
        create_app(hub), host=host, port=port, log_level="warning", access_log=False, server_header=False
    )
    listening = settings.bind_socket()
    offline.guard()  # after the own name was looked up; from here on only what hub.yaml names is reached
    uvicorn.Server(settings).run(sockets=[listening])
