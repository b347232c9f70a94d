"""One image with what is needed to read its numbers: dtype kept, photometric interpretation resolved by the reader.

Axis order is (row, column) for grey images and (row, column, channel) for colour; row 0 is the top. MONOCHROME1 is
inverted and DICOM's rescale and window are applied by the reader, so a larger number is always brighter.
"""

from dataclasses import dataclass, field, replace

import numpy as np


@dataclass(frozen=True)
class Image:
    """A two-dimensional image as one reader understood one file.

    Attributes:
        pixels: uint8 or uint16, shape (H, W) or (H, W, 3); larger is brighter.
        white: the value that stands for full brightness, 255 for 8 bits, 4095 for 12 bits stored, 65535 for 16.
        spacing_mm: row and column spacing in millimetres where the file says so.
        subject: the person the file names (for example DICOM PatientID), or "".
        label: the finding the file itself carries, or "".
        fields: other facts worth keeping (view, sex, modality), no direct identifiers.
        shown: how stored numbers became brightness: `whole range`, `range LOW to HIGH`, `window CENTER/WIDTH` or
            `lookup table`; with `, inverted` where dark and bright were exchanged, and `, luminance` where colour
            became grey.
    """

    pixels: np.ndarray
    white: int
    spacing_mm: tuple[float, float] | None = None
    subject: str = ""
    label: str = ""
    fields: dict[str, str] = field(default_factory=dict)
    shown: str = "whole range"

    def __post_init__(self) -> None:
        if self.pixels.dtype not in (np.uint8, np.uint16):
            raise ValueError(f"pixels must be uint8 or uint16, not {self.pixels.dtype}")
        if self.pixels.ndim not in (2, 3) or (self.pixels.ndim == 3 and self.pixels.shape[2] != 3):
            raise ValueError(f"pixels must be (H, W) or (H, W, 3), not {self.pixels.shape}")

    @property
    def colour(self) -> bool:
        """Whether the three channels differ anywhere (a grey picture saved as RGB does not count)."""
        if self.pixels.ndim == 2:
            return False
        red, green, blue = np.moveaxis(self.pixels, 2, 0)
        return not (np.array_equal(red, green) and np.array_equal(red, blue))

    def luminance(self) -> "Image":
        """This image in grey: the luminance of its colours, weighted as in Recommendation ITU-R BT.601, section 2.5.1.

        >>> red = Image(np.array([[[255, 0, 0], [255, 255, 255]]], np.uint8), white=255)
        >>> red.luminance().pixels.tolist(), red.luminance().shown
        ([[76, 255]], 'whole range, luminance')
        """
        if not self.colour:
            return self
        plane = np.rint(self.pixels @ np.array([0.299, 0.587, 0.114])).astype(self.pixels.dtype)
        return replace(self, pixels=plane, shown=f"{self.shown}, luminance")

    def grey(self) -> np.ndarray:
        """Brightness in [0, 1], float32 (H, W): the same for one picture in an 8-bit, 12-bit or 16-bit container.

        >>> eight = Image(np.array([[0, 51]], np.uint8), white=255)
        >>> sixteen = Image(np.array([[0, 51 * 257]], np.uint16), white=65535)
        >>> bool(np.allclose(eight.grey(), sixteen.grey()))
        True
        """
        plane = self.pixels if self.pixels.ndim == 2 else self.pixels[:, :, 0]
        return np.asarray(plane, np.float32) / np.float32(self.white)
