"""What intake did to grey levels and sizes, counted and put in one sentence: the same pixels in another container.

A score of images depends on how stored numbers became brightness: depth of the container, window or whole range,
inversion, averaging to another size (clean-fid, arXiv:2104.11222, for resizing). So all of it is counted and told.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

SHOWN = 3
"""Windows and sizes that are listed; the rest is counted."""


def of_image(pixels: np.ndarray, bits: int) -> dict[str, Any]:
    """Size and bits in use of one image, uint8 or uint16 (H, W) or (H, W, 3), in a container of so many bits.

    `used` is the bits of its brightest pixel; `empty` how many of the lowest bits are 0 in every pixel, which is more
    than 0 where fewer bits were shifted up to the top.

    >>> of_image(np.array([[0, 16], [32, 4080]], np.uint16), 16)
    {'native': [2, 2], 'used': 12, 'empty': 4}
    """
    every = int(np.bitwise_or.reduce(pixels, axis=None))
    empty = (every & -every).bit_length() - 1 if every else 0
    return {"native": list(pixels.shape[:2]), "used": int(pixels.max()).bit_length(), "empty": min(empty, bits)}


def counted(accepted: Iterable[Mapping[str, Any]], size: tuple[int, int], working: int) -> list[dict[str, Any]]:
    """One row for each depth and way of showing, plain JSON values.

    Args:
        accepted: records of accepted images: `bits`, `shown`, what `of_image` says, and `images` where one record
            stands for several.
        size: rows and columns they were brought to.
        working: bits they were brought to, 8 or 16.

    Returns:
        Rows of `bits` of the container, `used_bits` and `empty_bits` (of all images together), `working_bits`, `shown`
        (whole range, window, ...), `windows` (center/width, the most common) and `different_windows`, `images`,
        `resized` (how many were not of the size), `sizes` (the most common of those) and `size`.
    """
    groups: dict[tuple[int, str], list[Mapping[str, Any]]] = defaultdict(list)
    for record in accepted:
        groups[record["bits"], _way(record["shown"])[0]].append(record)
    rows = []
    for (bits, way), group in sorted(groups.items()):
        windows: Counter[str] = Counter()
        sizes: Counter[tuple[int, ...]] = Counter()
        for record in group:
            windows[_way(record["shown"])[1]] += record.get("images", 1)
            sizes[tuple(record["native"])] += record.get("images", 1)
        images = sizes.total()
        windows.pop("", None)
        sizes.pop(tuple(size), None)
        rows.append(
            {
                "bits": bits,
                "used_bits": max(record["used"] for record in group),
                "empty_bits": min(record["empty"] for record in group),
                "working_bits": working,
                "shown": way,
                "windows": [window for window, _ in _common(windows)],
                "different_windows": len(windows),
                "images": images,
                "resized": sizes.total(),
                "sizes": [_size(native) for native, _ in _common(sizes)],
                "different_sizes": len(sizes),
                "size": _size(size),
            }
        )
    return rows


def sentences(rows: Mapping[str, Sequence[Mapping[str, Any]]], korean: Mapping[str, str]) -> tuple[str, str]:
    """The rows of every source in one line, Korean and English.

    Args:
        rows: what `counted` gave, by source.
        korean: the sources' names in Korean; a source that is absent keeps its own.
    """
    ko = "; ".join(f"{korean.get(name, name)}: {', '.join(map(_korean, part))}" for name, part in rows.items())
    en = "; ".join(f"{name}: {', '.join(map(_english, part))}" for name, part in rows.items())
    return ko, en


def _way(shown: str) -> tuple[str, str]:
    """`window 40/400, inverted` as (`window, inverted`, `40/400`): the numbers differ from file to file."""
    first, comma, rest = shown.partition(", ")
    way, _, numbers = first.partition(" ") if first.startswith(("window ", "range ")) else (first, "", "")
    return way + comma + rest, numbers


def _common(counts: Counter[Any]) -> list[tuple[Any, int]]:
    """The most common; in order of their own where equally many, so that the order of files does not tell."""
    return sorted(counts.items(), key=lambda item: (-item[1], str(item[0])))[:SHOWN]


def _size(size: Sequence[int]) -> str:
    return f"{size[1]} x {size[0]}"


def _english(row: Mapping[str, Any]) -> str:
    text = f"{row['images']:,} of {row['bits']} bits shown by {row['shown']}"
    text += _windows(row, "different")
    if row["used_bits"] < row["bits"]:
        text += f" (brightest pixel uses {row['used_bits']} bits)"
    if row["empty_bits"]:
        text += f" (lowest {row['empty_bits']} bits empty)"
    text += f" at {row['working_bits']} bits"
    if row["resized"]:
        text += f", {row['resized']:,} resized from {_from(row, 'other sizes')} to {row['size']}"
    return text


def _korean(row: Mapping[str, Any]) -> str:
    ways = {
        "whole range": "전체 범위",
        "range": "값의 범위",
        "window": "창 설정",
        "lookup table": "변환표",
        "inverted": "반전",
        "luminance": "휘도",
    }
    way = ", ".join(ways.get(part, part) for part in row["shown"].split(", "))
    text = f"{row['bits']}비트 {row['images']:,}장, 표시 {way}"
    text += _windows(row, "가지")
    if row["used_bits"] < row["bits"]:
        text += f" (가장 밝은 화소가 {row['used_bits']}비트)"
    if row["empty_bits"]:
        text += f" (아래 {row['empty_bits']}비트가 빔)"
    text += f" → {row['working_bits']}비트"
    if row["resized"]:
        text += f", {row['resized']:,}장 크기 변경 {_from(row, '가지 다른 크기')} → {row['size']}"
    return text


def _windows(row: Mapping[str, Any], word: str) -> str:
    if not row["windows"]:
        return ""
    shown = " ".join(row["windows"])
    more = f", {row['different_windows']} {word}" if row["different_windows"] > len(row["windows"]) else ""
    return f" ({shown}{more})"


def _from(row: Mapping[str, Any], word: str) -> str:
    more = row["different_sizes"] - len(row["sizes"])
    return ", ".join(row["sizes"]) + (f", {more} {word}" if more else "")
