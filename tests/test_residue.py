"""The independent search: every spelling and packing is found, what was not planted is not; the benchmark's counts."""

import base64
import gzip
import io
import unicodedata
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

import prepare as benchmark
import residue
from chambit.phantoms import hospital
from chambit.phantoms.hospital import AnswerKey, FileTruth, Plant

NAME, NUMBER, DAY = "김민수", "8123456789", "20240315"
ONE = AnswerKey(
    (
        Plant("in.png", "1", "a", "", (NAME,)),
        Plant("in.png", "1", "b", "", (NUMBER,)),
        Plant("in.png", "1", "c", "", (DAY,)),
        Plant("in.png", "1", "d", "", ("HONG^GILDONG",)),
        Plant("in.png", "1", "e", "", ("900101-1234568",)),
        Plant("in.png", "1", "f", "", (f"{hospital.key.HEX}00112233aabbccdd",)),
    ),
    (FileTruth("in.png", "1", "x", "x", "png"),),
    (),
)


def _zip(data: bytes) -> bytes:
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("note.txt", data)
    return held.getvalue()


def _deflated_dicom(data: bytes) -> bytes:
    machine = zlib.compressobj(wbits=-15)
    body = machine.compress(data + bytes(64)) + machine.flush()
    return bytes(128) + b"DICM" + b"\x02\0\0\0UL\x04\0" + (6).to_bytes(4, "little") + b"\x02\0\x10\0ab" + body


PACKED: dict[str, Callable[[bytes], bytes]] = {
    "plain": bytes,
    "zlib": zlib.compress,
    "gzip": gzip.compress,
    "zip": _zip,
    "base64": base64.b64encode,
    "hexadecimal": lambda data: data.hex().encode(),
    "deflated data set": _deflated_dicom,
    "zlib in base64": lambda data: b"!" + base64.b64encode(zlib.compress(data)),
}


@pytest.mark.parametrize("packing", PACKED)
@pytest.mark.parametrize(
    ("kind", "written"),
    [
        ("a", "환자 김 민 수 님".encode("utf-16-le")),
        ("a", NAME.encode("euc_kr")),
        ("a", NAME.encode("iso2022_kr")),
        ("a", b"\x1b$)C" + "김".encode("euc_kr") + b"^\x1b$)C" + "민수".encode("euc_kr")),
        ("a", unicodedata.normalize("NFD", NAME).encode()),
        ("b", b"no. 8123456789, room 2"),
        ("b", NUMBER.encode("utf-16-be")),
        ("c", b"on 2024-03-15"),
        ("c", b"15 Mar 2024"),
        ("c", "2024년 3월 15일".encode("euc_kr")),
        ("d", b"<name>hong gildong</name>"),
        ("d", "Hong, Gildong".encode("utf-16-le")),
        ("e", b"9001011234568"),
        ("f", bytes.fromhex("00112233aabbccdd")),
    ],
)
def test_a_value_is_found_however_it_is_written(tmp_path: Path, packing: str, kind: str, written: bytes) -> None:
    packed = PACKED[packing](b"abc " + written + b" \xff\xfe")
    (tmp_path / "in.png").write_bytes(packed if "data set" in packing else b"\x01 junk " + packed)
    assert [one.kind for one in residue.search(tmp_path, ONE)] == [kind]


@pytest.mark.parametrize(
    "written",
    [b"18123456789", b"81234567890", "김민호".encode(), b"20240316 2024-04-15", b"hong gilsong", b"9001011234569", b""],
)
def test_what_was_not_planted_is_not_found(tmp_path: Path, written: bytes) -> None:
    (tmp_path / "in.png").write_bytes(b"junk " + written)
    assert residue.search(tmp_path, ONE) == []


def test_a_day_counts_in_its_own_file_alone_and_a_name_in_all(tmp_path: Path) -> None:
    (tmp_path / "other.png").write_bytes(f"{DAY} {NAME}".encode())
    assert [(one.kind, one.file) for one in residue.search(tmp_path, ONE, {"in.png": "out.png"})] == [
        ("a", "other.png")
    ]
    assert {one.kind for one in residue.search(tmp_path, ONE, {"in.png": "other.png"})} == {"a", "c"}


def test_names_of_files_are_searched(tmp_path: Path) -> None:
    (tmp_path / unicodedata.normalize("NFD", f"{NAME}_x")).mkdir()
    (tmp_path / unicodedata.normalize("NFD", f"{NAME}_x") / "1.png").write_bytes(b"")
    assert [(one.kind, one.where) for one in residue.search(tmp_path, ONE)] == [("a", "name")]


def test_a_value_of_its_own_tells_which_of_two_places_is_left(tmp_path: Path) -> None:
    both = ONE._replace(
        plants=(Plant("in.png", "1", "a", "", ("8111111111", NAME)), Plant("in.png", "1", "b", "", (NAME,)))
    )
    (tmp_path / "in.png").write_bytes(f"8111111111 {NAME}".encode())
    assert {one.kind for one in residue.search(tmp_path, both)} == {"a"}
    (tmp_path / "in.png").write_bytes(NAME.encode())
    assert {one.kind for one in residue.search(tmp_path, both)} == {"a", "b"}


def test_the_benchmark_compares_lists_with_the_truth(tmp_path: Path) -> None:
    truths = (
        FileTruth("a.png", "1", "x", "x", "png", "blank"),
        FileTruth("b.dcm", "2", "x", "x", "dicom cine rle", "noise"),
        FileTruth("c.png", "3", "x", "y", "png"),
        FileTruth("d.png", "3", "x", "x", "png", "", "c.png", "exact"),
        FileTruth("e.png", "4", "x", "x", "gif"),
        FileTruth("f.png", "5", "x", "x", "png"),
    )
    closed = tmp_path / "closed"
    closed.mkdir()
    (closed / "mapping.csv").write_text("original,output,subject\na.png,1.png,s\nb.dcm,2.dcm,s\nc.png,3.png,s\n")
    (closed / "set-aside.csv").write_text("original,output,reason,remedy\ne.png,,odd,\nd.png,,exact copy of 3.png,\n")
    (closed / "outliers.csv").write_text(
        "original,output,check,removed\na.png,1.png,blank,True\nf.png,6.png,unlike,True\nb.dcm,2.dcm[1],noise,False\n"
    )
    (closed / "labels.csv").write_text("rank,file\n1,3.png\n2,1.png\n")
    seen = benchmark.quality(tmp_path, AnswerKey((), truths, ()))
    assert (dict(seen.recall), seen.precision) == ({"blank": (1, 1), "noise": (0, 1)}, (1, 2))
    assert (dict(seen.duplicates), seen.labels, seen.listed) == ({"exact": (1, 1)}, (1, 1), (1, 2))
    assert seen.aside == {"gif": 1, "png": 1}
    assert str(benchmark.Rate(0, 30)) == "0/30 = 0.000 [0.000, 0.116]"
