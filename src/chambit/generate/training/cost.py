"""What a network costs: operations and memory of one item, counted on shapes alone without computing anything."""

from typing import Any

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from chambit.generate import codec as codecs
from chambit.generate.options import FRAMES


def forward(model: Any) -> float:
    """GFLOP of one call of the network of a `trained.Model` for one item, a multiplication and addition being two."""
    return counted(*asked(model))


def asked(model: Any) -> tuple[nn.Module, tuple[int, ...], int]:
    """Network, shape and maps of a `trained.Model`, as of `counted`."""
    return model.network, (*model.told.lead(), *codecs.grid(model.codec)), model.told.maps(model.codec)


def step(network: nn.Module, shape: tuple[int, ...], maps: int, batch: int, frames_first: float = 0.0) -> float:
    """GFLOP of one step of training, forward and backward: the mean of those of single frames and those of whole items.

    Args:
        network: any network of this house.
        shape: of the latents.
        maps: channels of the spatial condition.
        batch: items of a step.
        frames_first: see `chambit.generate.options.Diffusion`.
    """
    whole = 3 * batch * counted(network, shape, maps)
    if not frames_first or len(shape) == 3:
        return whole
    return (1 - frames_first) * whole + frames_first * 3 * FRAMES * batch * counted(network, shape[1:], maps)


def counted(network: nn.Module, shape: tuple[int, ...], maps: int) -> float:
    """GFLOP of one call for one item of this shape, ([D,] C, h, w); without D of a network of items: for one frame.

    Args:
        network: any network of this house; of one on the device `meta` nothing is computed.
        shape: of the latents.
        maps: channels of the spatial condition.
    """
    counter = FlopCounterMode(display=False)
    # the kernel of attention for the processor is one the counter does not know
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), counter:
        _call(network, shape, maps)
    return counter.get_total_flops() / 1e9


def outputs(network: nn.Module, shape: tuple[int, ...], maps: int) -> int:
    """How many numbers the layers of a network give in one call for one item; arguments as of `counted`."""
    numbers: list[int] = []

    def count(module: nn.Module, given: Any, out: Any) -> None:
        if isinstance(out, torch.Tensor) and not any(module.children()):
            numbers.append(out.numel())

    hooks = [module.register_forward_hook(count) for module in network.modules()]
    try:
        with torch.no_grad():
            _call(network, shape, maps)
    finally:
        for hook in hooks:
            hook.remove()
    return sum(numbers)


def _call(network: nn.Module, shape: tuple[int, ...], maps: int) -> None:
    at = next(network.parameters()).device
    x = torch.zeros((1, *shape), device=at)
    spatial = torch.zeros((1, *shape[:-3], maps, *shape[-2:]), device=at) if maps else None
    label = torch.zeros(1, dtype=torch.int64, device=at)
    single = len(shape) == 3 and getattr(network, "frames", 1) > 1
    network(x, torch.zeros(1, device=at), label, spatial, **({"place": label} if single else {}))
