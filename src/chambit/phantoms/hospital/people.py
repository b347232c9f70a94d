"""Invented patients and staff of a Korean hospital: names in three scripts, numbers, addresses.

    check digit of a resident number d1 .. d13:  d13 = (11 - sum(w_i d_i) mod 11) mod 10,  w = 2 .. 9, 2 .. 5
    of a foreigner's:                            d13 = (13 - sum(w_i d_i) mod 11) mod 10

Source: Enforcement Rule of the Resident Registration Act; the form of a foreigner's is that of the Immigration Act.

Nobody is meant: resident numbers have a region code above 96, which no region had, telephone numbers lie in 010-0,
which is not given to subscribers, addresses and the hospital do not exist. Names are common ones, put together by
chance, so that two patients may share one, as they do in a hospital.
"""

import datetime
from collections.abc import Iterable
from typing import Final, NamedTuple

from chambit.core.seeds import generator

_FAMILIES: Final = (
    ("김", "金", "KIM"), ("이", "李", "LEE"), ("박", "朴", "PARK"), ("최", "崔", "CHOI"), ("정", "鄭", "JUNG"),
    ("강", "姜", "KANG"), ("조", "趙", "CHO"), ("윤", "尹", "YOON"), ("장", "張", "JANG"), ("임", "林", "LIM"),
    ("한", "韓", "HAN"), ("오", "吳", "OH"), ("서", "徐", "SEO"), ("신", "申", "SHIN"), ("권", "權", "KWON"),
    ("황", "黃", "HWANG"), ("안", "安", "AHN"), ("송", "宋", "SONG"), ("전", "全", "JEON"), ("홍", "洪", "HONG"),
)  # fmt: skip
_FIRST: Final = (
    ("민", "敏", "MIN"), ("지", "智", "JI"), ("영", "英", "YEONG"), ("서", "瑞", "SEO"), ("은", "恩", "EUN"),
    ("정", "貞", "JEONG"), ("성", "成", "SEONG"), ("현", "賢", "HYEON"), ("미", "美", "MI"), ("재", "宰", "JAE"),
)  # fmt: skip
_SECOND: Final = (
    ("수", "洙", "SOO"), ("호", "浩", "HO"), ("준", "俊", "JUN"), ("경", "京", "KYUNG"), ("우", "宇", "WOO"),
    ("진", "眞", "JIN"), ("희", "姬", "HEE"), ("아", "娥", "AH"), ("연", "姸", "YEON"), ("철", "哲", "CHUL"),
)  # fmt: skip
_FOREIGN_FAMILIES: Final = ("Müller", "Nguyen", "García", "Johnson", "Lefèvre", "Andersson", "Petrov", "Tanaka")
_FOREIGN_GIVEN: Final = ("Jürgen", "Linh", "María", "Emily", "René", "Björn", "Anna", "Kenji")
_ROADS: Final = ("가온마루로", "새벽달길", "은행나무로", "물레방아길", "솔바람로", "별빛고개길")
_CITIES: Final = ("서울특별시 한빛구", "부산광역시 솔내구", "대전광역시 다온구", "경기도 늘봄시", "전라남도 해오름군")
_DEPARTMENTS: Final = ("호흡기내과", "흉부외과", "응급의학과", "영상의학과", "건강증진센터")
_WEIGHTS: Final = (2, 3, 4, 5, 6, 7, 8, 9, 2, 3, 4, 5)
_REGIONS: Final = (97, 98, 99)

HOSPITAL: Final = "가람누리대학교병원"
HOSPITAL_LATIN: Final = "Garamnuri University Hospital"
HOSPITAL_ADDRESS: Final = "서울특별시 한빛구 새벽달길 101"


class Name(NamedTuple):
    """A name in up to three scripts, parts apart.

    Attributes:
        roman: family and given name in Latin letters.
        hangul: in Hangul, or ("", "") of a foreigner.
        hanja: in Chinese characters, or ("", "").
    """

    roman: tuple[str, str]
    hangul: tuple[str, str] = ("", "")
    hanja: tuple[str, str] = ("", "")

    @property
    def dicom(self) -> str:
        """The value of a PN element: alphabetic, ideographic and phonetic group (PS3.5 6.2.1)."""
        groups = ("^".join(group) for group in (self.roman, self.hanja, self.hangul))
        return "=".join(groups) if self.hangul[0] else "^".join(self.roman)

    @property
    def latin(self) -> str:
        """Family and given name in Latin letters with a space."""
        return " ".join(self.roman)

    @property
    def local(self) -> str:
        """As it is written at home: Hangul without a space, or Latin letters."""
        return "".join(self.hangul) or self.latin


class Person(NamedTuple):
    """An invented patient.

    Attributes:
        mrn: number in the hospital, eight digits.
        name: the name.
        mother: the mother's name.
        sex: 'F' or 'M'.
        born: day of birth.
        resident: resident or foreigner registration number with a right check digit, `YYMMDD-NNNNNNN`.
        mobile, home: telephone numbers.
        address: postal address.
        email: e-mail address.
        department: where the patient is treated.
        foreign: whether the name has no Hangul.
    """

    mrn: str
    name: Name
    mother: Name
    sex: str
    born: datetime.date
    resident: str
    mobile: str
    home: str
    address: str
    email: str
    department: str
    foreign: bool


def person(seed: int, index: int, sex: str, age_band: str, on: datetime.date) -> Person:
    """The patient of an index.

    Args:
        seed: of the folder.
        index: the patient's index, at least 0; patients have different numbers in the hospital.
        sex: 'F' or 'M'.
        age_band: such as '40-59' or '80+', in years on the day `on`.
        on: day of the first visit.
    """
    rng = generator(seed, "hospital person", index)
    foreign = bool(rng.random() < 0.12)
    lowest = int(age_band.rstrip("+").split("-")[0])
    born = on - datetime.timedelta(days=365 * lowest + lowest // 4 + int(rng.integers(1, 3650)))
    called = _foreign(rng.integers(8, size=2)) if foreign else _korean(rng.integers((20, 10, 10)))
    digits = [f"{number:04d}" for number in rng.integers(10000, size=6)]
    return Person(
        # a step that shares no factor with 10^7 gives each index a number of its own; none looks like a day
        mrn=f"{30_000_000 + (index * 7_368_787 + seed * 15_485_863) % 10_000_000:08d}",
        name=called,
        mother=_korean(rng.integers((20, 10, 10))),
        sex=sex,
        born=born,
        resident=resident_number(born, sex, foreign, region=int(rng.choice(_REGIONS)), serial=int(rng.integers(1000))),
        mobile=f"010-0{digits[0][1:]}-{digits[1]}",
        home=f"02-{digits[2]}-{digits[3]}",
        address=f"{rng.choice(_CITIES)} {rng.choice(_ROADS)} {rng.integers(1, 400)}, {rng.integers(101, 2400)}호",
        email=f"{''.join(c for c in called.roman[1].lower() if c.isascii())}{digits[4]}{digits[5]}@example.com",
        department=str(rng.choice(_DEPARTMENTS)),
        foreign=foreign,
    )


def physician(seed: int, number: int) -> Name:
    """A member of the staff."""
    return _korean(generator(seed, "hospital staff", number).integers((20, 10, 10)))


def resident_number(born: datetime.date, sex: str, foreign: bool, *, region: int, serial: int) -> str:
    """A resident's number with the check digit that belongs to it.

    Args:
        born: day of birth, from 1900 to 2099.
        sex: 'F' or 'M'.
        foreign: whether it is a foreigner's registration number.
        region: two digits.
        serial: three digits.

    >>> resident_number(datetime.date(1990, 1, 1), 'M', False, region=23, serial=456)
    '900101-1234568'
    """
    seventh = 1 + (sex == "F") + 2 * (born.year >= 2000) + 4 * foreign
    digits = f"{born:%y%m%d}{seventh}{region:02d}{serial:03d}"
    total = sum(weight * int(digit) for weight, digit in zip(_WEIGHTS, digits, strict=True))
    last = ((13 if foreign else 11) - total % 11) % 10
    return f"{digits[:6]}-{digits[6:]}{last}"


def _korean(pick: Iterable[int]) -> Name:
    family, first, second = (int(at) for at in pick)
    hangul, hanja, roman = _FAMILIES[family]
    given = [_FIRST[first][script] + _SECOND[second][script] for script in range(3)]
    return Name((roman, given[2]), (hangul, given[0]), (hanja, given[1]))


def _foreign(pick: Iterable[int]) -> Name:
    family, given = (int(at) for at in pick)
    return Name((_FOREIGN_FAMILIES[family], _FOREIGN_GIVEN[given]))
