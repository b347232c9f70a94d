"""`chambit prepare` on a folder whose identifiers, outliers, duplicates and wrong labels are known.

    python benchmarks/prepare.py --patients 200                  the command as a steward runs it, then other tools
    python benchmarks/prepare.py --patients 200 --only tools     header de-identification of DICOM files alone

The folder is drawn (`chambit.phantoms.hospital`), cleaned, and searched by `tests/residue.py`, which shares no code
with the cleaning. Intervals are Clopper-Pearson, 95 %, two-sided; identifiers of one file are not independent, so the
residual counts have none. Tools are compared on equal DICOM files, each in a process of its own with one thread,
reading and writing included; what other tools say they do not do (pixels, names) is not held against them.
"""

import argparse
import csv
import os
import subprocess
import sys
import tempfile
import time
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

sys.path.append(str(Path(__file__).resolve().parents[1] / "tests"))

import residue
from chambit.measure.interval import clopper_pearson
from chambit.phantoms import hospital
from chambit.phantoms.hospital import AnswerKey

COVERED = 0.05  # of a text's ink that may still be seen where a text counts as covered
DUPLICATE_CHECKS = ("exact_duplicate", "near_duplicate")
Row = Mapping[str, str]


class Rate(NamedTuple):
    """A count of a count."""

    found: int
    of: int

    def __str__(self) -> str:
        if not self.of:
            return "none"
        low, high = clopper_pearson(self.found, self.of)
        return f"{self.found}/{self.of} = {self.found / self.of:.3f} [{low:.3f}, {high:.3f}]"


# --- the command


def prepare(folder: Path, out: Path) -> float:
    """Run `chambit prepare` and return its seconds.

    Raises:
        subprocess.CalledProcessError: when it fails.
    """
    command = [str(Path(sys.executable).with_name("chambit")), "prepare", str(folder), "--out", str(out)]
    began = time.perf_counter()
    subprocess.run([*command, "--key", str(out.with_name("pseudonyms.key"))], check=True)
    return time.perf_counter() - began


def table(path: Path) -> list[Row]:
    """Rows of a CSV; none where there is no such file."""
    if not path.is_file():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def plain(name: str) -> str:
    """A name as it is compared: composed, without the number of a frame."""
    stem, bracket, _ = name.rpartition("[")
    return unicodedata.normalize("NFC", stem if bracket and name.endswith("]") else name)


def mapping(out: Path) -> dict[str, str]:
    """From the original to the released file, for those that were released."""
    rows = table(out / "closed" / "mapping.csv")
    return {row["original"]: row["output"] for row in rows if (out / "files" / row["output"]).is_file()}


def residuals(folder: Path, key: AnswerKey, outputs: Mapping[str, str]) -> dict[str, Rate]:
    """Planted identifiers that are left in a folder, by kind; planted are those whose file has an output."""
    there = {plain(name) for name in outputs}
    planted = Counter(plant.kind for plant in key.plants if plant.box is None and plain(plant.file) in there)
    left = Counter(plant.kind for plant in {one.plant for one in residue.search(folder, key, outputs)})
    return {kind: Rate(left[kind], planted[kind]) for kind in sorted(planted | left)}


def coverage(folder: Path, key: AnswerKey, outputs: Mapping[str, str]) -> dict[tuple[str, int, int], Rate]:
    """Burned-in texts that are covered, by script, height and contrast; an unreadable output counts as uncovered."""
    cells: dict[tuple[str, int, int], list[bool]] = defaultdict(list)
    for one in residue.burned(folder, key, outputs):
        box = one.plant.box
        assert box is not None
        cells[box.script, box.height, box.contrast].append(one.remains is not None and one.remains <= COVERED)
    return {cell: Rate(sum(hits), len(hits)) for cell, hits in sorted(cells.items())}


class Quality(NamedTuple):
    """What the checks of quality found of what was planted.

    Attributes:
        recall: outliers that were removed or set aside, by kind.
        precision: true outliers among the files that were removed for another reason than being a duplicate.
        duplicates: pairs of which one was named a duplicate or set aside as a copy, by kind.
        labels: wrong labels that were listed.
        listed: true wrong labels among those listed.
        aside: files that are no outliers and were set aside, by form.
    """

    recall: Mapping[str, Rate]
    precision: Rate
    duplicates: Mapping[str, Rate]
    labels: Rate
    listed: Rate
    aside: Mapping[str, int]


def quality(out: Path, key: AnswerKey) -> Quality:
    """Compare OUT/closed with the truth."""
    closed = out / "closed"
    truths = {plain(truth.file): truth for truth in key.files if truth.told}
    aside = {plain(row["original"]): row["reason"] for row in table(closed / "set-aside.csv") if row["original"]}
    rows = table(closed / "outliers.csv")
    odd = {plain(row["original"]) for row in rows if _odd(row)}
    twins = {plain(row["original"]) for row in rows if row["check"] in DUPLICATE_CHECKS}
    twins |= {name for name, reason in aside.items() if "copy" in reason or "same pixels" in reason}
    recall: dict[str, list[bool]] = defaultdict(list)
    pairs: dict[str, list[bool]] = defaultdict(list)
    for name, truth in truths.items():
        if truth.outlier:
            recall[truth.outlier].append(name in odd or name in aside)
        if truth.duplicate:
            pairs[truth.duplicate].append(name in twins or plain(truth.duplicate_of) in twins)
    outputs = {row["output"]: plain(row["original"]) for row in table(closed / "mapping.csv")}
    listed = {outputs.get(plain(row["file"]), "") for row in table(closed / "labels.csv")} & truths.keys()
    wrong = {name for name, truth in truths.items() if truth.told != truth.label}
    return Quality(
        {kind: Rate(sum(hits), len(hits)) for kind, hits in sorted(recall.items())},
        Rate(sum(bool(truths[name].outlier) for name in odd & truths.keys()), len(odd & truths.keys())),
        {kind: Rate(sum(hits), len(hits)) for kind, hits in sorted(pairs.items())},
        Rate(len(wrong & listed), len(wrong)),
        Rate(len(wrong & listed), len(listed)),
        Counter(truths[name].form for name in aside.keys() & truths.keys() if not truths[name].outlier),
    )


def _odd(row: Row) -> bool:
    return row["removed"].casefold() == "true" and row["check"] not in DUPLICATE_CHECKS


# --- other tools


def ours(paths: Sequence[Path], out: Path) -> dict[str, str]:
    """Header de-identification as `chambit prepare` does it, without a look at the pixels."""
    from chambit.prepare import deidentify

    key = deidentify.Key.new()

    def one(path: Path, target: Path) -> None:
        target.write_bytes(deidentify.clean(path, path.name, key).data)

    return _each(paths, out, one)


def dicognito(paths: Sequence[Path], out: Path) -> dict[str, str]:
    """The Anonymizer of dicognito with its defaults."""
    import pydicom
    from dicognito.anonymizer import Anonymizer

    tool = Anonymizer()

    def one(path: Path, target: Path) -> None:
        data = pydicom.dcmread(path)
        tool.anonymize(data)
        data.save_as(target)

    return _each(paths, out, one)


def dicom_anonymizer(paths: Sequence[Path], out: Path) -> dict[str, str]:
    """The function of dicom-anonymizer with its defaults (private elements removed)."""
    from dicomanonymizer import anonymize_dicom_file  # type: ignore[import-untyped]

    return _each(paths, out, lambda path, target: anonymize_dicom_file(str(path), str(target)))


TOOLS: dict[str, Callable[[Sequence[Path], Path], dict[str, str]]] = {
    "chambit": ours,
    "dicognito": dicognito,
    "dicom-anonymizer": dicom_anonymizer,
}


class Timed(NamedTuple):
    """What a tool did with the files: CPU seconds, files written (from the original to the output), files given."""

    seconds: float
    outputs: Mapping[str, str]
    given: int

    @property
    def rate(self) -> float:
        """Files that were written, for each second of one core."""
        return len(self.outputs) / self.seconds if self.seconds else 0.0


def run_tool(name: str, bed: Path, files: Sequence[str], out: Path) -> Timed:
    """Let a tool clean DICOM files in a process of its own, with one thread."""
    out.mkdir(parents=True)
    (out.parent / f"{name}.txt").write_text("\n".join(files), encoding="utf-8")
    one = {name: "1" for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")}
    command = [sys.executable, __file__, "--worker", name, str(bed), str(out)]
    subprocess.run(command, check=True, env=os.environ | one)
    rows = table(out.parent / f"{name}.csv")
    return Timed(float(rows[0]["output"]), {row["original"]: row["output"] for row in rows[1:]}, len(files))


def _each(paths: Sequence[Path], out: Path, clean: Callable[[Path, Path], Any]) -> dict[str, str]:
    """Clean each file under a number for a name; a file that a tool refuses has no output."""
    done = {}
    for number, path in enumerate(paths):
        target = out / f"{number:06d}.dcm"
        try:
            clean(path, target)
        except Exception:  # every tool refuses in its own way
            target.unlink(missing_ok=True)
        else:
            done[str(path)] = target.name
    return done


def _work(name: str, bed: Path, out: Path) -> None:
    import logging
    import warnings

    # pydicom and the tools tell of every odd value they meet
    logging.disable(logging.CRITICAL)
    warnings.simplefilter("ignore")
    files = (out.parent / f"{name}.txt").read_text(encoding="utf-8").split("\n")
    TOOLS[name]([bed / file for file in files[:1]], out)  # imports, tables and caches are not timed
    began = time.process_time()
    done = TOOLS[name]([bed / file for file in files], out)
    seconds = time.process_time() - began
    with (out.parent / f"{name}.csv").open("w", encoding="utf-8", newline="") as target:
        writer = csv.writer(target)
        writer.writerows([("original", "output"), ("", seconds)])
        writer.writerows((Path(path).relative_to(bed).as_posix(), output) for path, output in done.items())


# --- printing


def show_command(folder: Path, out: Path, key: AnswerKey) -> None:
    """Run the command and print what is left, covered and found."""
    seconds = prepare(folder, out)
    outputs = mapping(out)
    many = sum(bool(truth.told) for truth in key.files)
    print(f"\nchambit prepare: {many} files in, {len(outputs)} out, {seconds:.0f} s")
    show_residuals({"released files": residuals(out / "files", key, outputs)})
    told = residue.search_file(out / "prepared.json", key) + residue.search_file(out / "prepared.html", key)
    print(f"planted values in prepared.json and prepared.html: {len(told)}")
    print(f"\nburned-in text covered (at most {COVERED:.0%} of its ink still seen)")
    for (script, height, contrast), rate in coverage(out / "files", key, outputs).items():
        print(f"  {script:<7} {height:>3} px  contrast {contrast:>3}  {rate}")
    found = quality(out, key)
    total = Rate(sum(one.found for one in found.recall.values()), sum(one.of for one in found.recall.values()))
    print(f"\noutliers removed or set aside: {total}")
    for kind, rate in found.recall.items():
        print(f"  {kind:<15} {rate}")
    print(f"true outliers among the removed: {found.precision}")
    for kind, rate in found.duplicates.items():
        print(f"duplicates found, {kind:<14} {rate}")
    print(f"wrong labels listed: {found.labels}; true among the listed: {found.listed}")
    print(f"set aside though no outliers, by form: {dict(found.aside) or 'none'}")


def show_tools(folder: Path, work: Path, key: AnswerKey) -> None:
    """Run the tools on the same DICOM files and print speed and what each leaves."""
    files = [truth.file for truth in key.files if truth.form.startswith("dicom") and truth.told and not truth.outlier]
    timed = {name: run_tool(name, folder, files, work / name) for name in TOOLS}
    print(f"\n{len(files)} DICOM files, one process and one thread each, CPU time")
    for name, one in timed.items():
        ratio = timed["chambit"].rate / one.rate if one.rate else float("nan")
        wrote = f"wrote {len(one.outputs)} of {one.given}"
        print(f"  {name:<17} {one.rate:7.1f} files/s; {wrote}; ours is {ratio:.2f} x as fast")
    inside = key._replace(plants=tuple(plant for plant in key.plants if not plant.kind.startswith("name.")))
    show_residuals({name: residuals(work / name, inside, one.outputs) for name, one in timed.items()})


def show_residuals(columns: Mapping[str, Mapping[str, Rate]]) -> None:
    """Print what is left by kind, as found/planted, a column for each folder."""
    kinds: Iterable[str] = sorted({kind for column in columns.values() for kind in column})
    print("\nplanted identifiers that are left" + "".join(f"{name:>20}" for name in columns))
    for kind in kinds:
        cells = (column.get(kind, Rate(0, 0)) for column in columns.values())
        print(f"  {kind:<31}" + "".join(f"{f'{cell.found}/{cell.of}':>20}" for cell in cells))
    totals = [Rate(sum(r.found for r in c.values()), sum(r.of for r in c.values())) for c in columns.values()]
    print(f"  {'all':<31}" + "".join(f"{f'{total.found}/{total.of}':>20}" for total in totals))


def main() -> None:
    """Write the folder, run, print; or be one of the tools that are compared."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--patients", type=int, default=200)
    parser.add_argument("--pixels", type=int, default=512)
    parser.add_argument("--seed", type=int, default=20240530)
    parser.add_argument("--only", choices=["command", "tools"])
    parser.add_argument("--work", type=Path, help="an empty folder to keep; without it a temporary one")
    parser.add_argument("--worker", nargs=3, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.worker:
        _work(given.worker[0], Path(given.worker[1]), Path(given.worker[2]))
        return
    with tempfile.TemporaryDirectory() as temporary:
        work = given.work or Path(temporary)
        began = time.perf_counter()
        key = hospital.write(work / "bed", given.patients, given.seed, given.pixels)
        hospital.write_key(key, work / "key.jsonl")
        seconds = time.perf_counter() - began
        planted = f"{len(key.plants)} planted identifiers of {len(key.kinds())} kinds"
        print(f"{len(key.files)} files, {planted}, {seconds:.0f} s")
        for reason in key.left_out:
            print(f"left out: {reason}")
        if given.only != "tools":
            show_command(work / "bed", work / "out", key)
        if given.only != "command":
            show_tools(work / "bed", work / "tools", key)


if __name__ == "__main__":
    main()
