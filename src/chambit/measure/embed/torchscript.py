"""Any network as a TorchScript file; it runs code from the file, so name only a file that you trust.

For a site that has a network of its own. The study names the .pt file with its SHA-256, which is checked on the very
bytes that are loaded. The network takes (N, channels, S, S) and gives (N, d), or (N, d, h, w), of which the mean over
positions is taken; it must treat each image alone. What it expects can lie inside the file as `chambit.json`
(`torch.jit.save(..., _extra_files=...)`), for example {"size": 384, "channels": 1, "mean": [0.5], "std": [0.25]}; what
is not said there is 224, 3 channels and the mean and standard deviation of ImageNet.

Known failure: nothing checks whether the network was taught with the very images that it is to judge.
"""

import json
from functools import cache
from io import BytesIO
from typing import NamedTuple

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, ValidationError, model_validator

from chambit.core.errors import InputError
from chambit.measure.networks import inputs
from chambit.measure.weights import Weights, content, refusal

version = "1"
SOURCE = "file"
PREPROCESSING = (
    "as chambit.json inside the file says; else squeezed to 224 x 224 pixels, bilinear, antialiased; grey three times; "
    "mean 0.485, 0.456, 0.406, standard deviation 0.229, 0.224, 0.225"
)
EXTRA = "chambit.json"


class Expected(BaseModel):
    """What the network takes; `chambit.json` inside the TorchScript file.

    Attributes:
        size: of the square image, in pixels.
        channels: how often the grey value is repeated.
        mean: taken off, one for each channel.
        std: divided by, one for each channel.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    size: int = Field(224, ge=8, le=4096)
    channels: int = Field(3, ge=1, le=16)
    mean: tuple[float, ...] = inputs.IMAGENET_MEAN
    std: tuple[PositiveFloat, ...] = inputs.IMAGENET_STD

    @model_validator(mode="after")
    def _as_many(self) -> "Expected":
        if not len(self.mean) == len(self.std) == self.channels:
            raise ValueError(f"{self.channels} channels, but {len(self.mean)} mean and {len(self.std)} std")
        return self


class _Loaded(NamedTuple):
    network: torch.jit.ScriptModule
    expected: Expected


def features(images: np.ndarray, weights: Weights) -> np.ndarray:
    """Feature vectors float64 (N, d) of images float32 (N, H, W) in [0, 1]; d is the network's.

    Raises:
        InputError: the file is not what was named, no TorchScript, or its network does not give (N, d) or (N, d, h, w).
    """
    network, expected = _network(weights)

    def vectors(x: torch.Tensor) -> torch.Tensor:
        try:
            out = network(x)
        except RuntimeError as error:  # the file's own code: any size or type may displease it
            what = f"its network fails on {tuple(x.shape)} ({str(error).strip().splitlines()[-1]})"
            raise refusal(weights, what, f"say in {EXTRA} what it takes") from error
        if not isinstance(out, torch.Tensor) or out.ndim not in (2, 4) or len(out) != len(x):
            given = tuple(out.shape) if isinstance(out, torch.Tensor) else type(out).__name__
            raise refusal(weights, f"its network gives {given} for {tuple(x.shape)}", "export one that gives (N, d)")
        return out if out.ndim == 2 else out.mean((2, 3))

    return inputs.features(
        vectors,
        images,
        lambda x: inputs.standardised(inputs.resized(x, expected.size), expected.mean, expected.std),
    )


@cache
def _network(weights: Weights) -> _Loaded:
    extra = {EXTRA: ""}
    try:
        network = torch.jit.load(  # type: ignore[no-untyped-call]
            BytesIO(content(weights)), map_location="cpu", _extra_files=extra
        )
    except (RuntimeError, ValueError) as error:
        reason = str(error).strip().split("\n")[0]
        raise refusal(weights, f"it is not a TorchScript file ({reason})", "save it with torch.jit.save") from error
    return _Loaded(network.eval(), _expected(weights, extra[EXTRA]))


def _expected(weights: Weights, text: str | bytes) -> Expected:
    if not text:
        return Expected()
    try:
        return Expected(**json.loads(text))
    except (ValueError, TypeError, ValidationError) as error:
        raise _bad(weights, error) from error


def _bad(weights: Weights, error: Exception) -> InputError:
    reason = " ".join(str(error).split())
    remedy = 'write it like {"size": 224, "channels": 1, "mean": [0.5], "std": [0.25]}'
    return refusal(weights, f"its {EXTRA} cannot be used: {reason}", remedy)
