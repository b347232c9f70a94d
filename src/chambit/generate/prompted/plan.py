"""The prompt plan: one YAML file that says which images are wanted, in which words, from whom, and at what price.

The text of a request is made of this file alone. Prices are data of the plan with their date and source; nothing here
claims to know what a service costs today.
"""

import datetime
import math
import string
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple, Self

import yaml
from pydantic import Field, ValidationError, field_validator, model_validator

from chambit.core import digest
from chambit.core.errors import InputError, Problem
from chambit.core.evidence import Frozen


class Factor(Frozen):
    """One thing that is varied: level -> the words for it in the prompt, and the wanted shares.

    Without shares the levels come as equally often as the constraints let them.

    A word may be empty: the level is then not mentioned.
    """

    levels: dict[str, str] = Field(min_length=1)
    shares: dict[str, float] | None = None

    @field_validator("levels", mode="before")
    @classmethod
    def _numbers_are_words(cls, levels: Any) -> Any:
        # YAML reads an age as a number
        if not isinstance(levels, dict):
            return levels
        return {str(level): str(word) if isinstance(word, int) else word for level, word in levels.items()}

    @model_validator(mode="after")
    def _shares_of_levels(self) -> Self:
        if self.shares is not None:
            if set(self.shares) != set(self.levels):
                raise ValueError("shares name other levels than the levels")
            if min(self.shares.values()) < 0 or not math.isclose(sum(self.shares.values()), 1.0, abs_tol=1e-6):
                raise ValueError(f"shares must be at least 0 and add to 1, not {sum(self.shares.values()):g}")
        return self


class Price(Frozen):
    """What one image costs, as of a day and by a source; tokens are estimates until an answer tells them."""

    currency: str = "USD"
    input_per_million: float = Field(ge=0)
    output_per_million: float = Field(ge=0)
    tokens_in: int = Field(ge=0)
    tokens_out: int = Field(ge=0)
    as_of: datetime.date
    source: str = Field(min_length=1)

    def of(self, tokens_in: int, tokens_out: int) -> float:
        """Price of one call with so many tokens."""
        return (tokens_in * self.input_per_million + tokens_out * self.output_per_million) / 1e6

    @property
    def image(self) -> float:
        """Expected price of one image."""
        return self.of(self.tokens_in, self.tokens_out)


class Limits(Frozen):
    """How hard the service is asked.

    per_minute: requests; concurrent: calls at a time; attempts: of one request in one run; first_wait: seconds before
    the second attempt, doubled each time up to longest_wait; instead: how often a refused request is replaced by one
    with the same levels and another seed; cost: what may be spent in all, in the price's currency.
    """

    per_minute: float = Field(60, gt=0)
    concurrent: int = Field(2, ge=1, le=64)
    attempts: int = Field(6, ge=1)
    first_wait: float = Field(1.0, ge=0)
    longest_wait: float = Field(120.0, ge=0)
    instead: int = Field(2, ge=0)
    cost: float = Field(ge=0)


class Service(Frozen):
    """Who is asked: a provider's name, its model, and the provider's own options."""

    name: str
    model: str
    options: dict[str, Any] = Field(default_factory=dict)
    aspect: Literal["1:1", "3:4", "4:3", "4:5", "5:4"] = "1:1"
    pixels: int = Field(1024, ge=64, le=4096)


class PromptPlan(Frozen):
    """What a prompt plan says; see `examples/prompts-cxr.yaml`.

    Attributes:
        title: one line.
        seed: of the allocation and of the requests.
        label: the factor that is the class.
        classes: level of that factor -> exact number of images.
        factors: name -> factor.
        never: combinations that must not be asked for; each maps factors to levels that never come together.
        allocation: `factorial` spreads evenly over all cells, `latin` balances each factor inside each class,
            `marginals` fits the shares by iterative proportional fitting.
        template: the sentence, with {factor} where its words go.
        words: further words, in small letters, that the vocabulary lacks; whoever adds one vouches that it names
            nobody.
        provider, price, limits: who is asked, for how much, and how fast.
    """

    title: str
    seed: int = Field(ge=0)
    label: str
    classes: dict[str, int] = Field(min_length=1)
    factors: dict[str, Factor] = Field(min_length=1)
    never: tuple[dict[str, tuple[str, ...]], ...] = ()
    allocation: Literal["factorial", "latin", "marginals"] = "marginals"
    template: str = Field(min_length=1, max_length=1000)
    words: tuple[str, ...] = ()
    provider: Service
    price: Price
    limits: Limits

    @field_validator("words")
    @classmethod
    def _small(cls, words: tuple[str, ...]) -> tuple[str, ...]:
        for word in words:
            if not (word.isascii() and word.isalpha() and word.islower() and len(word) <= 24):
                raise ValueError(f"'{word}': a word is small ASCII letters alone, at most 24")
        return words

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.label not in self.factors:
            raise ValueError(f"label '{self.label}' is none of the factors")
        if unknown := sorted(set(self.classes) - set(self.factors[self.label].levels)):
            raise ValueError(f"class '{unknown[0]}' is no level of '{self.label}'")
        if min(self.classes.values()) < 0 or not self.images:
            raise ValueError("classes need at least one image, and no count below 0")
        if unknown := sorted(self._named() - set(self.factors)):
            raise ValueError(f"the template names '{unknown[0]}', which is no factor")
        for rule in self.never:
            for name, levels in rule.items():
                if name not in self.factors or set(levels) - set(self.factors[name].levels):
                    raise ValueError(f"never: '{name}: {', '.join(levels)}' is no factor with these levels")
        return self

    def _named(self) -> set[str]:
        parts = list(string.Formatter().parse(self.template))
        if any(name is not None and (not name.isidentifier() or spec or turn) for _, name, spec, turn in parts):
            raise ValueError("the template may hold {factor} and nothing else in braces")
        return {name for _, name, _, _ in parts if name is not None}

    @property
    def images(self) -> int:
        """How many images are wanted in all."""
        return sum(self.classes.values())

    @property
    def digest(self) -> str:
        """SHA-256 of what decides the requests: all but title, price and limits; the order of factors counts."""
        order = [[name, list(factor.levels)] for name, factor in self.factors.items()]
        return digest.of_json([self.model_dump(mode="json", exclude={"title", "price", "limits"}), order])

    def sentence(self, levels: Mapping[str, str]) -> str:
        """The prompt of one combination of levels; blanks that an empty word leaves are closed up."""
        text = self.template.format(**{name: factor.levels[levels[name]] for name, factor in self.factors.items()})
        joined = " ".join(text.split())
        for mark in ",.;":
            joined = joined.replace(f" {mark}", mark)
        return joined.replace(",,", ",").replace(",.", ".")


def scaled(plan: PromptPlan, images: int) -> PromptPlan:
    """The same plan for another number of images, the classes in the same shares (largest remainders)."""
    exact = {name: images * count / plan.images for name, count in plan.classes.items()}
    counts = {name: math.floor(part) for name, part in exact.items()}
    for name in sorted(exact, key=lambda name: counts[name] - exact[name])[: images - sum(counts.values())]:
        counts[name] += 1
    return plan.model_copy(update={"classes": counts})


class Cost(NamedTuple):
    """What a plan is expected to cost."""

    images: int
    each: float
    total: float
    currency: str


def cost(plan: PromptPlan) -> Cost:
    """Expected cost of all images of a plan, without what replaces refused ones."""
    return Cost(plan.images, plan.price.image, plan.images * plan.price.image, plan.price.currency)


def read(path: Path) -> PromptPlan:
    """Read a prompt plan.

    Raises:
        InputError: when the file is missing, no YAML, or says something a plan cannot say; all problems at once.
    """
    try:
        given = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        problem = Problem(str(path), f"cannot be read ({error.strerror})", "give the path of a prompt plan")
        raise InputError("There is no prompt plan.", [problem]) from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        problem = Problem(str(path), str(error).replace("\n", " "), "mend the YAML, saved as UTF-8")
        raise InputError("The prompt plan is no YAML.", [problem]) from error
    try:
        return PromptPlan.model_validate(given)
    except ValidationError as error:
        problems = [
            Problem(
                f"{path.name}: {'.'.join(map(str, one['loc'])) or 'plan'}", one["msg"], "see examples/prompts-cxr.yaml"
            )
            for one in error.errors()
        ]
        raise InputError("The prompt plan cannot be used.", problems) from error
