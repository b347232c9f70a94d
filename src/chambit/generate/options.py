"""Options that the trained stages of the core have in common; without torch, because a plan needs them alone."""

from typing import TYPE_CHECKING, Literal, Self

from pydantic import Field, model_validator

from chambit.core.evidence import Frozen

if TYPE_CHECKING:
    from chambit.generate.objectives.objective import Objective

FRAMES = 4  # single frames of a step for each item of a batch, where single frames are trained first
Coder = Literal["dct", "identity", "pca", "kl"]


class Trained(Frozen):
    """What changes the result of training.

    steps, batch, rate: of training; network: the small UNet, or MONAI's; width, depth, levels: of the network (levels:
    resolutions of the small UNet, fewer where the last would have one position); codec: what the network works on;
    block, keep: of the codec `dct` (`identity` uses block alone; `kl` takes block as its factor, a power of two, and
    keep * keep channels); chroma: coefficients `dct` keeps per axis of the chrominance of coloured items, `keep` when
    None; detail: whether `dct` draws the coefficients it does not keep (of items without an axis);
    components: of `pca`; codec_steps: training of `kl`; styles: how many numbers of each picture's style the network is
    told (`chambit.generate.training.style`); focus: how much more the finding's blocks count in the loss; gamma: of the
    weight average; drop: share of labels, and of each factor and number, hidden, for guidance and for sampling with
    only some of them; boxes: share of findings shown as a box instead of a mask; checkpoint: steps between two; look:
    steps between two looks for memorisation, 0 is never; looked: samples drawn at a look.
    """

    steps: int = Field(1000, ge=1)
    batch: int = Field(32, ge=2)
    rate: float = Field(2e-3, gt=0)
    network: Literal["unet", "monai"] = "unet"
    width: int = Field(48, ge=16, multiple_of=8)
    depth: int = Field(1, ge=1, le=4)
    levels: int = Field(3, ge=2, le=6)
    codec: Coder = "dct"
    block: int = Field(4, ge=1, le=32)
    keep: int = Field(3, ge=1, le=32)
    chroma: int | None = Field(None, ge=1, le=32)
    detail: bool = True
    components: int = Field(128, ge=1, le=4096)
    codec_steps: int = Field(600, ge=1)
    styles: int = Field(3, ge=0, le=16)
    focus: float = Field(8.0, ge=0)
    gamma: float = Field(6.94, gt=0)
    drop: float = Field(0.1, ge=0, lt=1)
    boxes: float = Field(0.0, ge=0, le=1)
    checkpoint: int = Field(100, ge=1)
    look: int = Field(120, ge=0)
    looked: int = Field(128, ge=8)

    @model_validator(mode="after")
    def _the_codec_can_be(self) -> Self:
        if self.codec == "dct" and self.block < 2:
            raise ValueError("`block` must be at least 2 with the codec `dct`")
        if self.codec == "kl" and (self.block < 2 or self.block & (self.block - 1)):
            raise ValueError("`block` must be 2, 4, 8, 16 or 32 with the codec `kl`")
        return self


class Diffusion(Trained):
    """As `Trained`, and heun: sampler steps; guidance: 1 is none; frames_first: share of the steps that sees single
    frames of items with an axis, four times as many as a batch has items.
    """

    heun: int = Field(16, ge=2)
    guidance: float = Field(1.0, ge=0)
    frames_first: float = Field(0.0, ge=0, lt=1)

    @model_validator(mode="after")
    def _the_network_can_do_frames(self) -> Self:
        if self.frames_first and self.network == "monai":
            raise ValueError("`frames_first` needs the network `unet`: MONAI's has no frame by itself")
        return self

    def objective(self) -> "Objective":
        """What the network learns; every stage says it."""
        raise NotImplementedError
