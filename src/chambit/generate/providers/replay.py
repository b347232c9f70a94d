"""Answers of a run that is over, given again: images, refusals and their tokens, from that run's folder.

The recording is the folder of `chambit prompt run` itself. Requests are found by what they ask for (prompt, seed), so a
plan that names `replay` in place of the service plays the same images. Costs nothing and opens no connection.
"""

from pathlib import Path

import polars as pl

from chambit.core import digest
from chambit.core.errors import InputError, Problem
from chambit.core.evidence import Frozen
from chambit.generate.prompted import attempts
from chambit.generate.prompted.request import Answer, Ask, Denied, Request

version = "1"
LEAVES_SITE = False
KEY = ""


class Options(Frozen):
    """folder: of the run that is played."""

    folder: Path


def hosts(options: Options) -> tuple[str, ...]:
    """None."""
    return ()


def opened(options: Options) -> Ask:
    """The answer of one request as it was.

    Raises:
        InputError: when the folder holds no run.
    """
    listed = options.folder / "requests.parquet"
    if not listed.exists():
        problem = Problem(str(options.folder), "holds no requests.parquet", "give the folder of a `chambit prompt run`")
        raise InputError("There is no recording to play.", [problem])
    table = pl.read_parquet(listed)
    keys = {(prompt, seed): key for key, prompt, seed in table.select("key", "prompt", "seed").iter_rows()}
    lines = {line.key: line for line in attempts.read(options.folder / "attempts.jsonl")}

    def ask(request: Request) -> Answer:
        line = lines.get(keys.get((request.prompt, request.seed), ""))
        if line is None or line.outcome not in attempts.FINAL:
            raise Denied(404, f"the recording has no answer for {request.key[:16]}")
        facts = (line.finish or line.outcome, line.tokens_in, line.tokens_out, line.model, line.response)
        if line.outcome == "refused":
            return Answer(None, *facts)
        data = (options.folder / "images" / line.file).read_bytes()
        if digest.of_bytes(data) != line.sha256:
            raise Denied(410, f"{line.file} is not the image that was recorded")
        return Answer(data, *facts)

    return ask
