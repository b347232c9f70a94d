"""Identifiers in texts: numbers known by hand are found and masked, what merely looks alike is not."""

import datetime
import string

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chambit.prepare import identifiers, strings
from chambit.prepare.identifiers import check_digit, find, masked, normal, only_markers, redacted


def _kinds(text: str, **options: bool) -> list[str]:
    return [match.kind for match in find(text, **options)]


# 900101-123456?: 9*2+0*3+0*4+1*5+0*6+1*7+1*8+2*9+3*2+4*3+5*4+6*5 = 124, 124 mod 11 = 3, 11-3 = 8
# 751231-212345?: 7*2+5*3+1*4+2*5+3*6+1*7+2*8+1*9+2*2+3*3+4*4+5*5 = 147, 147 mod 11 = 4, 11-4 = 7
# 000229-312345?: 0+0+0+2*5+2*6+9*7+3*8+1*9+2*2+3*3+4*4+5*5 = 172, 172 mod 11 = 7, 11-7 = 4
# 880808-512345?: 8*2+8*3+0+8*5+0+8*7+5*8+1*9+2*2+3*3+4*4+5*5 = 239, 239 mod 11 = 8, 13-8 = 5 (a foreigner's)
@pytest.mark.parametrize("number", ["900101-1234568", "751231-2123457", "000229-3123454", "880808-5123455"])
def test_check_digits_by_hand(number: str) -> None:
    digits = number.replace("-", "")
    assert check_digit(digits)
    assert sum(check_digit(digits[:12] + str(d)) for d in range(10)) == 1
    (match,) = find(f"환자 {number} 촬영")
    kind = "foreigner registration number" if digits[6] == "5" else "resident registration number"
    assert (match.kind, match.ground) == (kind, "checksum holds")
    assert match.masked == f"{number[0]}*****-{number[7]}******"
    assert number[1:6] not in repr(match)


def test_a_number_without_its_check_digit_is_said_to_be_form_only() -> None:
    """Since October 2020 the last digits are random: a missing check digit proves nothing."""
    (match,) = find("220315-3123456")
    assert (match.kind, match.ground) == ("resident registration number", "form only")
    assert _kinds("9001011234567") == []  # thirteen digits in a row, neither check digit nor dash: a counter
    assert _kinds("9001011234568") == ["resident registration number"]
    assert _kinds("901301-1234568") == []  # no month 13
    assert _kinds("900230-1234568") == []  # no such day


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("010-1234-5678", "mobile phone number"),
        ("01012345678", "mobile phone number"),
        ("02-345-6789", "telephone number"),
        ("031) 345-6789", "telephone number"),
        ("+82 10-1234-5678", "international phone number"),
        ("hong.gd@example.co.kr", "e-mail address"),
        ("11-23-123456-78", "driving licence number"),
        ("여권번호: M12345678", "passport number"),
        ("등록번호 00417733", "record number"),
        ("MRN:417733", "record number"),
        ("Patient ID 12345", "record number"),
        ("ID: 4821933", "record number"),
        ("성명: 홍길동", "personal name"),
        ("환자명 홍길동", "personal name"),
        ("Patient Name: HONG GILDONG", "personal name"),
        ("주민번호 900101-1******", "resident registration number"),
        ("주민번호900101-1234568입니다", "resident registration number"),
        ("DOB 900101", "date of birth"),
        ("생년월일: 1990.01.01", "date of birth"),
        ("2024-03-15", "date"),
        ("20240315", "date"),
        ("06.16.1976", "date"),
        ("15-Mar-2024", "date"),
        ("March 5, 2024", "date"),
        ("2024년 3월 15일", "date"),
        ("２０２４－０３－１５", "date"),
    ],
)
def test_every_kind_is_found_and_masked(text: str, kind: str) -> None:
    (match,) = find(text)
    assert match.kind == kind
    value = normal(text)[match.start : match.end]
    assert match.masked == masked(value) != value


@pytest.mark.parametrize(
    "text",
    [
        "",
        "3.14159265358979",
        "0.900101 1234568.5",
        "1.2.840.10008.5.1.4.1.1.7",
        "2.25.329800735698586629295641978511506172918",
        "sha256 3b5d5c3712955042212316173ccf37be19900101aa",
        "v1.2.3 2024.03",
        "512 x 512, 8 bit, 1712345678901",
        "S000123.png",
        "99999999",
        "2023-02-30",
        "file name: report",
        "AI-generated synthetic image; not for diagnosis. 인공지능으로 생성한 합성영상, 진단용 아님.",
        "환자 1200명, 영상 3000장",
        "L PORTABLE SUPINE",
    ],
)
def test_what_is_no_identifier(text: str) -> None:
    assert find(text, read=True) == []


def test_what_is_read_may_mistake_letters_for_digits() -> None:
    assert _kinds("9OO1Ol-I23456B", read=True) == ["resident registration number"]
    assert _kinds("O1O-1234-S678", read=True) == ["mobile phone number"]
    assert _kinds("O1O-1234-S678") == []
    assert _kinds("SOLID BOILS", read=True) == []


def test_known_strings_exactly_or_nearly() -> None:
    known = {"P000123", "hospital_0007.dcm", "0001", "홍길동A"}
    assert [m.ground for m in find("from P000123 now", known)] == ["exact"]
    assert [m.masked for m in find("x_p000123.png", known)] == ["p******"]
    assert find("P000124", known) == []  # the next patient's number is not this one
    assert [m.ground for m in find("P00O123", known, read=True)] == ["nearly the same"]
    assert find("P99912", known, read=True) == []
    assert find("0001", known) == []  # in every folder
    decomposed = "홍길동a"
    assert [m.kind for m in find(decomposed, known)] == [identifiers.KNOWN]  # file systems take Hangul apart


@pytest.mark.parametrize(
    ("word", "other", "distance"),
    [("kitten", "sitting", 3), ("flaw", "lawn", 2), ("same", "same", 0), ("abc", "xyz", 3), ("", "four", 4)],
)
def test_edit_distances(word: str, other: str, distance: int) -> None:
    codes = np.array([[ord(c) for c in other]])
    assert strings.distances(word, codes).tolist() == [distance]


@given(st.text(string.ascii_lowercase[:3], min_size=1, max_size=8), st.text(string.ascii_lowercase[:3], max_size=8))
def test_an_edit_distance_is_symmetric_and_bounded(one: str, two: str) -> None:
    if not two:
        return
    there = strings.distances(one, np.array([[ord(c) for c in two]]))[0]
    back = strings.distances(two, np.array([[ord(c) for c in one]]))[0]
    assert there == back
    assert abs(len(one) - len(two)) <= there <= max(len(one), len(two))
    assert (there == 0) == (one == two)


@given(st.text(max_size=60), st.booleans())
def test_any_text_can_be_searched(text: str, read: bool) -> None:
    plain = normal(text)
    for match in find(text, {"patient7", "홍길동전"}, read=read):
        assert 0 <= match.start < match.end <= len(plain)
        assert sum(c.isalnum() and c != "*" for c in match.masked) <= len(match.masked) // 4 + 1
    redacted(text)


@given(st.dates(datetime.date(1900, 1, 1), datetime.date(1999, 12, 31)), st.integers(0, 99999), st.sampled_from("12"))
def test_any_number_with_its_check_digit_is_found(day: datetime.date, serial: int, sex: str) -> None:
    head = f"{day:%y%m%d}{sex}{serial:05d}"
    number = next(head + str(d) for d in range(10) if check_digit(head + str(d)))
    for text in (number, f"{number[:6]}-{number[6:]}", f"No.{number[:6]} {number[6:]}/"):
        (match,) = [m for m in find(text) if m.kind == "resident registration number"]
        assert match.ground == "checksum holds"
        assert number[1:6] not in match.masked


def test_names_of_files_are_shown_redacted() -> None:
    assert redacted("scan_900101-1234568_L.png") == "scan_9*****-1******_L.png"
    assert redacted("P000123/a.png", {"P000123"}) == "P******/a.png"
    assert redacted("0001.png") == "0001.png"


def test_markers_are_text_but_nobody() -> None:
    assert only_markers("L")
    assert only_markers("Portable / AP")
    assert not only_markers("L HONG")
    assert not only_markers("")
