"""A small hospital's folder with an answer key, and `chambit prepare` run on it as a person would."""

import csv
from pathlib import Path

import yaml

from chambit.phantoms import hospital
from chambit.review import policy
from tinystudy import Said, chambit

PATIENTS, PIXELS = 12, 128
PLANTED = hospital.Options(burned=0.2, outliers=0.05, duplicates=0.05)


def write_policy(path: Path) -> Path:
    """The default policy for a folder of two dozen files."""
    raw = policy.merged(policy.FOLDER / "default.yaml")
    raw["settings"]["preparation"] |= {"plants": 1, "covered": 0.3}
    raw["settings"].setdefault("quality", {}).update(least=20)
    path.write_text(yaml.safe_dump(raw, allow_unicode=True), encoding="utf-8")
    return path


def prepare(home: Path, *more: str) -> Said:
    """`chambit prepare` on the folder `in` of a home."""
    named = {"--out": home / "out", "--key": home / "site.key", "--policy": home / "small.yaml"}
    options = [part for name, value in named.items() for part in (name, value)]
    return chambit("prepare", home / "in", *options, "--engine", "inline", *more)


def run_once(home: Path) -> str:
    """Write the originals, prepare them, return what was printed."""
    home.mkdir()
    key = hospital.write(home / "in", PATIENTS, seed=5, pixels=PIXELS, options=PLANTED)
    hospital.write_key(key, home / "key.json")
    write_policy(home / "small.yaml")
    said = prepare(home)
    if said.code != 0:
        raise AssertionError(said.err)
    return said.out


def rows_of(path: Path) -> list[dict[str, str]]:
    """The rows of a CSV file."""
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))
