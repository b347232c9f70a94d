"""All randomness comes from `seed(study, step, index)`: any image can be made again, alone.

The seed is the first 63 bits of SHA-256 over the three names, so neighbouring indices are unrelated and no stream
depends on how many numbers another stream has drawn.
"""

import hashlib

import numpy as np


def seed(study: int, step: str, index: int | str = 0) -> int:
    """A seed in [0, 2**63) for one item of one step.

    >>> seed(7, "sample", 0) == seed(7, "sample", 0)
    True
    >>> seed(7, "sample", 0) == seed(7, "sample", 1)
    False
    """
    word = hashlib.sha256(f"{study}\x1f{step}\x1f{index}".encode()).digest()
    return int.from_bytes(word[:8], "big") >> 1


def generator(study: int, step: str, index: int | str = 0) -> np.random.Generator:
    """NumPy's Philox generator for one item of one step."""
    return np.random.Generator(np.random.Philox(seed(study, step, index)))
