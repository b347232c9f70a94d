"""One examination as a hospital keeps it: patient, staff, day and numbers, with a mark for every place they go to.

A mark is a number of ten digits that stands in one place of one file only. Names and resident numbers stand in many
places; by its mark a search knows which of the places was left uncleaned.
"""

import datetime
from typing import NamedTuple

from chambit.core.seeds import generator
from chambit.phantoms.hospital.people import Name, Person
from chambit.phantoms.hospital.people import physician as member

ROOT = "1.2.410.200199"
"""Root of the folder's UIDs, below Korea's arc; it looks like a vendor's and belongs to none that we know of."""


class Case(NamedTuple):
    """What is known of the examination that a file shows.

    Attributes:
        seed: of the folder.
        number: of the file, unique in the folder.
        person: the patient.
        when: day and time of the examination, with microseconds.
        site: 'A', 'B' or 'C'.
        view: 'PA' or 'AP'.
    """

    seed: int
    number: int
    person: Person
    when: datetime.datetime
    site: str
    view: str

    def mark(self, kind: str) -> str:
        """The number of ten digits that stands in this file's place of a kind and nowhere else."""
        return str(int(generator(self.seed, f"hospital mark {kind}", self.number).integers(10**9, 10**10)))

    def physician(self, role: int) -> Name:
        """Who had a role in the examination; a hospital has forty of them."""
        return member(self.seed, (self.number * 7 + role * 11) % 40)

    def uid(self, level: int) -> str:
        """A UID as devices make them: root, device, day and time, serial number, level."""
        return f"{ROOT}.{1 + 'ABC'.index(self.site)}.{self.when:%Y%m%d%H%M%S}.{self.mark('dicom.uids')}.{level}"

    def says(self, korean: str, latin: str) -> str:
        """The text of the two that the file's character set can hold."""
        return latin if self.person.foreign else korean
