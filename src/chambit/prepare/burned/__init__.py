"""Burned-in text: find it, make it black, look again, measure what would have been found, and show it to a person.

`look` gives the boxes, `chambit.prepare.redaction.blank` makes them black, `second_look` searches what is left,
`recall` measures the search on the batch at hand, `sheet` draws what was done.
"""

from chambit.prepare.burned.contact import Entry, entries, sheet
from chambit.prepare.burned.ground import covered
from chambit.prepare.burned.looking import Looked, SecondLook, look, missing, second_look
from chambit.prepare.burned.planting import Cell, Recall, recall
from chambit.prepare.burned.settings import Options

__all__ = [
    "Cell",
    "Entry",
    "Looked",
    "Options",
    "Recall",
    "SecondLook",
    "covered",
    "entries",
    "look",
    "missing",
    "recall",
    "second_look",
    "sheet",
]
