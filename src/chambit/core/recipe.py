"""The recipe of a Study: which stages make the images, what they are told, how many are drawn, what is done after."""

from typing import Any

from pydantic import Field, field_validator, model_validator

from chambit.core.evidence import Frozen

Options = dict[str, Any]
Named = dict[str, Options]


class Fill(Frozen):
    """Raise the thinnest cells: each class in each level of the factors `by` gets `quota` items at least."""

    by: tuple[str, ...] = Field(min_length=1)
    quota: int = Field(ge=1)


class Sample(Frozen):
    """How many synthetic images (sequences, volumes), and of which kind; shares are those of training unless given.

    `counts`: a factor -> its level -> how many; `scale` multiplies them, so that a plan of a programme can be tried
    small, and `images` is then their sum. `fill` comes on top of `images`.
    """

    images: int = Field(1000, ge=10)
    shares: dict[str, float] | None = None
    counts: dict[str, dict[str, int]] | None = None
    scale: float = Field(1.0, gt=0, le=1)
    fill: Fill | None = None

    @model_validator(mode="before")
    @classmethod
    def _counted(cls, value: Any) -> Any:
        if isinstance(value, dict) and isinstance(value.get("counts"), dict) and len(value["counts"]) == 1:
            levels = next(iter(value["counts"].values()))
            if "images" not in value and isinstance(levels, dict):
                scale = float(value.get("scale", 1.0))
                return value | {"images": sum(scaled(int(count), scale) for count in levels.values())}
        return value

    @field_validator("counts")
    @classmethod
    def _one_factor(cls, value: dict[str, dict[str, int]] | None) -> dict[str, dict[str, int]] | None:
        if value is not None and (len(value) != 1 or min(next(iter(value.values())).values(), default=0) < 1):
            raise ValueError("name one factor, and for each of its levels a number of at least 1")
        return value

    @field_validator("shares")
    @classmethod
    def _some(cls, value: dict[str, float] | None) -> dict[str, float] | None:
        if value is not None and (min(value.values(), default=0) < 0 or not sum(value.values()) > 0):
            raise ValueError("shares must not be below 0, and at least one must be above")
        return value


def scaled(count: int, scale: float) -> int:
    """A count of a plan at a smaller scale, at least 1.

    >>> scaled(10_000, 0.0125), scaled(3, 0.01)
    (125, 1)
    """
    return max(1, round(count * scale))


class Conditions(Frozen):
    """What the generator is told beside the class.

    factors, numbers: columns of the labels; factors have levels, numbers are numbers. place: whether it is told where
    the finding is, where there are masks. New places are drawn as ellipses or spots: of a region with a form of its
    own, such as a tumour in tissue, the class alone says more.
    """

    factors: tuple[str, ...] = ()
    numbers: tuple[str, ...] = ()
    place: bool = True


def as_list(value: Any) -> Any:
    """One stage, or a list of stages, as a list."""
    return [value] if isinstance(value, dict) else value


def one_each(value: list[Named]) -> list[Named]:
    """Refuse an entry that names no stage or several."""
    if any(len(entry) != 1 for entry in value):
        raise ValueError("each entry names exactly one stage; several stages are a list, `- layout: {...}`")
    return value


class Rival(Frozen):
    """Another generator for the same patients, to be compared with; `sample` is the recipe's unless given."""

    train: list[Named] = Field(min_length=1)
    sample: Sample | None = None

    _one_or_several = field_validator("train", mode="before")(as_list)
    _one_stage = field_validator("train")(one_each)


class Recipe(Frozen):
    """How synthetic images are made: a chain of trained stages, how many to draw, and the operations after it.

    `train` is one stage, `{flow: {...}}`, or a list of stages in their order, each fed by those before it.
    """

    train: list[Named] = Field(min_length=1)
    conditions: Conditions = Conditions()
    sample: Sample = Sample()
    refine: list[Named] = Field(default_factory=list)

    @property
    def stages(self) -> list[tuple[str, Options]]:
        """Name and options of each stage, in order."""
        return [next(iter(entry.items())) for entry in self.train]

    _one_or_several = field_validator("train", mode="before")(as_list)
    _one_stage = field_validator("train")(one_each)

    @field_validator("refine")
    @classmethod
    def _one_operation(cls, value: list[Named]) -> list[Named]:
        if any(len(entry) != 1 for entry in value):
            raise ValueError("each entry of refine names exactly one operation, for example `- crop: {bottom: 30%}`")
        return value
