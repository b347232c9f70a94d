"""The one pixel path of a reader study, and what would give a kind away before anybody looks."""

import io

import numpy as np
import pytest
from PIL import Image as Pillow
from pydantic import ValidationError

from chambit.core.errors import InputError
from chambit.images.image import Image
from chambit.reading import pixels
from chambit.reading.pixels import Screen, Telltale

SCREEN = Screen(height=48, width=48, bits=8)


def smooth(count: int, seed: int, side: int = 64) -> np.ndarray:
    """Pictures like each other, uint8 (count, side, side), values 40 to 210."""
    rng = np.random.default_rng(seed)
    small = Pillow.fromarray
    return np.stack(
        [
            np.asarray(
                small(rng.integers(40, 210, (8, 8)).astype(np.uint8)).resize((side, side), Pillow.Resampling.BICUBIC)
            )
            // 2
            + rng.integers(20, 40, (side, side)).astype(np.uint8)
            for _ in range(count)
        ]
    )


def by_name(real: list[np.ndarray], synthetic: list[np.ndarray]) -> dict[str, Telltale]:
    return {one.name: one for one in pixels.telltales(real, synthetic)}


# --- the path


def test_one_picture_is_shown_alike_from_every_container() -> None:
    eight = smooth(1, 0)[0]
    colour = np.repeat(eight[:, :, None], 3, axis=2)
    ways = [
        Image(eight, 255),
        Image(colour, 255),
        Image(eight.astype(np.uint16) * 257, 65535),
        Image((eight.astype(np.uint16) * 257) >> 4, 4095),
    ]
    first, *others = (pixels.shown(one, SCREEN) for one in ways)
    assert first.dtype == np.dtype("<u2")
    assert first.shape == (48, 48)
    assert len(first.tobytes()) == 48 * 48 * 2
    assert np.array_equal(others[0], first)
    assert np.array_equal(others[1], first)
    assert np.abs(others[2].astype(int) - first).max() <= 257  # 12 bits: one level of 8 bits at most


def test_full_range_is_scaled_by_white_and_never_by_the_image() -> None:
    dark = Image(np.full((64, 64), 51, np.uint8), 255)
    assert (pixels.shown(dark, SCREEN) == 51 * 257).all()
    assert (pixels.shown(Image(np.full((64, 64), 4095, np.uint16), 4095), SCREEN) == 65535).all()


def test_bits_are_the_same_for_all() -> None:
    fine = Image(np.random.default_rng(0).integers(0, 65536, (64, 64)).astype(np.uint16), 65535)
    assert len(np.unique(pixels.shown(fine, SCREEN))) <= 256
    assert len(np.unique(pixels.shown(fine, Screen(height=48, width=48, bits=12)))) > 1000


def test_the_middle_is_shown_without_stretching() -> None:
    wide = np.zeros((40, 80), np.uint8)
    wide[:, 20:60] = 200
    assert (pixels.shown(Image(wide, 255), Screen(height=40, width=40, bits=8)) == 200 * 257).all()


def test_row_and_column_keep_their_places() -> None:
    corner = np.zeros((64, 64), np.uint8)
    corner[:16, 48:] = 255
    seen = pixels.shown(Image(corner, 255), Screen(height=32, width=32, bits=8))
    assert seen[2, 29] == 65535
    assert seen[29, 2] == 0


def test_what_cannot_be_shown_is_refused() -> None:
    with pytest.raises(InputError, match="4 x 90 pixels"):
        pixels.shown(Image(np.zeros((4, 90), np.uint8), 255), SCREEN)
    with pytest.raises(ValidationError):
        Screen(height=48, width=48, bits=7)


# --- what gives a kind away


def test_images_of_one_source_tell_nothing() -> None:
    found = by_name(list(smooth(40, 1)), list(smooth(40, 2)))
    assert set(found) == set(pixels.LOOKS)
    assert all(one.p > 0.05 for one in found.values())
    assert all(one.told < 0.72 for one in found.values())
    assert found["rows"].told == 0.5


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("rows", lambda image: image[:60]),
        ("columns", lambda image: image[:, :60]),
        ("bits of the container", lambda image: image.astype(np.uint16)),
        ("grey levels", lambda image: image // 4 * 4),
        ("empty grey levels", lambda image: image.astype(np.uint16) * 257),
        ("lowest value", lambda image: np.maximum(image, 60)),
        ("highest value", lambda image: np.where(image == image.max(), 255, image).astype(np.uint8)),
        ("constant border", lambda image: np.pad(image[3:-3, 3:-3], 3)),
    ],
)
def test_what_was_planted_is_seen(name: str, change: object) -> None:
    real, synthetic = list(smooth(25, 1)), [change(one) for one in smooth(25, 2)]  # type: ignore[operator]
    one = by_name(real, synthetic)[name]
    assert one.told > 0.95
    assert one.p < 1e-6
    assert one.real != one.synthetic


def test_jpeg_is_seen_and_resizing_both_hides_it() -> None:
    def jpeg(image: np.ndarray) -> np.ndarray:
        buffer = io.BytesIO()
        Pillow.fromarray(image).save(buffer, "JPEG", quality=40)
        return np.asarray(Pillow.open(buffer))

    real, synthetic = smooth(25, 1, 96), np.stack([jpeg(one) for one in smooth(25, 2, 96)])
    assert by_name(list(real), list(synthetic))["8 x 8 blocks"].told > 0.95
    screen = Screen(height=68, width=68, bits=8)
    shown = [[pixels.shown(Image(one, 255), screen) for one in images] for images in (real, synthetic)]
    assert by_name(*shown)["8 x 8 blocks"].told < 0.85


def test_sharpness_enlarged_by_a_whole_number_is_no_compression() -> None:
    """Enlarged eight times, every pixel is a block of 8 x 8; and blocks of what is stored are seen all the same."""
    noise = np.random.default_rng(0)
    real = [np.clip(one + noise.normal(0, 12, one.shape), 0, 255).astype(np.uint8) for one in smooth(25, 1)]
    synthetic = list(smooth(25, 2))
    side = real[0].shape[0]
    screen = Screen(height=8 * side, width=8 * side, bits=8)
    shown = [[pixels.shown(Image(one, 255), screen) for one in images] for images in (real, synthetic)]
    assert by_name(*shown)["8 x 8 blocks"].told > 0.9
    found = {one.name: one for one in pixels.telltales(*shown, (real, synthetic))}
    assert found["8 x 8 blocks"].told < 0.8  # of 25 pairs, by chance
    tiled = [np.kron(one[::8, ::8], np.ones((8, 8))).astype(np.uint8)[: one.shape[0], : one.shape[1]] for one in real]
    found = {one.name: one for one in pixels.telltales(*shown, (real, tiled))}
    assert found["8 x 8 blocks"].told > 0.95


def test_most_telling_comes_first_and_p_is_for_all_together() -> None:
    real, synthetic = list(smooth(25, 1)), [one // 4 * 4 for one in smooth(25, 2)]
    found = pixels.telltales(real, synthetic)
    assert [one.told for one in found] == sorted((one.told for one in found), reverse=True)
    alone = [one.p for one in pixels._holm([Telltale("a", 0, 0, 0.5, 0.01), Telltale("b", 0, 0, 0.5, 0.04)])]
    assert alone == pytest.approx([0.02, 0.04])


@pytest.mark.parametrize(
    ("image", "width"),
    [(np.ones((5, 5), np.uint8), 5), (np.eye(5, dtype=np.uint8), 0), (np.pad(np.eye(4, dtype=np.uint8), 2), 2)],
)
def test_borders_by_hand(image: np.ndarray, width: int) -> None:
    assert pixels.border(image) == width


def test_blocks_by_hand() -> None:
    tiles = np.kron(np.arange(16).reshape(4, 4) % 3, np.ones((8, 8))).astype(np.uint8)
    assert pixels.blockiness(tiles) > 5
    assert pixels.blockiness(np.full((32, 32), 7, np.uint8)) == 0.0
    assert abs(pixels.blockiness(np.random.default_rng(0).integers(0, 255, (256, 256)).astype(np.uint8))) < 0.03


def test_what_cannot_be_compared_is_refused() -> None:
    pictures = list(smooth(3, 0))
    with pytest.raises(InputError, match="1 images"):
        pixels.telltales(pictures, pictures[:1])
    with pytest.raises(InputError, match="uint"):
        pixels.telltales(pictures, [one.astype(float) for one in pictures])
