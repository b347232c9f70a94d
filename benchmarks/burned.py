"""Burned-in text: what is covered of known boxes, recall of planted text, area lost, and cost.

python benchmarks/burned.py                     recall on phantoms of 512 pixels
python benchmarks/burned.py --folder FOLDER     recall and area lost on real images (PNG, JPEG or DICOM)
python benchmarks/burned.py --truth FOLDER      files with burned-in text and `ground_truth.json` (Presidio's test set)

The boxes of Presidio's `ground_truth.json` are those of its analyser, which adds 25 pixels on each side of an image
before it looks: all of them are moved by (-25, -25). A box is covered when at least 90 % of its ink is, the pixels
brighter than half of the brightest in it; the share of its area is printed beside it.
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np
from PIL import Image as Picture

from chambit.images import readers
from chambit.phantoms import chest
from chambit.prepare import burned, redaction
from chambit.prepare.burned import planting

PADDING = 25


def grey(path: Path) -> np.ndarray:
    """A file's first image as uint8 (H, W), as shown."""
    if path.suffix.lower() in (".png", ".jpg", ".jpeg"):
        with Picture.open(path) as opened:
            return np.asarray(opened.convert("L"))
    _, image = next(iter(readers.open_any(path)))
    shown = image.grey()
    return np.round(255 * (shown if shown.ndim == 2 else shown.mean(2))).astype(np.uint8)


def truth(folder: Path, options: burned.Options, sheet: Path | None) -> None:
    """Known boxes: how many are covered, and what was made black beside them."""
    shown: list[burned.Entry] = []
    hits = boxes_in_all = lost = clean = 0
    for name, boxes in json.loads((folder / "ground_truth.json").read_text(encoding="utf-8")).items():
        path = next(p for p in sorted(folder.glob(f"{Path(name).stem}*")) if "no_pixels" not in p.name)
        frames = grey(path)[None]
        began = time.process_time()
        looked = burned.look(frames, (), options)
        cost = time.process_time() - began
        after = redaction.blank(frames, looked.redactions, 0)
        second = burned.second_look(after, (), options, looked.redactions)
        redactions = [*looked.redactions, *second.redactions]
        after = redaction.blank(frames, redactions, 0)
        black = burned.covered(frames.shape, redactions)[0]
        text = np.zeros_like(black)
        shares = []
        for box in boxes:
            x, y = box["left"] - PADDING, box["top"] - PADDING
            place = np.s_[max(0, y) : y + box["height"], max(0, x) : x + box["width"]]
            ink = frames[0][place] > frames[0][place].max() / 2
            shares.append((black[place][ink].mean(), black[place].mean()))
            text[place] = True
        hits += sum(ink >= planting.INK for ink, _ in shares)
        boxes_in_all += len(boxes)
        lost += int((black & ~text).sum())
        clean += int((~text).sum())
        print(
            f"{path.name:20s} {frames.shape[2]} x {frames.shape[1]}: {len(boxes)} boxes, ink covered "
            f"{min(i for i, _ in shares):.3f} or more, area {min(a for _, a in shares):.3f} or more; "
            f"{(black & ~text).sum() / (~text).sum():.3%} beside them black; {len(looked.redactions)} redactions, "
            f"{len(looked.kept)} kept, {len(looked.doubtful)} for a person; second look: {second.rounds} round(s), "
            f"{len(second.redactions)} more, {len(second.remaining)} remain; {cost:.0f} CPU s"
        )
        for outcome, some in (("redact", redactions), ("doubt", looked.doubtful), ("keep", looked.kept)):
            shown += burned.entries(path.stem, frames, after, some, outcome)
    print(f"covered: {hits} of {boxes_in_all}; area lost beside the boxes: {lost / clean:.3%} of {clean:,} pixels")
    if sheet:
        print(
            "sheets:", *burned.sheet(shown, sheet), *burned.sheet(shown, sheet.with_name("after.png"), after_only=True)
        )


def table(images: list[np.ndarray], options: burned.Options, each: int, seed: int) -> None:
    """The recall of planted text, and the area lost in images as they are."""
    began = time.process_time()
    got = burned.recall(images, options, np.random.default_rng(seed), each=each, clean=len(images))
    print(f"{len(images)} images; {time.process_time() - began:.0f} CPU s in all")
    heights, contrasts = (sorted({getattr(c, k) for c in got.cells}) for k in ("height", "contrast"))
    for script in (None, *planting.SCRIPTS):
        print(f"\n{script or 'all scripts':16s}" + "".join(f"{c:>26d}" for c in contrasts))
        for height in heights:
            only = {"height": height} | ({"script": script} if script else {})
            shares = [got.share(contrast=contrast, **only) for contrast in contrasts]
            cells = [f"{f:>9d}/{n:<3d} [{low:.2f}, {high:.2f}]" for f, n, low, high in shares]
            print(f"{height:>12d} px " + "".join(f"{cell:>26s}" for cell in cells))
    found, planted, low, high = got.share()
    print(f"\nin all {found} of {planted} [{low:.3f}, {high:.3f}]; queued {sum(c.queued for c in got.cells)}")
    print(f"black in images as they are: {got.false_area:.4%} of the area, in {got.touched} of {got.images} images")


def main() -> None:
    """Print the tables."""
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--folder", type=Path)
    asked.add_argument("--truth", type=Path)
    asked.add_argument("--sheet", type=Path, help="PNG to write the contact sheet of --truth to")
    asked.add_argument("--side", type=int, default=512)
    asked.add_argument("--count", type=int, default=6)
    asked.add_argument("--each", type=int, default=5)
    asked.add_argument("--seed", type=int, default=0)
    given = asked.parse_args()
    options = burned.Options()
    if given.truth:
        truth(given.truth, options, given.sheet)
        return
    if given.folder:
        files = sorted(p for p in given.folder.rglob("*") if p.suffix.lower() in (".png", ".jpg", ".jpeg", ".dcm"))
        images = [grey(p) for p in files[: given.count]]
    else:
        drawn, _ = chest.render(chest.visits(0, given.count, seed=5)[: given.count], seed=5, pixels=given.side)
        images = list((drawn // 16).astype(np.uint8))
    table(images, options, given.each, given.seed)


if __name__ == "__main__":
    main()
