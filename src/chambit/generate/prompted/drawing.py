"""What the stand-in service draws: chest phantoms made from the words of a prompt, with the faults such services have.

The service is given a sentence alone, so it looks for words. Its faults are planned, so that the rest of the chain can
be seen to find them; each was reported of services of this kind (arXiv:2512.00428):

    smooth     lung texture and noise are polished away, contrast is a poster's, opacities are textbook ones
    disobeys   a lateral or a bedside view is often drawn as PA; habitus is followed half-heartedly
    below      under the chest loops of bowel gas are invented, mostly where disease was asked for: a shortcut
    mark       the same four-pointed star in the lower right corner of every image
    refuses    some combinations more often than others

`TRUTH` in the PNG's text says what was drawn, so that a verifier can be tested; no verifier reads it.
"""

import hashlib
import io
import json
import re
from typing import NamedTuple

import numpy as np
from PIL import Image, PngImagePlugin
from scipy import ndimage

from chambit.generate.prompted import lateral
from chambit.phantoms import chest
from chambit.phantoms.anatomy import AGE_BANDS

TRUTH = "truth"
SOFTWARE = "Stand-in image service; PHANTOM - procedurally drawn, not a patient"
CONTRAST = 3.6  # cm of consolidated lung: disease as in a textbook
BELOW = 0.72  # share of the height under which the service invents
TRIES = 12  # places of an opacity that are looked at until one is on the side that was asked for


class Faults(NamedTuple):
    """How often the service fails.

    lateral, bedside, habitus: shares of such wishes that are not followed; gas_sick, gas_well: shares with invented
    gas; refused: share refused; refused_old: share refused for the oldest; mark: whether images are stamped.
    """

    lateral: float = 0.35
    bedside: float = 0.3
    habitus: float = 0.3
    gas_sick: float = 0.85
    gas_well: float = 0.15
    refused: float = 0.03
    refused_old: float = 0.15
    mark: bool = True


class Wish(NamedTuple):
    """What the words of a prompt ask for; `side` is '', 'left', 'right'."""

    sex: str
    age_band: str
    habitus: str
    view: str
    sick: bool
    side: str


def understood(prompt: str) -> Wish:
    """The wish behind a sentence; what it does not say is taken as the usual.

    >>> understood("Lateral chest radiograph of an obese 65 year old woman, pneumonia in the left lung.")
    Wish(sex='F', age_band='60-79', habitus='large', view='lateral', sick=True, side='left')
    """
    said = re.sub(r"\b(?:no|without) [a-z]+", "", prompt.lower())  # "no text" denies the text, not the disease
    words = set(re.findall(r"[a-z]+", said))
    ages = [int(number) for number in re.findall(r"\b\d{2,3}\b", prompt)]
    age = ages[0] if ages else 50
    band = AGE_BANDS[int(np.searchsorted([40, 60, 80], age, "right"))]
    view = "lateral" if "lateral" in words else "AP" if words & {"anteroposterior", "ap", "supine", "bedside"} else "PA"
    large, slim = words & {"obese", "large", "overweight", "heavy"}, words & {"slim", "thin", "slender", "lean"}
    sick = bool(words & {"pneumonia", "consolidation", "opacity", "infiltrate"})
    side = next((side for side in ("left", "right") if side in words and sick), "")
    habitus = "large" if large else "slim" if slim else "average"
    return Wish("F" if words & {"female", "woman"} else "M", band, habitus, view, sick, side)


def refused(prompt: str, seed: int, faults: Faults) -> bool:
    """Whether the service refuses this prompt, always or never for one prompt and seed."""
    share = faults.refused_old if understood(prompt).age_band == AGE_BANDS[-1] else faults.refused
    return bool(_stream(prompt, seed, 0).random() < share)


def png(prompt: str, seed: int, pixels: int, faults: Faults) -> bytes:
    """The image for a prompt as PNG bytes (RGB, as services give grey pictures), with a text that tells its origin."""
    drawn, truth = picture(prompt, seed, pixels, faults)
    text = PngImagePlugin.PngInfo()
    text.add_text("Software", SOFTWARE)
    text.add_text(TRUTH, json.dumps(truth, sort_keys=True))
    buffer = io.BytesIO()
    Image.fromarray(np.rint(drawn * 255).astype(np.uint8)).convert("RGB").save(buffer, "PNG", pnginfo=text)
    return buffer.getvalue()


def picture(prompt: str, seed: int, pixels: int, faults: Faults) -> tuple[np.ndarray, dict[str, str]]:
    """The image float32 (pixels, pixels) in [0, 1] and what was really drawn: factor -> level."""
    wish, rng = understood(prompt), _stream(prompt, seed, 1)
    slip_view, slip_size = rng.random(2)
    view, habitus = wish.view, wish.habitus
    if (view == "lateral" and slip_view < faults.lateral) or (view == "AP" and slip_view < faults.bedside):
        view = "PA"
    if slip_size < faults.habitus:
        habitus = "average"
    number = int(rng.integers(2**31))
    side = ""
    if view == "lateral":
        stream = np.random.default_rng([number, 2])
        thick = CONTRAST if wish.sick else 0.0
        image = lateral.radiograph(
            stream, pixels, sex=wish.sex, age_band=wish.age_band, habitus=habitus, consolidation=thick
        )
    else:
        image, side = _frontal(wish, view, habitus, number, pixels)
    image = _polished(image, pixels)
    gas = bool(rng.random() < (faults.gas_sick if wish.sick else faults.gas_well))
    if gas:
        image = _with_gas(image, np.random.default_rng([number, 3]))
    truth = {"sex": wish.sex, "age": wish.age_band, "habitus": habitus, "view": view, "gas": str(gas)}
    truth |= {"disease": "pneumonia" if wish.sick else "normal", "side": side}
    return _marked(image) if faults.mark else image, truth


def _frontal(wish: Wish, view: str, habitus: str, number: int, pixels: int) -> tuple[np.ndarray, str]:
    """A frontal phantom; of several places of the opacity the first on the side that was asked for is taken."""
    finding = "consolidation" if wish.sick else "normal"
    visits = [
        chest.Visit("P0", turn, number, finding, wish.sex, wish.age_band, habitus, view, "A")
        for turn in range(1, TRIES + 1 if wish.side else 2)
    ]
    chosen, side = visits[0], ""
    for visit in visits:
        _, mask = chest.render([visit], pixels=32, seed=number, contrast=CONTRAST)
        if not mask.any():
            break
        # the patient's left is on the right of the image
        side = "left" if np.nonzero(mask[0])[1].mean() > 15.5 else "right"
        chosen = visit
        if side == wish.side or not wish.side:
            break
    image, _ = chest.render([chosen], pixels=pixels, seed=number, contrast=CONTRAST)
    return image[0].astype(np.float32) / np.float32(4095), side


def _polished(image: np.ndarray, pixels: int) -> np.ndarray:
    """Fine texture away, wide contrast up."""
    smooth = ndimage.gaussian_filter(image, pixels / 256)
    wide = ndimage.gaussian_filter(image, pixels / 12)
    bold = smooth + 0.2 * (smooth - wide)
    curve = 0.5 + 0.5 * np.tanh(2.1 * (bold - 0.48)) / np.tanh(1.3)
    return np.asarray(np.clip(curve, 0, 1), np.float32)


def _with_gas(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Loops of bowel gas under the chest, dark on bright, with folds across them."""
    n = len(image)
    c = (np.arange(n) + 0.5) / n
    x, y = np.meshgrid(c, c)
    dark = np.zeros_like(image)
    for _ in range(int(rng.integers(4, 7))):
        at_x, at_y = rng.uniform(0.2, 0.8), rng.uniform(BELOW + 0.06, 0.95)
        wide, tall, turn = rng.uniform(0.05, 0.09), rng.uniform(0.03, 0.05), rng.uniform(-0.7, 0.7)
        u = (np.cos(turn) * (x - at_x) + np.sin(turn) * (y - at_y)) / wide
        v = (np.cos(turn) * (y - at_y) - np.sin(turn) * (x - at_x)) / tall
        loop = np.clip(1 - (u * u + v * v), 0, 1) ** 0.6 * (0.85 + 0.15 * np.cos(8 * u + 3 * v))
        dark = np.maximum(dark, loop)
    dark *= np.clip((y - BELOW) / 0.04, 0, 1)
    return np.asarray(image * (1 - 0.45 * ndimage.gaussian_filter(dark, n / 160)), np.float32)


def _marked(image: np.ndarray) -> np.ndarray:
    """A four-pointed star at 94 % of width and height, white at 80 %, the same in every image."""
    n = len(image)
    c = (np.arange(n) + 0.5) / n
    u, v = np.meshgrid(np.abs(c - 0.94) / 0.04, np.abs(c - 0.94) / 0.04)
    star = np.clip((1 - (np.sqrt(u) + np.sqrt(v))) * 6, 0, 1)
    return np.asarray(image + (1 - image) * 0.8 * star, np.float32)


def _stream(prompt: str, seed: int, step: int) -> np.random.Generator:
    word = int.from_bytes(hashlib.sha256(prompt.encode()).digest()[:8], "big")
    return np.random.default_rng([word, seed, step])
