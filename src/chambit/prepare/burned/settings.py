"""Settings of the search for burned-in text."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from chambit.core.evidence import Frozen

Share = Annotated[float, Field(ge=0, le=1)]


class Options(Frozen):
    """How burned-in text is looked for and what is done with it.

    redact: `all` makes every box of text black; `identifiers` only boxes that hold an identifier, and queues what
        cannot be read. keep_markers: side and position markers stay (`identifiers.only_markers`).
    sure, doubt, weakest: scores of the detector, its mean probability of text. From `sure` on a box is text; from
        `doubt` on a person must see it; from `weakest` on it counts only where it reads like an identifier or a known
        string.
    believed: confidence from which a reading of letters and digits (ASCII) is believed.
    margin: how far a box is widened on each side, as a share of its shorter side; never less than 2 pixels.
    tallest: share of the image's shorter side above which a box that is less than twice as long as high is taken for
        anatomy unless it is read: the outline of a lung looks like one large character. It is queued from `sure` on
        where it is lower than half the image, and left out otherwise.
    outline: share of the shorter side above which such a box is not even queued, in images of 256 pixels and more.
    finest: images up to this long (pixels, longer side) are also looked at twice their size, where letters of 10
        pixels with little contrast are found. coarsest: larger images are halved until they are no longer than this,
        where large letters are found.
    turned: text turned by a quarter is looked for in every size but the finest, too.
    through: what is redacted in one frame is redacted in all frames of the file.
    hangul: Hangul is read where Tesseract is installed.
    rounds: of the second look at most.
    """

    redact: Literal["all", "identifiers"] = "all"
    keep_markers: bool = True
    sure: Share = 0.7
    doubt: Share = 0.5
    weakest: Share = 0.4
    believed: Share = 0.9
    margin: Share = 0.1
    tallest: Share = 0.25
    outline: Share = 0.3
    finest: int = Field(default=640, ge=1)
    coarsest: int = Field(default=1024, ge=64)
    turned: bool = True
    through: bool = True
    hangul: bool = True
    rounds: int = Field(default=3, ge=1)

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if not self.weakest <= self.doubt <= self.sure:
            raise ValueError("scores must be in order: weakest <= doubt <= sure")
        return self
