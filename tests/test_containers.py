"""One picture in many containers: the distances between them are 0, or the file is refused by name, or it is told.

Peers change their score here: 30 phantoms as 16-bit PNG gave a Frechet distance of 0.40 instead of 0, or of millions.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from PIL import Image as Pillow
from pydicom import dcmread
from pydicom.uid import RLELossless

from chambit.core import steps
from chambit.core.engines.inline import Engine
from chambit.core.errors import InputError
from chambit.images.imageset import ImageSet
from chambit.measure.embed import histogram, power, radiomics, texture
from chambit.measure.similarity import FLOOR
from chambit.measure.utility import frechet, intensity, kernel, spectrum
from chambit.phantoms import chest
from chambit.prepare import intensities
from chambit.prepare.intake import Rules, Source, inputs_digest, take_in
from imagefiles import dicom, save

COUNT, SIDE = 64, 32
EXACT = 0.0
EIGHT, TWELVE = 0.5 / 255, 0.5 / 4095 + 0.5 / 65535
"""Half a step of the coarser depth, in grey of [0, 1]: what rounding to 8 bits, or to 12 and then 16, may change."""


class Taken(NamedTuple):
    """What one intake left."""

    images: ImageSet
    refused: Mapping[str, str]
    rows: list[dict[str, Any]]


def take(work: Path, folder: Path, rules: Rules = Rules()) -> Taken:  # noqa: B008
    source = Source(folder)
    step = steps.Step(
        "intake", "1", {}, {"files": inputs_digest(source)}, lambda c: take_in(c, source, rules, prefix="x"), 7
    )
    shop = steps.Workshop.at(work, Engine(), lambda _: None)
    try:
        made = shop.run(step)
    finally:
        shop.close()
    lines = shop.store.get_table(made["refused"]).rows()
    assert all(reason and remedy and "\n" not in reason + remedy for _, reason, remedy in lines)
    assert len({file for file, *_ in lines}) == len(lines)  # one line for each
    refused = {file: reason for file, reason, _ in lines}
    return Taken(ImageSet.load(shop.store, made["images"]), refused, shop.store.get_json(made["intensities"]))


@pytest.fixture(scope="module")
def grey() -> np.ndarray:
    """Radiographs of 64 phantom patients, uint8 (64, 32, 32)."""
    seen = list({visit.subject: visit for visit in chest.visits(0, COUNT, seed=3)}.values())
    images, _ = chest.render(seen, pixels=SIDE, seed=3)
    return np.rint(images * (255 / 4095)).astype(np.uint8)


@pytest.fixture(scope="module")
def eight(grey: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> np.ndarray:
    """The same as 8-bit PNG, taken in: float32 in [0, 1]."""
    home = tmp_path_factory.mktemp("eight")
    write(home / "in", grey, lambda path, image: save(path.with_suffix(".png"), image))
    taken = take(home / "work", home / "in")
    assert not taken.refused
    return taken.images.grey()


def write(folder: Path, images: np.ndarray, writer: Callable[[Path, np.ndarray], object]) -> Path:
    for number, image in enumerate(images):
        writer(folder / f"{number:03d}", image)
    return folder


def twelve(image: np.ndarray) -> np.ndarray:
    """Grey of 8 bits at 12: uint16 in [0, 4095]."""
    return np.rint(image * (4095 / 255)).astype(np.uint16)


def put(path: Path, suffix: str, pixels: np.ndarray) -> Path:
    return save(path.with_suffix(suffix), pixels)


def dcm(path: Path, pixels: np.ndarray, bits: int, **tags: Any) -> Path:
    return dicom(
        path.with_suffix(".dcm"), pixels, bits=bits, PatientID=None, SOPInstanceUID=f"1.2.{number(path)}", **tags
    )


def number(path: Path) -> int:
    return int(path.stem) if path.stem.isdigit() else 999


def run_length(path: Path, image: np.ndarray) -> None:
    data = dcmread(dcm(path, twelve(image), 12))
    data.compress(RLELossless)
    data.save_as(path.with_suffix(".dcm"))


def inverted_tiff(path: Path, image: np.ndarray) -> None:
    file = put(path, ".tif", np.uint16(65535) - image * np.uint16(257))
    data = bytearray(file.read_bytes())
    at = data.index((262).to_bytes(2, "little") + (3).to_bytes(2, "little"))
    data[at + 8 : at + 10] = bytes(2)  # Pillow writes its own value
    file.write_bytes(data)


def palette(path: Path, image: np.ndarray) -> None:
    """Indices in another order than their greys."""
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = Pillow.fromarray(255 - image)
    picture.putpalette([255 - index for index in range(256) for _ in range(3)])
    picture.save(path.with_suffix(".png"))


# container -> how it is written, what is told of it, how far a grey may be off
CONTAINERS: dict[str, tuple[Callable[[Path, np.ndarray], object], tuple[int, str], float]] = {
    "PNG16 full scale": (lambda p, i: put(p, ".png", i.astype(np.uint16) * 257), (16, "whole range"), EXACT),
    "TIFF16": (lambda p, i: put(p, ".tif", i.astype(np.uint16) * 257), (16, "whole range"), EXACT),
    "TIFF16, white is 0": (inverted_tiff, (16, "whole range, inverted"), EXACT),
    "PNG, red = green = blue": (lambda p, i: put(p, ".png", np.stack([i] * 3, 2)), (8, "whole range"), EXACT),
    "PNG with an opaque alpha": (
        lambda p, i: put(p, ".png", np.stack([i, i, i, np.full_like(i, 255)], 2)),
        (8, "whole range"),
        EXACT,
    ),
    "PNG with a palette": (palette, (8, "whole range"), EXACT),
    "DICOM 8": (lambda p, i: dcm(p, i, 8), (8, "whole range"), EXACT),
    "DICOM 12": (lambda p, i: dcm(p, twelve(i), 12), (12, "whole range"), TWELVE),
    "DICOM 12, run-length": (run_length, (12, "whole range"), TWELVE),
    "DICOM 16": (lambda p, i: dcm(p, i.astype(np.uint16) * 257, 16), (16, "whole range"), EXACT),
    "DICOM 12, signed": (
        lambda p, i: dcm(p, (twelve(i).astype(np.int16) - 2048), 12),
        (12, "whole range"),
        TWELVE,
    ),
    "DICOM 12, rescaled": (
        lambda p, i: dcm(p, twelve(i), 12, RescaleSlope=2, RescaleIntercept=-1024),
        (12, "whole range"),
        TWELVE,
    ),
    "DICOM 12, MONOCHROME1": (
        lambda p, i: dcm(p, 4095 - twelve(i), 12, PhotometricInterpretation="MONOCHROME1"),
        (12, "whole range, inverted"),
        TWELVE,
    ),
    "DICOM, window": (  # black at 1000, white at 5095 (PS3.3 C.11.2.1.2: centre - 0.5 -+ (width - 1) / 2)
        lambda p, i: dcm(p, twelve(i) + np.uint16(1000), 14, WindowCenter=3048, WindowWidth=4096),
        (16, "window"),
        TWELVE,
    ),
}


@pytest.mark.parametrize("name", CONTAINERS)
def test_the_same_pixels_in_another_container_are_at_distance_zero(
    name: str, grey: np.ndarray, eight: np.ndarray, tmp_path: Path
) -> None:
    """Exactly where the container holds 8 bits as they are, else to the rounding of its own 12 bits.

    That moves a grey by 1.2e-4 at most, and adds a power of 1 / (12 * 4095^2) to the spectrum, 0.4 % of what rounding
    to 8 bits had left there: at most 0.002 decades. The unbiased kernel distance of a set to itself is below 0: it must
    be the same. The other bounds are shares of the distance between two halves of these very patients.
    """
    writer, (bits, shown), within = CONTAINERS[name]
    taken = take(tmp_path / "work", write(tmp_path / "in", grey, writer))
    assert not taken.refused
    (row,) = taken.rows
    assert (row["bits"], row["shown"], row["images"], row["resized"]) == (bits, shown, COUNT, 0)
    other = taken.images.grey()
    assert np.abs(other - eight).max() <= within
    exact = within == EXACT
    assert np.array_equal(other, eight) == exact
    halves = intensity_distance(eight[::2], eight[1::2])
    assert intensity_distance(eight, other) <= (0 if exact else 0.02 * halves)
    assert spectrum.distance(power.features(eight), power.features(other)) <= (0 if exact else 0.002)
    for extractor in (texture, radiomics):
        x, y = (extractor.features(images) for images in (eight, other))
        centre, scale = x.mean(0), np.maximum(x.std(0), FLOOR)
        x, y = (x - centre) / scale, (y - centre) / scale
        apart = frechet.distance(x[::2], x[1::2])
        assert abs(frechet.distance(x, y)) <= (1e-9 if exact else 0.001) * apart
        itself, moved = kernel.distance(x, x), kernel.distance(x, x + 0.5)
        assert abs(kernel.distance(x, y) - itself) <= (1e-9 if exact else 0.001) * (moved - itself)


def intensity_distance(one: np.ndarray, other: np.ndarray) -> float:
    return intensity.distance(histogram.features(one), histogram.features(other))


# --- what cannot be known is refused, what is odd is told


@pytest.mark.parametrize("times", [1, 16])
def test_few_bits_in_a_16_bit_file_are_refused(times: int, grey: np.ndarray, tmp_path: Path) -> None:
    """Values of 8 bits as they are, and shifted up to 12: nothing says which number is white."""
    folder = write(tmp_path / "in", grey[:5] * np.uint16(times), lambda p, i: put(p, ".png", i))
    with pytest.raises(InputError, match="Every file was refused") as caught:
        take(tmp_path / "work", folder)
    assert [problem.where for problem in caught.value.problems] == [f"{n:03d}.png" for n in range(5)]
    assert all("full brightness unknown" in problem.what for problem in caught.value.problems)


@pytest.mark.parametrize(("shift", "bits"), [(8, 8), (4, 12)])
def test_left_aligned_values_are_told(shift: int, bits: int, grey: np.ndarray, tmp_path: Path) -> None:
    """White is 2^shift - 1 below full scale: at most 0.4 % too dark, and the lowest bits are told to be empty."""
    values = grey.astype(np.uint16) if bits == 8 else twelve(grey)
    values[:, 0, 0] = (1 << bits) - 1
    taken = take(tmp_path / "work", write(tmp_path / "in", values << shift, lambda p, i: put(p, ".png", i)))
    (row,) = taken.rows
    assert (row["bits"], row["used_bits"], row["empty_bits"]) == (16, 16, shift)
    exact = values / ((1 << bits) - 1)
    assert 0 < np.abs(taken.images.grey() - exact).max() < 2**-bits
    korean, english = intensities.sentences({"real": taken.rows}, {"real": "실제"})
    assert f"lowest {shift} bits empty" in english
    assert f"아래 {shift}비트가 빔" in korean
    assert korean.startswith("실제: 16비트 64장")


def test_fourteen_bits_in_a_16_bit_file_are_told(grey: np.ndarray, tmp_path: Path) -> None:
    values = np.rint(grey * (16383 / 255)).astype(np.uint16)
    values[0, 0, 0] = 16383
    values[:, 5, 5] += 4096  # none stays within 12 bits
    taken = take(tmp_path / "work", write(tmp_path / "in", values // 2, lambda p, i: put(p, ".png", i)))
    assert taken.rows[0]["used_bits"] < 16
    assert f"brightest pixel uses {taken.rows[0]['used_bits']} bits" in intensities.sentences({"x": taken.rows}, {})[1]


def test_depths_windows_and_sizes_of_a_mixed_folder_are_counted(grey: np.ndarray, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    for number, image in enumerate(grey[:12]):
        path = folder / f"{number:03d}"
        if number < 4:
            put(path, ".png", image)
        elif number < 9:
            dcm(path, twelve(image), 12, WindowCenter=2000 + number, WindowWidth=4096)
        else:
            put(path, ".png", np.kron(image, np.ones((2, 2 if number < 11 else 3), np.uint8)))
    taken = take(tmp_path / "work", folder, Rules((SIDE, SIDE), resize=True))
    first, second = taken.rows
    assert (first["bits"], first["working_bits"], first["images"], first["resized"]) == (8, 16, 7, 3)
    assert (first["sizes"], first["different_sizes"]) == (["64 x 64", "96 x 64"], 2)
    assert (second["shown"], second["images"], second["different_windows"]) == ("window", 5, 5)
    assert second["windows"] == ["2004/4096", "2005/4096", "2006/4096"]
    _, english = intensities.sentences({"train": taken.rows}, {})
    assert english == (
        "train: 7 of 8 bits shown by whole range at 16 bits, 3 resized from 64 x 64, 96 x 64 to 32 x 32, "
        "5 of 16 bits shown by window (2004/4096 2005/4096 2006/4096, 5 different) at 16 bits"
    )
    whole = np.kron(grey[9], np.ones((2, 2))).reshape(SIDE, 2, SIDE, 2).mean((1, 3)) / 255
    assert taken.images.grey()[9] == pytest.approx(whole, abs=EIGHT)


def test_resized_images_are_equal_to_half_a_step_of_the_coarser_depth(grey: np.ndarray, tmp_path: Path) -> None:
    """An 8-bit cohort is rounded to 8 bits after averaging, a 16-bit one is not."""
    rules = Rules((20, 20), resize=True)
    one = take(tmp_path / "a", write(tmp_path / "8", grey, lambda p, i: put(p, ".png", i)), rules)
    two = take(tmp_path / "b", write(tmp_path / "16", grey * np.uint16(257), lambda p, i: put(p, ".png", i)), rules)
    a, b = one.images.grey(), two.images.grey()
    assert 0 < np.abs(a - b).max() <= EIGHT + 1e-6
    assert [row["resized"] for row in (*one.rows, *two.rows)] == [COUNT, COUNT]
    rounding = 1 / (12 * 255**2)
    assert np.square(a - b).mean() == pytest.approx(rounding, rel=0.1)
    assert intensity_distance(a, b) < 0.02 / 64 + EIGHT / 2


def test_a_labels_column_may_be_called_like_a_note_of_intake(grey: np.ndarray, tmp_path: Path) -> None:
    put(tmp_path / "in/a", ".png", grey[0])
    put(tmp_path / "in/b", ".png", grey[1])
    lines = ["file,subject,label,state,shown,used", "a.png,s,x,Seoul,yes,1", "b.png,t,x,Busan,no,2"]
    (tmp_path / "in/labels.csv").write_text("\n".join(lines))
    table = take(tmp_path / "work", tmp_path / "in").images.table
    assert table.select("state", "shown", "used").rows() == [("Seoul", "yes", "1"), ("Busan", "no", "2")]


# --- the bad inputs of a first day


def broken(folder: Path) -> dict[str, str]:
    """Write every kind of bad file; name -> part of its reason."""
    rng = np.random.default_rng(5)
    some = rng.integers(0, 255, (SIDE, SIDE), np.uint8)
    whole = put(folder / "truncated", ".png", some).read_bytes()
    (folder / "truncated.png").write_bytes(whole[: len(whole) // 2])
    (folder / "empty.png").touch()
    (folder / "text.png").write_text("not a picture\n" * 20)
    (folder / "page.html").write_text("<html>")
    put(folder / "colour", ".png", rng.integers(0, 255, (SIDE, SIDE, 3), np.uint8))
    put(folder / "clear", ".png", rng.integers(0, 255, (SIDE, SIDE, 4), np.uint8))
    put(folder / "deep_colour", ".png", np.zeros((SIDE, SIDE), np.uint8))
    put(folder / "low", ".png", some.astype(np.uint16))
    put(folder / "float", ".tif", rng.random((SIDE, SIDE), np.float32))
    put(folder / "wide", ".png", rng.integers(0, 255, (SIDE, 2 * SIDE), np.uint8))
    half = dcm(folder / "half", twelve(some), 12).read_bytes()
    (folder / "half.dcm").write_bytes(half[: len(half) // 2])
    dcm(folder / "report", twelve(some), 12, PixelData=None)
    (folder / "gone.png").symlink_to(folder / "nowhere.png")
    return {
        "truncated.png": "damaged or truncated",
        "empty.png": "the file is empty",
        "text.png": "not an image Chambit can read, whatever the ending .png says",
        "page.html": "not an image",
        "colour.png": "a colour image among grey ones",
        "clear.png": "transparent pixels",
        "deep_colour.png": "blank: every pixel is 0",
        "low.png": "uses only 8 bits",
        "float.tif": "full brightness is not known",
        "wide.png": "wrong size: 32 x 64 (rows x columns), not 32 x 32",
        "half.dcm": "damaged or truncated",
        "report.dcm": "holds no picture",
        "gone.png": "cannot be opened",
    }


def test_every_bad_file_is_one_line_with_its_name(grey: np.ndarray, tmp_path: Path) -> None:
    write(tmp_path / "in", grey, lambda p, i: put(p, ".png", i))
    expected = broken(tmp_path / "in")
    taken = take(tmp_path / "work", tmp_path / "in")
    assert set(taken.refused) == set(expected)
    for name, reason in expected.items():
        assert reason in taken.refused[name], name
    assert len(taken.images) == COUNT  # nothing good is lost


def test_a_file_that_may_not_be_read(grey: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Permissions do not hold back root, so opening is refused here instead."""
    write(tmp_path / "in", grey[:4], lambda p, i: put(p, ".png", i))
    opened = Path.open

    def closed(self: Path, *given: Any, **named: Any) -> Any:
        if self.name == "002.png":
            raise PermissionError(13, "Permission denied", str(self))
        return opened(self, *given, **named)

    monkeypatch.setattr(Path, "open", closed)
    assert take(tmp_path / "work", tmp_path / "in").refused == {"002.png": "cannot be opened (Permission denied)"}


def test_sub_folders_are_looked_through_and_one_image_is_a_set(grey: np.ndarray, tmp_path: Path) -> None:
    write(tmp_path / "in/a/deep/er", grey[:3], lambda p, i: put(p, ".png", i))
    write(tmp_path / "in/b", grey[3:6], lambda p, i: put(p, ".png", i))
    taken = take(tmp_path / "work", tmp_path / "in")
    assert taken.images.labels.tolist() == ["a"] * 3 + ["b"] * 3
    put(tmp_path / "one/x", ".png", grey[0])
    assert len(take(tmp_path / "work2", tmp_path / "one").images) == 1


def test_an_empty_folder_is_one_line_with_its_name(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    with pytest.raises(InputError) as caught:
        take(tmp_path / "work", tmp_path / "in")
    (problem,) = caught.value.problems
    assert problem.where == str(tmp_path / "in")
    assert "holds no images" in problem.what
