"""Where a run's Frechet distance comes from: `python benchmarks/fidelity.py OUT [--block 8]`.

Splits the distance of a finished run's synthetic set to its holdout into the part of the means and the rest, and
puts beside it the distance of real training images that only went through the block-DCT codec, without a generator.
"""

import argparse
from pathlib import Path

import numpy as np
import sqlalchemy as sql

from chambit.core import ledger
from chambit.core.store import Store
from chambit.generate.codec.dct import BlockDCT
from chambit.images.imageset import ImageSet
from chambit.measure import similarity
from chambit.measure.embed import texture
from chambit.measure.utility import frechet


def main() -> None:
    """Read the run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--block", type=int, default=8)
    given = parser.parse_args()
    store, engine = Store(given.out / "work"), sql.create_engine(f"sqlite:///{given.out / 'work' / 'ledger.sqlite'}")
    with engine.connect() as connection:
        outputs = {row.name: row.outputs for row in connection.execute(sql.select(ledger.step))}
    real = ImageSet.load(store, outputs["refine"]["train"]).grey()
    holdout, synthetic = (ImageSet.load(store, outputs["refine"][role]).grey() for role in ("holdout", "synthetic"))
    n = min(len(real), len(holdout), len(synthetic))
    scale = np.maximum(np.concatenate([texture.features(real), texture.features(holdout)]).std(0), similarity.FLOOR)

    def described(images: np.ndarray) -> np.ndarray:
        return texture.features(images[:n]) / scale

    h, s = described(holdout), described(synthetic)
    whole, means = frechet.distance(h, s), float(np.square(h.mean(0) - s.mean(0)).sum())
    print(f"n = {n} a side, texture features, against the holdout")
    print(f"training images      {frechet.distance(h, described(real)):7.2f}")
    print(f"synthetic images     {whole:7.2f}   of which means {means:.2f}, the rest {whole - means:.2f}")
    for keep in range(given.block // 2, given.block + 1):
        codec = BlockDCT.fit(real, size=given.block, keep=keep)
        through = described(codec.decode(codec.encode(real)))
        alone, left = frechet.distance(h, through), frechet.distance(through, s)
        print(f"codec only, keep {keep:2d}  {alone:7.2f}   synthetic against it {left:.2f}")
    print(f"spread of the pixels, synthetic / real: {synthetic.std(0).mean() / holdout.std(0).mean():.3f}")


if __name__ == "__main__":
    main()
