"""Acceptance sampling of labels: how many to read, how many may be wrong, which ones, and the outcome.

A lot of N labels, D of them wrong, is judged by n labels drawn without replacement: it is accepted when at most c of
them are wrong. The probability of that is hypergeometric,

    Pa(D) = sum over k = 0..c of  C(D, k) C(N - D, n - k) / C(N, n).

The plan is the smallest n, with its c, for which Pa(floor(N AQL)) >= 1 - producer's risk and
Pa(ceil(N LTPD)) <= consumer's risk. A delivery is a lot in isolation, so this is the case of ISO 2859-2:2020 (plans by
limiting quality), whose terms are used; AQL as in ISO 2859-1:1999. The standards' tables are not used: N is known, so
both risks are computed for it; where a probability is near its limit it is compared in whole numbers, without rounding.
The search through two points is that of Guenther 1969 (Journal of Quality Technology 1:105-109).

Known failures: the plan says nothing of readers who err; an image that is there twice can be drawn twice.
"""

import csv
import hashlib
import io
import math
from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

from chambit.core import digest
from chambit.core.errors import InputError, Problem
from chambit.prepare.labels import some

COLUMNS = ("file", "label", "agrees", "reader", "note")
YES = ("yes", "y", "1", "true", "o", "예", "일치", "맞음")
NO = ("no", "n", "0", "false", "x", "아니오", "아니요", "불일치", "틀림")
_POINTS = 48  # of an OC curve: a step of a few pixels in a drawing
_NEAR = 1e-6  # floats are right to about 1e-9 for lots of a million; nearer than this to a limit, whole numbers decide


class Plan(NamedTuple):
    """A single sampling plan: read `sample` labels of a lot and accept it when at most `accept` are wrong."""

    lot: int
    sample: int
    accept: int


class Drawn(NamedTuple):
    """One label that is to be read: the lot it stands for, the file, and the label that was delivered."""

    lot: str
    file: str
    label: str


def acceptance(plan: Plan, wrong: int) -> float:
    """Probability that a lot with `wrong` wrong labels is accepted.

    >>> round(acceptance(Plan(10, 3, 0), 2), 6)  # 8/10 * 7/9 * 6/8
    0.466667
    """
    ways, of = _ways(plan, wrong)
    return ways / of


def _ways(plan: Plan, wrong: int) -> tuple[int, int]:
    """How many samples accept the lot, and how many samples there are."""
    # hypergeometric is symmetric in sample and wrong: binomials of the smaller have far fewer digits
    small, large = sorted((wrong, plan.sample))
    first = max(0, small + large - plan.lot)
    term = math.comb(large, first) * math.comb(plan.lot - large, small - first)
    ways = 0
    for k in range(first, min(small, plan.accept) + 1):
        ways += term
        term = term * (large - k) * (small - k) // ((k + 1) * (plan.lot - large - small + k + 1))
    return ways, math.comb(plan.lot, small)


def _accepted_at_most(plan: Plan, wrong: int, share: float) -> bool:
    """Whether a lot with `wrong` wrong labels is accepted with probability `share` or less."""
    from scipy.stats import hypergeom

    rough = float(hypergeom.cdf(plan.accept, plan.lot, wrong, plan.sample))
    if abs(rough - share) > _NEAR:
        return rough <= share
    ways, of = _ways(plan, wrong)
    return ways <= Fraction(str(share)) * of


def _rejected_at_most(plan: Plan, wrong: int, share: float) -> bool:
    """Whether a lot with `wrong` wrong labels is rejected with probability `share` or less."""
    from scipy.stats import hypergeom

    rough = float(hypergeom.sf(plan.accept, plan.lot, wrong, plan.sample))
    if abs(rough - share) > _NEAR:
        return rough <= share
    ways, of = _ways(plan, wrong)
    return of - ways <= Fraction(str(share)) * of


def wrong_at(lot: int, share: float, *, up: bool) -> int:
    """Wrong labels of a lot at a share as it is written: 0.07 is 7/100, not the nearest binary number."""
    wrong = lot * Fraction(str(share))
    return math.ceil(wrong) if up else math.floor(wrong)


def planned(lot: int, *, aql: float, producer_risk: float, ltpd: float, consumer_risk: float) -> Plan:
    """The smallest plan for a lot of `lot` labels that keeps both risks; all of a lot that is too small for less.

    Args:
        lot: number of labels, at least 1.
        aql: share of wrong labels that is still good, in [0, 1).
        producer_risk: largest probability that such a lot is rejected.
        ltpd: share of wrong labels that is bad (limiting quality), above `aql`.
        consumer_risk: largest probability that such a lot is accepted.

    >>> planned(1000, aql=0.01, producer_risk=0.05, ltpd=0.05, consumer_risk=0.10)
    Plan(lot=1000, sample=128, accept=3)
    """
    good, bad = wrong_at(lot, aql, up=False), wrong_at(lot, ltpd, up=True)
    fewest = 1
    for accept in range(good + 1):  # with c = floor(N AQL) the producer's risk is 0, so the loop ends here
        plan = for_accept(lot, accept, ltpd=ltpd, consumer_risk=consumer_risk, fewest=fewest)
        if _rejected_at_most(plan, good, producer_risk):
            return plan
        fewest = plan.sample
    raise ValueError(f"AQL {aql} is not below LTPD {ltpd}: {good} and {bad} wrong labels")


def for_accept(lot: int, accept: int, *, ltpd: float, consumer_risk: float, fewest: int = 1) -> Plan:
    """The smallest sample that keeps the consumer's risk with a given acceptance number (ISO 2859-2, an isolated lot).

    Args:
        lot: number of labels, at least 1.
        accept: most wrong labels in the sample of an accepted lot.
        ltpd: limiting quality, a share of wrong labels in (0, 1).
        consumer_risk: largest probability that a lot of that quality is accepted.
        fewest: a sample that is known to be no larger than the answer.

    >>> for_accept(1000, 0, ltpd=0.05, consumer_risk=0.10)
    Plan(lot=1000, sample=44, accept=0)
    """
    bad = wrong_at(lot, ltpd, up=True)
    low, high = fewest, lot
    while low < high:
        middle = (low + high) // 2
        enough = _accepted_at_most(Plan(lot, middle, accept), bad, consumer_risk)
        low, high = (low, middle) if enough else (middle + 1, high)
    return Plan(lot, low, accept)


def oc_curve(plan: Plan, until: int = 0) -> list[tuple[int, float]]:
    """The operating characteristic: (wrong labels in the lot, probability of acceptance), from 0 wrong on.

    Args:
        plan: the plan.
        until: wrong labels the curve goes to at least; it ends where acceptance is below 1 in 1,000.
    """
    last = min(max(until, 1), plan.lot)
    while last < plan.lot and acceptance(plan, last) > 0.001:
        last = min(last + max(1, last // 4), plan.lot)
    places = sorted({round(k * last / _POINTS) for k in range(_POINTS + 1)})
    return [(wrong, acceptance(plan, wrong)) for wrong in places]


def seed(contract: str, sha256: Sequence[str], word: str = "") -> str:
    """The key of the draw: contract, all delivered bytes, and a word the inspector names after the delivery.

    Without a word the key follows from things the supplier holds: a supplier could draw the sample beforehand.
    """
    return digest.of_json([contract, sorted(sha256), word])


def drawn(lot: str, files: Mapping[str, tuple[str, str]], size: int, key: str) -> list[Drawn]:
    """The sample of one lot, sorted by file: the `size` files that come first in an order nobody can prefer.

    Args:
        lot: name of the lot.
        files: name -> (sha256, label) of all files of the lot.
        size: how many to draw.
        key: from `seed`; the same key gives the same sample in whatever order the files come.
    """

    def place(name: str) -> bytes:
        return hashlib.sha256("\x1f".join((key, lot, files[name][0], name)).encode("utf-8", "replace")).digest()

    return [Drawn(lot, name, files[name][1]) for name in sorted(sorted(files, key=place)[:size])]


def sheet(sample: Sequence[Drawn]) -> bytes:
    """`label_sample.csv` for the readers: one line a label; `agrees`, `reader` and `note` are theirs to fill."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows((one.file, one.label, "", "", "") for one in sample)
    return text.getvalue().encode("utf-8-sig")  # the mark lets a spreadsheet read Korean


def judged(path: Path, sample: Sequence[Drawn]) -> dict[str, list[str]]:
    """The wrong labels of each lot, from the sheet the readers filled; a lot without any has an empty list.

    Raises:
        InputError: when it cannot be read, is not of this very sample, or a line is not filled, all lines at once.
    """
    rows = _read(path)
    labels = {one.file: one for one in sample}
    wrong: dict[str, list[str]] = {one.lot: [] for one in sample}
    problems: list[Problem] = []
    seen: dict[str, int] = {}
    for line, row in rows:
        where, name = f"{path.name}, line {line}", row["file"]
        if name not in labels:
            problems.append(Problem(where, "names a file that was not drawn", "give the sheet of this very sample"))
        elif name in seen:
            problems.append(Problem(where, f"names the file of line {seen[name]} again", "keep one of the two lines"))
        elif row["label"] != labels[name].label:
            problems.append(Problem(where, "its label is not the delivered one", "judge the label, do not change it"))
        elif row["agrees"].lower() not in YES + NO:
            problems.append(Problem(where, "`agrees` is not filled with yes or no", "write yes or no (예, 아니오)"))
        elif not row["reader"]:
            problems.append(Problem(where, "`reader` is empty", "write who judged this label"))
        elif row["agrees"].lower() in NO:
            wrong[labels[name].lot].append(name)
        seen.setdefault(name, line)
    if lost := len(labels.keys() - seen.keys()):
        problems.append(Problem(path.name, f"lacks {lost} of the {len(labels)} drawn files", "have all of them judged"))
    if problems:
        raise InputError("The filled sheet cannot be used.", some(problems, path.name))
    return wrong


def _read(path: Path) -> list[tuple[int, dict[str, str]]]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, strict=True)
            names = [name.strip() for name in next(reader, [])]
            lines = [(reader.line_num, cells) for cells in reader if any(cell.strip() for cell in cells)]
    except OSError as error:
        raise _unusable(path, f"cannot be opened ({error.strerror})", "give the filled label_sample.csv") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise _unusable(path, "is not CSV in UTF-8", "save it as 'CSV UTF-8'") from error
    if sorted(names) != sorted(COLUMNS):
        raise _unusable(path, "has not the columns of the sheet", f"keep the first line: {','.join(COLUMNS)}")
    if torn := [line for line, cells in lines if len(cells) != len(names)]:
        what = f"{len(torn)} line(s) have another number of cells, the first is line {torn[0]}"
        raise _unusable(path, what, "put text with a comma in double quotes")
    return [(line, dict(zip(names, (cell.strip() for cell in cells), strict=True))) for line, cells in lines]


def _unusable(path: Path, what: str, remedy: str) -> InputError:
    return InputError("The filled sheet cannot be used.", [Problem(path.name, what, remedy)])
