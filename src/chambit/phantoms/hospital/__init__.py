"""A folder as a hospital hands it over, with planted identifiers, outliers, duplicates and wrong labels, and the key.

key = write(folder, patients=200, seed=1)
write_key(key, somewhere_else / "key.jsonl")
"""

from chambit.phantoms.hospital.folder import DUPLICATES, Options, write
from chambit.phantoms.hospital.key import AnswerKey, Box, FileTruth, Plant, read_key, write_key
from chambit.phantoms.hospital.outliers import OUTLIERS

__all__ = [
    "DUPLICATES",
    "OUTLIERS",
    "AnswerKey",
    "Box",
    "FileTruth",
    "Options",
    "Plant",
    "read_key",
    "write",
    "write_key",
]
