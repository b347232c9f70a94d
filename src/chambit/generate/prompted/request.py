"""What is sent to a service that makes images, and what comes back: text out, one image in.

A `Request` can hold the levels of a plan's factors and the sentence made of them. It has no field for an image, a file
or a table, and refuses unknown ones, so nothing that was derived from a patient has a place in it.
"""

import re
from collections.abc import Callable
from typing import Literal, NamedTuple

from pydantic import computed_field

from chambit.core import digest
from chambit.core.evidence import Frozen

SHORT = 16
"""Digits of a key that file names show."""


class Request(Frozen):
    """One image to be asked for.

    Attributes:
        provider: name of the provider.
        model: the provider's name of the model.
        prompt: the sentence, made by the plan's template from the levels.
        levels: factor -> level, in the plan's order.
        seed: sent where the provider takes one; also keeps equal prompts apart.
        aspect: width to height.
        pixels: wanted width where the provider takes sizes.
    """

    provider: str
    model: str
    prompt: str
    levels: dict[str, str]
    seed: int
    aspect: Literal["1:1", "3:4", "4:3", "4:5", "5:4"] = "1:1"
    pixels: int = 1024

    @computed_field  # type: ignore[prop-decorator]  # mypy knows no decorated property
    @property
    def key(self) -> str:
        """SHA-256 of the request's canonical JSON without the key: equal requests are one request."""
        return digest.of_json(self.model_dump(exclude={"key"}))


class Answer(NamedTuple):
    """What one call gave.

    Attributes:
        image: the bytes as they came, or None where the service made no image.
        finish: the service's own word for how it ended, such as `STOP`, `IMAGE_SAFETY`, `NO_IMAGE`.
        tokens_in: of the prompt; tokens_out: of the answer; 0 where it was not told.
        model: version of the model as the answer names it.
        response: the service's id of the answer.
    """

    image: bytes | None
    finish: str
    tokens_in: int = 0
    tokens_out: int = 0
    model: str = ""
    response: str = ""


Ask = Callable[[Request], Answer]
"""What a provider's `opened` gives: one call for one request."""


class Busy(Exception):  # noqa: N818  # an outcome that is waited for, no defect
    """The service wants the call later (429, 5xx, no connection): `wait` seconds where it said how long."""

    def __init__(self, status: int, wait: float | None, what: str = "") -> None:
        super().__init__(f"{status} {what}".strip())
        self.status, self.wait = status, wait


class Denied(Exception):  # noqa: N818  # an outcome that is waited for, no defect
    """The service will not take any call like this one (key, address, model): asking again would not help."""

    def __init__(self, status: int, what: str) -> None:
        super().__init__(f"{status} {what}".strip())
        self.status = status


class Pending(Exception):  # noqa: N818  # an outcome that is waited for, no defect
    """A person has not delivered this image yet."""


_SECONDS = re.compile(r"([0-9.]+)s")


def wait_told(retry_after: str | None, details: object) -> float | None:
    """Seconds to wait: Google's `RetryInfo.retryDelay` in the details of an error, else the header `Retry-After`.

    The header's form as a date (RFC 9110, section 10.2.3) counts as not told.

    >>> wait_told("7", []), wait_told(None, [{"@type": "type/google.rpc.RetryInfo", "retryDelay": "1.5s"}])
    (7.0, 1.5)
    """
    for detail in details if isinstance(details, list) else []:
        told = _SECONDS.fullmatch(str(detail.get("retryDelay", ""))) if isinstance(detail, dict) else None
        if told:
            return float(told.group(1))
    try:
        return max(0.0, float(retry_after or ""))
    except ValueError:
        return None
