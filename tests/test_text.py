"""Text in pixels: planted text is found, plain images have none, real burned-in text is read, blindness is INVALID."""

import json
import logging
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pillow

from chambit.core.engines import processes
from chambit.core.evidence import Verdict
from chambit.core.steps import Context
from chambit.images import readers
from chambit.prepare import identifiers, lettering, ocr
from chambit.prepare.lettering import WORDS, Wanted
from examinations import Cohort, by_key, judged, measure, patients, workplace
from imagefiles import SHARED

pytestmark = pytest.mark.skipif(bool(ocr.missing()), reason=ocr.missing())
PRESIDIO = SHARED / "dicom_burnedin_presidio"


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Context]:
    with workplace(tmp_path_factory.mktemp("text")) as made:
        yield made


@pytest.fixture(scope="module")
def plain() -> Cohort:
    return patients(12, 3, "HOSP-", side=64)


def _written(images: np.ndarray, *wanted: Wanted, seed: int = 0) -> tuple[np.ndarray, list[lettering.Plant]]:
    return lettering.plant(images, wanted, np.random.default_rng(seed))


# --- letters


@pytest.mark.parametrize("height", [8, 10, 14, 20, 28])
def test_the_height_is_that_of_the_ink(height: int) -> None:
    for words in WORDS.values():
        for word in words:
            drawn = lettering.ink(word, height)
            assert drawn.shape[0] == height
            rows = np.flatnonzero(drawn.max(1) > 0)
            assert rows[-1] - rows[0] + 1 >= height - 1
            assert drawn.max() > 0.5


def test_letters_have_their_contrast_and_place() -> None:
    grey = np.full((1, 64, 64), 128, np.uint8)
    images, (plant,) = _written(grey, Wanted(10, 0.25, "latin", ("KIM",)))
    changed = np.argwhere(images[plant.image] != 128)
    assert (changed.min(0) >= [plant.y0, plant.x0]).all()
    assert (changed.max(0) < [plant.y1, plant.x1]).all()
    assert plant.y1 - plant.y0 == 10
    assert abs(int(np.abs(images[plant.image].astype(int) - 128).max()) - 64) <= 1


def test_planting_repeats_and_leaves_out_what_does_not_fit(plain: Cohort) -> None:
    wanted = [Wanted(h, 0.5, s, w) for h in (10, 20, 40, 80) for s, w in WORDS.items()]
    one, two = (_written(plain.pixels, *wanted) for _ in range(2))
    assert np.array_equal(one[0], two[0])
    assert one[1] == two[1]
    assert {plant.height for plant in one[1]} == {10, 20, 40}
    large, plants = _written(np.full((1, 300, 300), 90, np.uint8), *[Wanted(10, 0.5, "latin", ("KIM",))] * 5)
    assert len(large) == 1
    assert len(plants) == 5  # several in a large image, apart from each other
    for a in plants:
        assert all(a is b or a.x1 <= b.x0 or b.x1 <= a.x0 or a.y1 <= b.y0 or b.y1 <= a.y0 for b in plants)


# --- reading


def test_latin_and_digits_are_read_in_both_polarities(plain: Cohort) -> None:
    wanted = [Wanted(10, 0.6, "id", (word,)) for word in ("20240315", "1234567", "KIM MINSU", "PARK")] * 2
    images, plants = _written(plain.pixels, *wanted, seed=4)
    read = ocr.find(images)
    hits = [any(box.text.replace(" ", "") == p.text.replace(" ", "") for box in read[p.image]) for p in plants]
    assert sum(hits) >= len(hits) - 1


def test_plain_pictures_have_no_text(plain: Cohort) -> None:
    assert ocr.find(plain.pixels) == [[]] * len(plain.pixels)
    assert ocr.find(np.zeros((2, 40, 56), np.uint8)) == [[], []]


def test_an_image_is_read_alone(plain: Cohort) -> None:
    """Neither the other images of a batch nor their order change what is found."""
    images, _ = _written(plain.pixels, *[Wanted(12, 0.7, "latin", ("KIM", "PARK"))] * 5)
    whole = ocr.find(images)
    assert [ocr.find(image[None])[0] for image in images] == whole
    assert ocr.find(images[::-1]) == whole[::-1]


def test_a_quarter_turn_is_found(plain: Cohort) -> None:
    images, plants = _written(plain.pixels, *[Wanted(10, 0.8, "digits", ("1234567",))] * 4)
    turned = ocr.find(np.ascontiguousarray(np.rot90(images, 1, (1, 2))))
    assert sum(bool(boxes) for boxes in turned) >= len(plants) - 1


def test_a_large_image_is_cut_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ocr, "LARGE", 192)
    images, (plant,) = _written(np.full((1, 230, 300), 60, np.uint8), Wanted(16, 0.7, "digits", ("1234567",)))
    (boxes,) = ocr.find(images)
    assert [box.text for box in boxes] == ["1234567"]
    assert abs(boxes[0].x0 - plant.x0) < 8
    assert abs(boxes[0].y0 - plant.y0) < 12


def test_lines_join_boxes_from_left_to_right() -> None:
    boxes = [
        ocr.Box(40, 10, 60, 20, 1, "1234567", 1),
        ocr.Box(0, 11, 30, 21, 1, "MRN", 1),
        ocr.Box(0, 40, 9, 50, 1, "L", 1),
    ]
    assert ocr.lines(boxes) == ["MRN 1234567", "L"]
    assert [m.kind for m in identifiers.find(ocr.lines(boxes)[0], read=True)] == ["record number"]


def test_reading_is_silent_and_offline() -> None:
    code = (
        "import numpy as np, sys, logging; from chambit.core import offline; offline.guard();"
        "from chambit.prepare import ocr; ocr.find(np.zeros((1, 32, 32), np.uint8));"
        "assert offline.attempts() == 0; assert 'rapidocr' not in sys.modules and 'cv2' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert logging.getLogger("RapidOCR").handlers == []


# --- the measure


@pytest.fixture(scope="module")
def given(plain: Cohort) -> dict[str, Cohort]:
    return {"holdout": plain, "synthetic": patients(8, 5, "s", side=64)}


def test_plain_images_pass(context: Context, given: dict[str, Cohort]) -> None:
    result = measure(context, "text", given)
    found = by_key(result)
    images = found["text.images"]
    assert images.value == found["text.identifiers"].value == 0
    assert images.interval is not None
    assert images.interval.low == 0
    assert images.interval.high == pytest.approx(8 * (1 - 0.025 ** (1 / 8)))
    assert images.control is not None
    assert images.control.fired
    table = images.details["planted"]
    assert {(row["height"], row["contrast"]) for row in table} >= {(8, 0.5), (10, 0.5)}  # type: ignore[index, attr-defined]
    assert {row["script"] for row in table} == {"latin", "digits", "hangul", "identifier"}  # type: ignore[index, attr-defined]
    assert all(row["low"] <= row["found"] / row["planted"] <= row["high"] for row in table)  # type: ignore[index, attr-defined]
    assert images.details["holdout"]["images"] == 12  # type: ignore[index]
    assert judged(result)["text.identifiers"].verdict is Verdict.PASS
    assert result.scores is not None
    assert result.scores["text.boxes"].to_list() == [0] * 8


def test_a_text_is_conditional_and_an_identifier_fails(context: Context, given: dict[str, Cohort]) -> None:
    """One image says L, one a date, one a subject of the holdout; none of it is in the findings."""
    pixels = given["synthetic"].pixels.copy()
    for row, word in enumerate(("LEFT", "2024-03-15", "HOSP-11")):
        made, plants = _written(pixels[row : row + 1], Wanted(9, 0.9, "x", (word,)), seed=row)
        assert plants
        pixels[row] = made[0]
    synthetic = given["synthetic"]._replace(pixels=pixels)
    result = measure(context, "text", given | {"synthetic": synthetic})
    found, evidence = by_key(result), judged(result)
    assert found["text.images"].value == 3
    assert found["text.images"].details["markers_only"] == 1
    assert found["text.identifiers"].details["kinds"] == {"date": 1, "known string of the cohort": 1}
    assert evidence["text.images"].verdict is Verdict.CONDITIONAL
    assert evidence["text.identifiers"].verdict is Verdict.FAIL
    for finding in found.values():
        assert "HOSP-11" not in finding.model_dump_json()
        assert "03-15" not in finding.model_dump_json()
    assert result.scores is not None
    assert result.scores["text.identifiers"].to_list() == [0, 1, 1, 0, 0, 0, 0, 0]


def test_a_blind_search_is_invalid(context: Context, given: dict[str, Cohort], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ocr, "find", lambda images: [[] for _ in images])
    evidence = judged(measure(context, "text", given, seed=11))
    assert {item.verdict for item in evidence.values()} == {Verdict.INVALID}


def test_images_too_small_for_the_height_say_so(context: Context) -> None:
    tiny = {"holdout": patients(4, 1, "h", side=10), "synthetic": patients(4, 2, "s", side=10)}
    evidence = judged(measure(context, "text", tiny))
    assert {item.verdict for item in evidence.values()} == {Verdict.NOT_RUN}
    small = {"holdout": patients(6, 1, "h", side=11), "synthetic": patients(4, 2, "s", side=11)}
    found = by_key(measure(context, "text", small))["text.images"]
    assert "pixels" in found.reason


def test_without_the_extra_it_is_not_run(
    context: Context, given: dict[str, Cohort], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ocr, "PACKAGES", (*ocr.PACKAGES, "nowhere_to_be_found"))
    result = measure(context, "text", given)
    assert {finding.value for finding in result.findings} == {None}
    assert all("pip install 'chambit[ocr]'" in finding.reason for finding in result.findings)


def test_workers_and_blocks_change_nothing(tmp_path: Path, given: dict[str, Cohort]) -> None:
    small = {"compulsory": 2, "plants": 1, "identifiers": 1, "heights": (10,), "holdout": 4}
    with workplace(tmp_path / "one") as alone:
        one = measure(alone, "text", given, **small)
    with workplace(tmp_path / "two") as context:
        engine = processes.Engine(2)
        try:
            several = measure(
                Context(context.step, context.store, context.ledger, engine, context.tell, context.scratch),
                "text",
                given,
                block_size=5,
                **small,
            )
        finally:
            engine.close()
    assert one.findings == several.findings


# --- real burned-in text


def test_real_burned_in_text_is_found() -> None:
    if not PRESIDIO.is_dir():
        pytest.skip(f"the shared data set is not here ({PRESIDIO})")
    truth = json.loads((PRESIDIO / "ground_truth.json").read_text(encoding="utf-8"))
    read = []
    for name, boxes in truth.items():
        path = next(p for p in sorted(PRESIDIO.glob(f"{Path(name).stem}*")) if "no_pixels" not in p.name)
        # the neighbourhood of the text alone, for speed: 160 pixels around it (one file's boxes are 15 pixels off)
        y0, x0 = (max(0, min(b[k] for b in boxes) - 160) for k in ("top", "left"))
        y1 = max(b["top"] + b["height"] for b in boxes) + 160
        x1 = max(b["left"] + b["width"] for b in boxes) + 160
        (seen,) = ocr.find(np.ascontiguousarray(_grey(path)[y0:y1, x0:x1])[None])
        lines = "\n".join(ocr.lines(seen))
        read += [b["label"] in lines for b in boxes]
        dates = [b for b in boxes if b["label"][-4:].isdigit()]
        assert len(identifiers.find(lines, read=True)) >= len(dates) > 0
    assert len(read) == 19
    assert sum(read) >= 18


def _grey(path: Path) -> np.ndarray:
    if path.suffix == ".png":
        with Pillow.open(path) as opened:
            return np.asarray(opened.convert("L"))
    ((_, image),) = readers.open_any(path)
    pixels = image.pixels if image.pixels.ndim == 2 else image.pixels.mean(2)
    return np.round(pixels.astype(float) / image.white * 255).astype(np.uint8)
