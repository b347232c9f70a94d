"""Which images of a cohort should be set aside before a generator learns from them, each with its reason.

Every check gives each image one number, larger is odder; its limit comes from the cohort itself (`tails`), at an equal
share of the expected false alarms for each number. No check needs a label or a network. Nothing is deleted: what
`examine` returns is a table, `without` applies it, and the set it was made from stays as it was.

A check that would take more images than outliers are allowed for takes none and says so: then the cohort holds two
kinds of images, and which of them is wanted is for a person to say.
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from chambit.core.errors import InputError, Problem
from chambit.images.imageset import ImageSet
from chambit.prepare.quality import duplicates, tails, typical
from chambit.prepare.quality.described import LEVELS, Described, describe
from chambit.prepare.quality.options import CHECKS, Options
from chambit.prepare.quality.pose import WAYS, Moves, Poses, moves, poses

COLUMNS = {
    "id": pl.String,
    "file": pl.String,
    "check": pl.String,
    "score": pl.Float64,
    "limit": pl.Float64,
    "reason": pl.String,
    "reason_ko": pl.String,
    "removed": pl.Boolean,
    "twin": pl.String,
}
_EDGES = (("bottom", "아래"), ("top", "위"), ("left", "왼쪽"), ("right", "오른쪽"))
_WAYS_KO = (
    "좌우 뒤집힘",
    "시계 방향 90도 회전",
    "180도 회전",
    "반시계 방향 90도 회전",
    "상하 뒤집힘",
    "전치",
    "반대 대각선 전치",
)
_MANY = (
    "; more images than outliers are allowed for, so a person decides",
    "; 이상치로 허용한 비율보다 많아 사람이 판단",
)

Words = Callable[[int], tuple[str, str]]


class Screen(NamedTuple):
    """One number for each image.

    Attributes:
        check: name in `CHECKS`.
        scores: (N,), larger is odder.
        words: English and Korean reason for the image at a position.
        least: no smaller score is a finding, whatever the cohort's limit; an ordinary image cannot reach it.
        limit: how the limit comes from the scores.
        only: images that the check may name, bool (N,).
    """

    check: str
    scores: np.ndarray
    words: Words
    least: float = -np.inf
    limit: tails.Limit = tails.exponential
    only: np.ndarray | None = None


def examine(images: ImageSet, options: Options, rng: np.random.Generator) -> pl.DataFrame:
    """Find outliers and duplicates.

    Args:
        images: the accepted images of a cohort.
        options: see `Options`.
        rng: draws the parts by subject and, of a large cohort, the images that models are fitted to.

    Returns:
        A row for each finding, in order of the table and of `CHECKS`: `id`, `file` ("" where the table has none),
        `check`, `score` and `limit` (the score is above it), `reason` and `reason_ko`, `removed`, and `twin`, the id
        of the other image of a pair.

    Raises:
        InputError: when the images are too few for limits that come from themselves.
    """
    if len(images) < options.least:
        what = f"{len(images)} images, at least {options.least} are needed to say what is usual"
        raise InputError("The cohort cannot be examined.", [Problem("images", what, "bring more, or skip this step")])
    small = describe(images, options)
    screens = _screens(images, small, options, rng)
    rate = options.false_alarms / len(screens)
    rows = [row for screen in screens for row in _beyond(images.table, screen, rate, options)]
    rows += _duplicates(images, small, rows, options, rng)
    return _table(rows, images.table)


def without(images: ImageSet, findings: pl.DataFrame, kept: Collection[str] = ()) -> ImageSet:
    """The images that no finding removes, and those whose id a person put in `kept`."""
    removed = set(findings.filter(pl.col("removed"))["id"]) - set(kept)
    return images.where(~pl.col("id").is_in(sorted(removed)))


def _screens(images: ImageSet, small: Described, options: Options, rng: np.random.Generator) -> list[Screen]:
    pose, nearby = _by_others(images.subjects, small, options, rng)
    texture = typical.mahalanobis(small.texture, rng)
    return [
        *_grey(small, options),
        *_posed(pose, nearby),
        *_moved(moves(small.flat(), images.labels), options),
        Screen(
            "texture",
            texture,
            _plain("grey levels and edges far from usual", "밝기와 경계가 일반적 범위를 벗어남"),
        ),
        Screen(
            "unlike", nearby[0], _plain("the cohort's patterns combine in an unusual way", "영상 패턴의 조합이 특이함")
        ),
        Screen(
            "unlike", nearby[1], _plain("the cohort's patterns do not explain it", "다른 영상의 패턴으로 설명되지 않음")
        ),
    ]


def _by_others(
    subjects: np.ndarray, small: Described, options: Options, rng: np.random.Generator
) -> tuple[Poses, np.ndarray]:
    """Contrasts of poses, and score and orthogonal distance (2, N), by models of other subjects."""
    count = len(subjects)
    pose = Poses(np.zeros(count), np.zeros(count), np.zeros(count), np.zeros(count, np.int64), np.zeros(count))
    distances = np.zeros((2, count))
    parts = typical.folds(subjects, options.folds, rng)
    for at, rest in typical.others(parts, options.fitted, rng):
        model = typical.plane(small.flat(rest), options.axes)
        x = small.flat(at)
        distances[:, at] = model.distances(x)
        for whole, part in zip(pose, poses(x, model), strict=True):
            whole[at] = part
    return pose, distances


def _grey(small: Described, options: Options) -> list[Screen]:
    edge = small.missing.argmax(1)

    def part(i: int) -> tuple[str, str]:
        share, (name, ko) = small.missing[i, edge[i]], _EDGES[edge[i]]
        return f"{share:.0%} at the {name} is constant", f"{ko} {share:.0%}가 일정한 값"

    def saturated(share: np.ndarray, name: str, ko: str) -> Words:
        return lambda i: (f"{share[i]:.0%} of the pixels are {name}", f"화소의 {share[i]:.0%}가 {ko}")

    return [
        Screen("blank", 8 - small.entropy, lambda i: _bits(small.entropy[i])),
        Screen("blank", -np.log(small.contrast + 1 / LEVELS), lambda i: _contrast(small.contrast[i])),
        Screen("saturated", small.white, saturated(small.white, "white", "흰색"), options.saturated_least),
        Screen("saturated", small.black, saturated(small.black, "black", "검은색"), options.saturated_least),
        Screen("truncated", small.missing.max(1), part, options.missing_least),
        Screen(
            "noisy",
            small.sharpness,
            _plain("neighbouring pixels differ as they rarely do", "이웃 화소 차이가 지나치게 큼"),
        ),
        Screen("blurred", -small.sharpness, _plain("it has little fine detail", "세부 묘사가 지나치게 적음")),
    ]


def _posed(pose: Poses, nearby: np.ndarray) -> list[Screen]:
    """An image is called by the change that brings it nearest, and only if it would be usual then."""
    usual = pose.nearest <= np.quantile(nearby[1], tails.CENSORED)
    best = np.argmax([pose.inverted, pose.turned, pose.mirrored], axis=0)

    def turn(i: int) -> tuple[str, str]:
        way = int(pose.turn[i])
        return f"it would fit if it were not {WAYS[way]}", f"{_WAYS_KO[way]} 상태를 되돌리면 다른 영상과 맞음"

    words = (
        _plain("its negative fits the cohort", "반전하면 다른 영상과 맞음"),
        turn,
        _plain("its mirror image fits better", "좌우를 바꾸면 더 잘 맞음"),
    )
    named = zip(("inverted", "turned", "mirrored"), (pose.inverted, pose.turned, pose.mirrored), words, strict=True)
    # at 0 the change makes no difference, so less is never a finding
    return [
        Screen(check, scores, why, 0.0, tails.normal, usual & (best == k))
        for k, (check, scores, why) in enumerate(named)
    ]


def _moved(move: Moves, options: Options) -> list[Screen]:
    """An image is only called shifted or stretched if it would fit its class as usual otherwise."""
    far = move.fits[:, 0] & (np.abs(move.shift).max(1) >= options.shift_least)

    def shift(i: int) -> tuple[str, str]:
        down, right = move.shift[i]
        return f"lies {down:+.0%} down, {right:+.0%} right", f"아래로 {down:+.0%}, 오른쪽으로 {right:+.0%} 벗어남"

    def aspect(i: int) -> tuple[str, str]:
        return (
            f"height over width is about {move.aspect[i]:.2g} of usual",
            f"세로/가로 비율이 평소의 약 {move.aspect[i]:.2g}배",
        )

    return [
        Screen("shifted", move.shifted, shift, 0, only=far),
        Screen("stretched", move.stretched, aspect, 0, only=move.fits[:, 1]),
    ]


def _plain(english: str, korean: str) -> Words:
    return lambda i: (english, korean)


def _bits(entropy: float) -> tuple[str, str]:
    return f"{entropy:.1f} bits in each pixel", f"화소당 정보량 {entropy:.1f}비트"


def _contrast(contrast: float) -> tuple[str, str]:
    return f"its brightness spans {contrast:.0%} of the range", f"밝기 폭이 전체의 {contrast:.0%}"


def _beyond(table: pl.DataFrame, screen: Screen, rate: float, options: Options) -> Iterator[dict[str, Any]]:
    level = max(screen.limit(screen.scores, rate), screen.least)
    beyond = screen.scores > level
    if screen.only is not None:
        beyond &= screen.only
    many = bool(beyond.mean() > options.contamination)
    names = CHECKS[screen.check]
    for i in np.flatnonzero(beyond):
        words = [f"{name}: {why}" for name, why in zip(names, screen.words(int(i)), strict=True)]
        yield {
            "at": int(i),
            "check": screen.check,
            "score": float(screen.scores[i]),
            "limit": float(level),
            "reason": words[0] + _MANY[0] * many,
            "reason_ko": words[1] + _MANY[1] * many,
            "removed": screen.check in options.removes and not many,
            "twin": "",
        }


def _duplicates(
    images: ImageSet, small: Described, others: Sequence[dict[str, Any]], options: Options, rng: np.random.Generator
) -> list[dict[str, Any]]:
    """The later image of each pair, exact pairs first.

    Near ones are not looked for among images removed for what they show, which may be alike for their fault. A blurred
    copy is odd in sharpness and texture alone. Nothing is removed where the other image is, where the two have
    different labels, or where they may be repeat examinations of one subject.
    """
    removed = {row["at"] for row in others if row["removed"]}
    faulty = {row["at"] for row in others if row["removed"] and row["check"] not in ("texture", "blurred")}
    sha = images.table["sha256"].to_list()
    first: dict[str, int] = {}
    again = [(first[key], i) for i, key in enumerate(sha) if first.setdefault(key, i) != i]
    exact = [_pair(images, options, "exact_duplicate", a, b, (1.0, 1.0), True) for a, b in again]
    rows = [row | {"removed": row["removed"] and a not in removed} for row, (a, _) in zip(exact, again, strict=True)]
    copies = {b for _, b in again} | faulty
    once = np.array([i for i in range(len(sha)) if i not in copies], np.int64)
    known = once if len(once) <= options.fitted else np.sort(rng.choice(once, options.fitted, replace=False))
    model = typical.plane(small.flat(known), duplicates.AXES)
    found = duplicates.pairs(small.flat(once), model, images.subjects[once], options.false_pairs)
    seen: set[int] = set()
    for k in np.lexsort((found.first, -found.score, found.second)):
        a, b = int(once[found.first[k]]), int(once[found.second[k]])
        if b not in seen:
            scores = float(found.score[k]), float(found.limit[k])
            row = _pair(images, options, "near_duplicate", a, b, scores, bool(found.sure[k]))
            rows.append(row | {"removed": row["removed"] and a not in removed})
            seen.add(b)
    return rows


def _pair(
    images: ImageSet, options: Options, check: str, a: int, b: int, scores: tuple[float, float], sure: bool
) -> dict[str, Any]:
    same_label = bool(images.labels[a] == images.labels[b])
    if images.subjects[a] != images.subjects[b]:
        whose = ("of another subject", "다른 대상자")
    elif sure:
        whose = ("of the same subject", "같은 대상자")
    else:
        whose = ("of the same subject, perhaps a repeat examination", "같은 대상자, 반복 검사일 수 있음")
    label = ("", "") if same_label else (", with another label: find out which is right", ", 라벨이 다름: 확인 필요")
    twin, (reason, reason_ko) = images.table["id"][a], CHECKS[check]
    return {
        "at": b,
        "check": check,
        "score": scores[0],
        "limit": scores[1],
        "reason": f"{reason} of {twin}, {whose[0]}{label[0]}",
        "reason_ko": f"{twin}의 {reason_ko} ({whose[1]}){label[1]}",
        "removed": check in options.removes and same_label and sure,
        "twin": twin,
    }


def _table(rows: Sequence[dict[str, Any]], table: pl.DataFrame) -> pl.DataFrame:
    """One row for each image and check, the number that is further above its limit."""
    order = {check: k for k, check in enumerate(CHECKS)}
    files = table["file"].to_list() if "file" in table.columns else [""] * len(table)
    best: dict[tuple[int, int], dict[str, Any]] = {}
    for row in rows:
        key = (row["at"], order[row["check"]])
        if key not in best or row["score"] - row["limit"] > best[key]["score"] - best[key]["limit"]:
            best[key] = row
    told = [best[key] | {"id": table["id"][key[0]], "file": files[key[0]]} for key in sorted(best)]
    return pl.DataFrame([{name: row[name] for name in COLUMNS} for row in told], schema=COLUMNS)
