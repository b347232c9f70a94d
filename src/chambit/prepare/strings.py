"""Known strings of a cohort in a text: exactly, or (where the text was read from pixels) within an edit distance.

    d(a, b) / max(|a|, |b|) <= 0.2, d the edit distance (Levenshtein 1966), on letters and digits alone, case-folded

Only telling strings are looked for: a plain small number, or a counter such as `img_0001`, is in every folder.
"""

import re
import unicodedata
from collections.abc import Collection, Iterable, Iterator
from typing import NamedTuple

import numpy as np

NEAR = 0.2
_SHORTEST = 4
_PLAIN = re.compile(
    r"(?:img|image|im|pic|picture|scan|slice|file|frame|sample|test|train|val|case|synthetic|syn|fake|real|xray|cxr|"
    r"normal|abnormal|unknown|none|anonymous)?[\W_]*\d{0,6}(?:\.\w{1,5})*",
    re.I,
)
_WORD = re.compile(r"[^\s:;,=()\[\]{}<>\"'|]+")


class Known(NamedTuple):
    """Strings prepared for the search.

    Attributes:
        exact: case-folded strings.
        folded: their letters and digits alone, by length: for each length an array int32 (K, length) of code points.
        left_out: how many were too plain to be looked for.
    """

    exact: frozenset[str]
    folded: dict[int, np.ndarray]
    left_out: int

    @classmethod
    def of(cls, strings: Collection[str]) -> "Known":
        """Prepare strings; those that are not telling are left out and counted."""
        whole = {unicodedata.normalize("NFC", s).strip().casefold() for s in strings}
        used = {s for s in whole if telling(s)}
        by_length: dict[int, list[str]] = {}
        for word in sorted({_folded(s) for s in used}):
            by_length.setdefault(len(word), []).append(word)
        arrays = {n: np.array([[ord(c) for c in w] for w in words], np.int32) for n, words in by_length.items() if n}
        return cls(frozenset(used), arrays, len(whole) - len(used))

    def find(self, text: str, near: bool) -> Iterator[tuple[int, int, str]]:
        """Yield (start, end, 'exact' or 'nearly the same') of each known string in a text.

        Args:
            text: where to look.
            near: whether a string within the edit distance counts; else letter for letter, but for case.
        """
        if not self.exact:
            return
        words = [(hit.start(), hit.end()) for hit in _WORD.finditer(text)]
        for first in range(len(words)):
            for last in range(first, min(first + 3, len(words))):
                start, end = words[first][0], words[last][1]
                if how := self._matches(text[start:end], near):
                    yield start, end, how
        for start, end in _parts(text):
            if text[start:end].casefold() in self.exact:
                yield start, end, "exact"

    def _matches(self, text: str, near: bool) -> str:
        if text.casefold() in self.exact:
            return "exact"
        word = _folded(text)
        if near and len(word) >= _SHORTEST:
            for length, codes in self.folded.items():
                most = int(NEAR * max(length, len(word)) + 1e-9)
                if abs(length - len(word)) <= most and (distances(word, codes) <= most).any():
                    return "nearly the same"
        return ""


def telling(string: str) -> bool:
    """Whether a string says something about a cohort: four characters or more, and no mere counter.

    >>> telling('P000123'), telling('0001.png'), telling('img_0001'), telling('abc')
    (True, False, False, False)
    """
    return len(string) >= _SHORTEST and not _PLAIN.fullmatch(string)


def distances(word: str, codes: np.ndarray) -> np.ndarray:
    """Edit distances of a word to strings of one length, int64 (K,).

    Args:
        word: the word.
        codes: int32 (K, L), the code points of K strings of length L.

    >>> distances('kitten', np.array([[ord(c) for c in 'sitting']])).tolist()
    [3]
    """
    count, length = codes.shape
    before = np.broadcast_to(np.arange(length + 1), (count, length + 1))
    for i, letter in enumerate(word, start=1):
        now = np.empty((count, length + 1), np.int64)
        now[:, 0] = i
        changed = before[:, :-1] + (codes != ord(letter))
        for j in range(1, length + 1):
            now[:, j] = np.minimum(np.minimum(now[:, j - 1], before[:, j]) + 1, changed[:, j - 1])
        before = now
    return np.asarray(before[:, -1], np.int64)


def of_cohort(subjects: Iterable[str], files: Iterable[str]) -> set[str]:
    """Strings that must not be found in a release: subject ids, and names of source files with and without ending."""
    names = {part for file in files for part in file.replace("\\", "/").rsplit("/", 1)[-1:]}
    return {*subjects, *names, *(name.rsplit(".", 1)[0] for name in names)}


def _parts(text: str) -> Iterator[tuple[int, int]]:
    """Spans between separators inside words: of `x_P000123.png` also `P000123` and `P000123.png`."""
    for word in re.finditer(r"\S+", text):
        edges = (
            [m.start() for m in re.finditer(r"[^\W_]+", word.group())],
            [m.end() for m in re.finditer(r"[^\W_]+", word.group())],
        )
        for a, start in enumerate(edges[0]):
            for end in edges[1][a : a + 4]:
                yield word.start() + start, word.start() + end


def _folded(text: str) -> str:
    return re.sub(r"[\W_]+", "", unicodedata.normalize("NFC", text)).casefold()
