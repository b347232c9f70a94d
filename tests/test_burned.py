"""Burned-in text is covered, markers stay, values never leak, only equal pixels are skipped, recall is told."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as Pillow

from chambit.commands import doctor
from chambit.core.errors import InputError
from chambit.phantoms import chest
from chambit.prepare import burned, hangul, identifiers, lettering, ocr
from chambit.prepare.burned import Options, decision, detection, planting
from chambit.prepare.burned.detection import Found
from chambit.prepare.burned.ground import levelled
from chambit.prepare.redaction import Redaction, blank
from imagefiles import SHARED

pytestmark = pytest.mark.skipif(bool(ocr.missing()), reason=ocr.missing())
PRESIDIO = SHARED / "dicom_burnedin_presidio"
NUMBER = "900101-1234568"
NO_HANGUL = pytest.mark.skipif(bool(hangul.missing()), reason=hangul.missing())


@pytest.fixture(scope="module")
def phantoms() -> np.ndarray:
    drawn, _ = chest.render(chest.visits(0, 3, seed=5)[:3], seed=5, pixels=192)
    return np.asarray(drawn // 16, np.uint8)


def ground(height: int = 150, width: int = 280, level: int = 40) -> np.ndarray:
    return np.random.default_rng(1).normal(level, 4, (height, width)).clip(0, 255).astype(np.uint8)


def write(frame: np.ndarray, text: str, x: int, y: int, height: int = 16, level: int = 230) -> np.ndarray:
    """The frame with a text in it; its ink is what changed."""
    letters = lettering.ink(text, height)
    out = frame.astype(np.float32)
    part = out[y : y + letters.shape[0], x : x + letters.shape[1]]
    part[:] = part * (1 - letters) + letters * level
    return out.astype(np.uint8)


def ink_covered(plain: np.ndarray, written: np.ndarray, boxes: Sequence[Redaction], frame: int = 0) -> float:
    ink = np.abs(written.astype(int) - plain) > 20
    inside = burned.covered((frame + 1, *plain.shape[:2]), [b for b in boxes if b.frame == frame])[frame]
    return float(inside[ink].mean())


def found(text: str, score: float = 0.95, confidence: float = 0.99, x: int = 10, wide: int = 80, y: int = 10) -> Found:
    return Found(ocr.Box(x, y, x + wide, y + 16, score, text, confidence))


def decide(boxes: Sequence[Found], known: Sequence[str] = (), **options: object) -> list[decision.Decided]:
    return decision.decide(boxes, (200, 200), decision.Wanted.of(known), Options(**options))


# --- looking


@pytest.mark.parametrize(("text", "height", "level"), [("홍길동", 14, 230), ("KIM MINSU", 10, 130), (NUMBER, 20, 2)])
def test_every_script_is_covered_and_little_else(text: str, height: int, level: int) -> None:
    plain = ground(level=70)
    frame = write(plain, text, 40, 50, height, level)
    looked = burned.look(frame[None], (), Options())
    assert ink_covered(plain, frame, looked.redactions) >= 0.99
    letters = lettering.ink(text, height).shape
    assert burned.covered((1, *plain.shape), looked.redactions).sum() < 4 * (letters[0] + 8) * (letters[1] + 8)


def test_pictures_without_text_stay_as_they_are(phantoms: np.ndarray) -> None:
    looked = burned.look(phantoms[:2], (), Options(finest=1))
    assert looked.redactions == []
    assert looked.kept == []
    assert burned.look(np.zeros((2, 50, 60), np.uint8), ("KIM^MINSU",), Options()) == ([], [], [])


def test_text_turned_by_a_quarter_is_covered() -> None:
    plain = ground(280, 150)
    frame = np.rot90(write(np.rot90(plain, 1), NUMBER, 30, 50), -1)
    looked = burned.look(np.ascontiguousarray(frame)[None], (), Options())
    assert ink_covered(plain, frame, looked.redactions) >= 0.99
    assert {box.reason for box in looked.redactions} == {identifiers.RESIDENT}


def test_small_and_very_large_letters_of_a_large_image_are_covered() -> None:
    plain = np.full((1100, 1200), 60, np.uint8)
    frame = write(write(plain, "HONG 1234567", 40, 60, 12), "KIM 42", 500, 500, 100)
    looked = burned.look(frame[None], (), Options())
    assert ink_covered(plain, frame, looked.redactions) >= 0.99
    assert burned.covered((1, *plain.shape), looked.redactions).mean() < 0.1


def test_colours_of_equal_brightness_hide_nothing() -> None:
    """Magenta on green: the largest and the smallest channel are the same everywhere."""
    letters = write(np.zeros((100, 200), np.uint8), "1234567", 30, 40, 18, 255)
    frame = np.stack([letters, 255 - letters, letters], axis=2)
    assert np.ptp(frame.max(2)[letters == 255]) == np.ptp(frame.max(2)[letters == 0]) == 0
    looked = burned.look(frame[None], (), Options())
    assert ink_covered(np.zeros_like(letters), letters, looked.redactions) >= 0.99
    grey = np.stack([letters] * 3, axis=2)
    assert len(detection.channels(grey)) == 1
    assert len(detection.channels(frame)) == 3


def test_values_do_not_leave(capsys: pytest.CaptureFixture[str]) -> None:
    frame = write(write(ground(), NUMBER, 20, 20), "HONG GILDONG", 20, 70)
    looked = burned.look(frame[None], ("HONG^GILDONG",), Options())
    assert {box.reason for box in looked.redactions} == {identifiers.RESIDENT, identifiers.KNOWN}
    told = repr(looked) + "".join(capsys.readouterr())
    assert all(value not in told for value in ("1234568", "0101", "ONG", "GILD"))
    assert any(box.read == "9*****-1******" for box in looked.redactions)


def test_markers_stay_unless_asked_or_not_alone() -> None:
    frame = write(write(ground(), "L", 20, 20, 20), "PORTABLE", 90, 70)
    looked = burned.look(frame[None], (), Options())
    assert looked.redactions == []
    assert len(looked.kept) == 2
    assert len(burned.look(frame[None], (), Options(keep_markers=False)).redactions) == 2
    named = write(ground(), "L 홍길동", 20, 20, 20)
    assert ink_covered(ground(), named, burned.look(named[None], (), Options()).redactions) >= 0.99


def test_without_the_extra_it_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ocr, "PACKAGES", (*ocr.PACKAGES, "nowhere_to_be_found"))
    assert "nowhere_to_be_found" in burned.missing()
    with pytest.raises(InputError, match=r"pip install 'chambit\[ocr\]'"):
        burned.look(np.zeros((1, 32, 32), np.uint8), (), Options())


@pytest.mark.parametrize("frames", [np.zeros((1, 8, 8)), np.zeros((8, 8), np.uint8), np.zeros((1, 8, 8, 4), np.uint8)])
def test_other_frames_are_refused(frames: np.ndarray) -> None:
    with pytest.raises(ValueError, match="frames are uint8"):
        burned.look(frames, (), Options())


# --- deciding


def test_a_weak_box_counts_where_it_reads_like_a_known_string() -> None:
    weak = found("P00O123", score=0.4, confidence=0.5)
    assert decide([weak]) == []
    (one,) = decide([weak], ["P000123"])
    assert (one.outcome, one.reason) == ("redact", identifiers.KNOWN)
    assert decide([weak], ["GILDONG^HONG"]) == []


def test_boxes_between_two_scores_are_for_a_person() -> None:
    boxes = [found("?", score, 0.3, y=40 * k) for k, score in enumerate((0.45, 0.55, 0.69, 0.71))]
    assert [d.outcome for d in decide(boxes)] == ["doubt", "doubt", "redact"]
    black = found("KIM", 0.9)
    inside = Found(black.box._replace(x0=20, x1=60, score=0.55, text="", confidence=0.0))
    assert [d.outcome for d in decide([black, inside])] == ["redact"]


def test_scores_out_of_order_are_refused() -> None:
    with pytest.raises(ValueError, match="in order"):
        Options(doubt=0.8)


def test_anatomy_is_no_letter_unless_it_is_read() -> None:
    lung = Found(ocr.Box(10, 10, 150, 180, 0.9, "口", 0.4))
    assert decide([lung]) == []
    assert decide([Found(lung.box._replace(text="1234567", confidence=0.95))])[0].outcome == "redact"
    heart = Found(ocr.Box(10, 10, 80, 90, 0.75, "", 0.0))
    assert decide([heart])[0].outcome == "doubt"
    assert decide([Found(heart.box._replace(score=0.6))]) == []
    assert decide([Found(heart.box._replace(x1=190))])[0].outcome == "redact"  # long enough for letters that high


def test_a_line_is_one_text_for_identifiers() -> None:
    line = [found("MRN", wide=40), found("1234567", x=60)]
    assert [d.reason for d in decide(line)] == ["text", "record number"]
    assert [d.outcome for d in decide(line, redact="identifiers")] == ["keep", "redact"]
    assert [d.outcome for d in decide([found("", 0.9, 0.0)], redact="identifiers")] == ["doubt"]


@pytest.mark.parametrize(
    ("known", "read"),
    [("HONG^GILDONG", "GILDONG HONG"), ("Hong^Gildong=洪^吉洞=홍^길동", "홍길등"), ("HOSP-77812", "H0SP-77812")],
)
def test_headers_values_are_known_in_the_ways_they_are_written(known: str, read: str) -> None:
    assert decide([found(read)], [known])[0].reason == identifiers.KNOWN
    assert decide([found(read)], ["PARK^JIWON"])[0].reason == "text"


# --- frames


def test_frames_are_skipped_only_where_they_are_equal(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = ground(192, 512)
    still = write(plain, NUMBER, 20, 20)
    moved, late = still.copy(), write(still, "KIM MINSU", 340, 150)
    moved[150:170, 100:120] = 200
    frames = np.stack([still, still, moved, late])
    seen: list[int] = []
    real = ocr.text_probability

    def watched(image: np.ndarray) -> np.ndarray:
        seen.append(image.size)
        return real(image)

    monkeypatch.setattr(ocr, "text_probability", watched)
    options = Options(finest=1, turned=False)  # one look at the image's own size
    by_frame = detection.over_frames(frames, options)
    assert seen[0] == plain.size
    assert plain.size < sum(seen) < 2.5 * plain.size  # four frames, but of the last three only what changed
    alone = detection.over_frames(frames[3:], options)[0]
    masks = [
        burned.covered((1, *plain.shape), [Redaction(0, *f.box[:4], "", 1) for f in each])
        for each in (by_frame[3], alone)
    ]
    assert masks[1].any()
    assert (masks[0] != masks[1]).sum() < 0.1 * masks[1].sum()
    assert by_frame[1] == by_frame[0]
    looked = burned.look(frames, (), options)
    assert all(ink_covered(plain, late, looked.redactions, frame=k) >= 0.99 for k in range(4))
    own = burned.look(frames, (), options.model_copy(update={"through": False})).redactions
    assert len([b for b in own if b.frame == 3]) > len([b for b in own if b.frame == 0])


def test_what_changed_is_looked_at_with_all_it_touches() -> None:
    changed = np.zeros((600, 800), bool)
    changed[300, 400] = True
    box = ocr.Box(396, 290, 700, 310, 1, "", 0)
    (part,) = detection.places(changed, [box])
    assert part[0] <= 396 - detection.CONTEXT + detection.CELL
    assert part[2] >= 700
    (alone,) = detection.places(changed, [])
    assert (alone[2] - alone[0]) * (alone[3] - alone[1]) < 0.1 * changed.size
    changed[::7, ::7] = True
    assert detection.places(changed, []) == [(0, 0, 800, 600)]


def test_rectangles_hold_every_changed_pixel_and_do_not_overlap() -> None:
    rng = np.random.default_rng(0)
    for _ in range(30):
        changed = np.zeros((900, 1100), bool)
        for y, x in rng.integers(0, 890, (int(rng.integers(1, 6)), 2)):
            changed[y : y + 9, x : x + 30] = True
        held = np.zeros(changed.shape, int)
        for x0, y0, x1, y1 in detection.places(changed, []):
            held[y0:y1, x0:x1] += 1
        assert held[changed].min() == 1
        assert held.max() == 1


# --- the second look


def test_a_second_look_finds_what_was_left() -> None:
    frame = write(write(ground(), NUMBER, 20, 20), "KIM MINSU", 20, 80)
    looked = burned.look(frame[None], (), Options())
    done = burned.second_look(blank(frame[None], looked.redactions, 0), (), Options(), looked.redactions)
    assert (done.clean, done.rounds, done.redactions) == (True, 1, [])
    some = [b for b in looked.redactions if b.y0 > 50]
    half = blank(frame[None], some, 0)
    again = burned.second_look(half, (), Options(), some)
    assert (again.clean, again.rounds) == (True, 2)
    assert ink_covered(ground(), frame, [*again.redactions, *looked.redactions]) >= 0.99
    assert half[0, 20:36].max() > 200  # the frames given are as they were
    stopped = burned.second_look(half, (), Options(rounds=1), some)
    assert not stopped.clean
    assert [b.reason for b in stopped.remaining] == [identifiers.RESIDENT]
    forgotten = burned.second_look(half, (), Options(rounds=1), looked.redactions)
    assert next(b for b in looked.redactions if b not in some) in forgotten.remaining


def test_a_black_box_is_no_character() -> None:
    """A black rectangle known to be a redaction is no text, and levelling it changes nothing else."""
    plain = ground(200, 200, level=150)
    box = Redaction(0, 80, 90, 110, 125, "text", 0.9)
    frames = blank(plain[None], [box], 0)
    assert burned.second_look(frames, (), Options(finest=1), [box]) == ([], [], 1, [])
    level = levelled(frames, [box])
    outside = ~burned.covered((1, 200, 200), [box])
    assert np.array_equal(level[outside], frames[outside])
    assert abs(float(level[~outside].mean()) - 150) < 4
    colour = np.stack([frames] * 3, axis=-1)
    assert np.array_equal(levelled(colour, [box])[..., 0], level)
    everything = Redaction(0, 0, 0, 200, 200, "text", 1)
    assert not levelled(frames, [everything]).any()


# --- recall


def test_recall_counts_planted_text_by_cell(phantoms: np.ndarray) -> None:
    settings: dict[str, Any] = {"each": 1, "clean": 1, "heights": (12, 100), "contrasts": (200,)}
    got = burned.recall(list(phantoms), Options(finest=1), np.random.default_rng(3), **settings)
    assert {c.script for c in got.cells} == set(planting.SCRIPTS)
    assert {c.height for c in got.cells if c.script == "resident number"} == {12}  # 100 pixels have no room
    found_all, planted, low, high = got.share(height=12)
    assert planted == 4
    assert found_all >= 3
    assert low < found_all / planted <= high
    assert (got.images, got.area, got.false_area) == (1, 192 * 192, 0.0)


def test_recall_of_a_blind_search_is_nought(monkeypatch: pytest.MonkeyPatch, phantoms: np.ndarray) -> None:
    shown: list[np.ndarray] = []

    def blind_look(frames: np.ndarray, known: object, options: Options) -> burned.Looked:
        shown.append(frames)
        return burned.Looked([], [], [])

    monkeypatch.setattr(planting, "look", blind_look)
    monkeypatch.setattr(planting, "NOMINAL", 96)
    colour = [np.stack([image] * 3, axis=2) for image in phantoms]
    settings: dict[str, Any] = {"each": 5, "clean": 0, "heights": (10,), "contrasts": (120,)}
    blind, again = (burned.recall(colour, Options(), np.random.default_rng(0), **settings) for _ in range(2))
    assert blind.cells == again.cells
    assert all((c.found, c.height) == (0, 10) for c in blind.cells)
    assert blind.share()[:2] == (0, 20)
    assert blind.share()[3] == pytest.approx(1 - 0.025 ** (1 / 20))
    assert np.isnan(blind.false_area)
    changed = [np.abs(s[0].astype(int) - min(colour, key=lambda c: np.abs(c.astype(int) - s[0]).sum())) for s in shown]
    assert all((c[..., 0] == c[..., 1]).all() and c.max() > 60 for c in changed)
    # letters of 10 are 20 high in an image twice the nominal size
    rows = [np.flatnonzero(c[..., 0].max(1) > 30) for c in changed]
    assert min(r[-1] - r[0] + 1 for r in rows) >= 19


def test_ink_is_counted_by_pixels() -> None:
    plant = lettering.Plant(0, 2, 1, 6, 3, 2, 0.5, "latin", "x")
    ink = np.array([[True, False, True, True], [False, False, False, True]])
    mask = np.zeros((5, 8), bool)
    mask[1, 2:5] = True
    assert planting.ink_in(plant, ink, mask) == 0.5
    assert planting.ink_in(plant, ink, ~mask) == 0.5


# --- the sheet


def test_sheets_have_pages_and_say_what_they_are(tmp_path: Path) -> None:
    before = write(ground(), NUMBER, 20, 20)
    boxes = [Redaction(k, 18, 16, 180, 40, identifiers.RESIDENT, 0.97, "9*****-1******") for k in range(3)]
    after = blank(np.stack([before] * 3), boxes, 0)
    (entry,) = burned.entries("7", np.stack([before] * 3), after, boxes)
    assert (entry.frames, entry.box.frame) == (3, 0)
    written = burned.sheet([entry] * 25, tmp_path / "sheet.png")
    assert [path.name for path in written] == ["sheet.png", "sheet-2.png"]
    (alone,) = burned.sheet([entry], tmp_path / "after.png", after_only=True)
    pages = [np.asarray(Pillow.open(path)).astype(int) for path in (*written, alone)]
    assert [tuple(page[2, 2]) for page in pages] == [(208, 34, 34), (208, 34, 34), (190, 120, 0)]
    assert pages[0].shape[0] > 4 * pages[1].shape[0] > 4 * pages[2].shape[0]
    assert burned.sheet([], tmp_path / "none.png")[0].is_file()


# --- Hangul


@NO_HANGUL
def test_a_name_in_hangul_is_told_as_the_headers() -> None:
    frame = write(ground(), "홍길동", 40, 40, 22)
    (box,) = burned.look(frame[None], ("Hong^Gildong=洪^吉洞=홍^길동",), Options()).redactions
    assert box.reason == identifiers.KNOWN
    assert burned.look(frame[None], ("김^민수",), Options()).redactions[0].reason == "text"


def test_doctor_says_whether_hangul_is_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(hangul, "FOLDERS", (str(tmp_path),))
    monkeypatch.delenv("TESSDATA_PREFIX", raising=False)
    line = doctor._hangul()
    assert not line.good
    assert not line.needed
    assert "tesseract-ocr-kor" in line.remedy
    (tmp_path / hangul.MODEL).write_bytes(b"")
    assert hangul.folder() == tmp_path


# --- real burned-in text


def test_all_boxes_of_real_files_are_covered() -> None:
    """At least 90 % of the ink of each; the boxes of the truth are 25 pixels off, by the padding of their analyser."""
    if not PRESIDIO.is_dir():
        pytest.skip(f"the shared data set is not here ({PRESIDIO})")
    shares = []
    for name, boxes in json.loads((PRESIDIO / "ground_truth.json").read_text(encoding="utf-8")).items():
        if not (path := PRESIDIO / f"{Path(name).stem}.png").is_file():
            continue  # the DICOM files: `benchmarks/burned.py --truth`
        grey = np.asarray(Pillow.open(path).convert("L"))
        # the neighbourhood of the text alone, for speed
        y0, x0 = (max(0, min(b[k] for b in boxes) - 200) for k in ("top", "left"))
        part = np.ascontiguousarray(grey[y0 : max(b["top"] for b in boxes) + 200, x0:])[:, :1000]
        black = burned.covered((1, *part.shape), burned.look(part[None], (), Options()).redactions)[0]
        for box in boxes:
            y, x = max(0, box["top"] - 25 - y0), max(0, box["left"] - 25 - x0)
            place = np.s_[y : y + box["height"], x : x + box["width"]]
            shares.append(black[place][part[place] > part[place].max() / 2].mean())
    assert len(shares) == 9
    assert min(shares) >= 0.9
