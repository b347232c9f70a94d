"""A generator against a critic: one call of the network makes an item of noise.

    critic:    L = E max(0, 1 - D(x)) + E max(0, 1 + D(G(z))) + r / 2 E || grad D(x) ||^2
    generator: L = - E D(G(z)),        D(x) = w . f(x) + y . V f(x)   with y the embedding of the conditions

Goodfellow et al. 2014 (arXiv:1406.2661); hinge loss from Lim and Ye 2017 (arXiv:1705.02894); projection critic from
Miyato and Koyama 2018 (arXiv:1802.05637); gradient penalty on real items (R1) from Mescheder, Geiger and Nowozin 2018
(arXiv:1801.04406), taken every few steps as in Karras et al. 2020 (arXiv:1912.04958); equal shifts and cut-outs of real
and made items from Zhao et al. 2020 (arXiv:2006.10738). Both players work on the codec's latents. Written from the
papers.

Known failures: variety is lost before anything looks wrong (collapse), so recall must be measured; training may swing.
Items are given no probe: the critic, which knows the training images, is thrown away.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from chambit.generate import codec as codecs
from chambit.generate.networks.embedding import Conditions, Embedded
from chambit.generate.objectives.objective import Draws, Fresh, Network, Seen
from chambit.generate.options import Trained
from chambit.generate.training import device, trained
from chambit.generate.training.diffusion import Prepared

TIME = 0.5  # what the network is told of time, of which there is none
LAZY = 8  # steps between two gradient penalties


@dataclass(frozen=True)
class Once:
    """An objective that can be drawn from alone, by one call of the network."""

    def draw(self, shape: torch.Size, generator: torch.Generator) -> Draws:
        """There is no noise level."""
        raise NotImplementedError

    def error(self, network: Network, x0: torch.Tensor, draws: Draws, weight: torch.Tensor) -> torch.Tensor:
        """There is no denoising."""
        raise NotImplementedError

    def level(self, strength: float) -> float:
        """There is no noise level."""
        raise NotImplementedError

    def predicted_noise(self, network: Network, x0: torch.Tensor, strength: float) -> torch.Tensor:
        """There is no denoising."""
        raise NotImplementedError

    def noisy(self, x0: torch.Tensor, noise: torch.Tensor, strength: float) -> torch.Tensor:
        """The noise alone: an item cannot be taken part of the way."""
        return noise

    def solve(
        self,
        network: Network,
        x: torch.Tensor,
        steps: int,
        strength: float = 1.0,
        fresh: Fresh | None = None,
        seen: Seen | None = None,
    ) -> torch.Tensor:
        """G(z)."""
        return network(x, x.new_full((len(x),), TIME))

    def calls(self, steps: int) -> int:
        """One."""
        return 1


class _Down(nn.Module):
    """Two convolutions with a skip; halves the resolution where it is larger than four."""

    def __init__(self, channels: int, out: int) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(channels, channels, 3, padding=1), nn.Conv2d(channels, out, 3, padding=1)
        self.skip = nn.Conv2d(channels, out, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = self.conv2(F.leaky_relu(self.conv1(F.leaky_relu(x, 0.2)), 0.2)) + self.skip(x)
        half: torch.Tensor = F.avg_pool2d(h, 2) if min(h.shape[-2:]) > 4 else h
        return half


class Critic(Embedded):
    """D(x, conditions) of latents (N, C, h, w), or (N, D, C, h, w) with the frames as channels: (N,).

    Args:
        channels: C, of all frames together.
        classes, maps, width, factors, numbers: as of `chambit.generate.networks.unet.UNet`.
        frames: D of items with an axis, 1 without.
    """

    def __init__(
        self,
        channels: int,
        classes: int,
        maps: int,
        width: int,
        *,
        factors: tuple[int, ...] = (),
        numbers: int = 0,
        frames: int = 1,
    ) -> None:
        super().__init__(classes, 2 * width, factors, numbers)
        self.frames = frames
        self.enter = nn.Conv2d((channels + maps) * frames, width, 3, padding=1)
        self.blocks = nn.ModuleList([_Down(width, 2 * width), _Down(2 * width, 2 * width), _Down(2 * width, 2 * width)])
        self.plain, self.told = nn.Linear(2 * width, 1), nn.Linear(2 * width, 2 * width, bias=False)

    def forward(self, x: torch.Tensor, told: Conditions) -> torch.Tensor:
        h = x if told.maps is None else torch.cat([x, told.maps], -3)
        h = self.enter(h.reshape(len(x), -1, *x.shape[-2:]))
        for block in self.blocks:
            h = block(h)
        h = F.leaky_relu(h, 0.2).mean((2, 3))
        time = torch.zeros(len(x), device=x.device)
        label = told.label
        own = self.embedding(time, None if label.ndim == 2 else label, told.factors, told.vector)
        if label.ndim == 2:
            own = own + self.label(label).mean(1)
        said: torch.Tensor = self.plain(h)[:, 0] + (own * self.told(h)).sum(1) / own.shape[1] ** 0.5
        return said


def shifted(x: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Items (N, C, h, w) each moved by up to an eighth of the grid and, half of them, with a quarter cut out.

    What comes in from outside, and what is cut out, is 0: the mean, as latents are standardised.
    """
    n, _, h, w = x.shape
    reach = max(1, min(h, w) // 8) if min(h, w) > 2 else 0
    moves = torch.randint(-reach, reach + 1, (n, 2), generator=generator)
    corner = torch.rand((n, 2), generator=generator)
    cut = torch.rand(n, generator=generator) < 0.5
    wide = F.pad(x, (reach, reach, reach, reach))
    rows = (torch.arange(h)[None] + moves[:, :1] + reach).to(x.device)
    columns = (torch.arange(w)[None] + moves[:, 1:] + reach).to(x.device)
    every = torch.arange(n, device=x.device)
    moved = wide.permute(0, 2, 3, 1)[every[:, None, None], rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)
    if min(h, w) < 4:
        return moved
    top, left = (corner[:, 0] * (h - h // 2)).long()[:, None], (corner[:, 1] * (w - w // 2)).long()[:, None]
    down, across = torch.arange(h)[None], torch.arange(w)[None]
    inside = ((down >= top) & (down < top + h // 2))[:, :, None] & ((across >= left) & (across < left + w // 2))[
        :, None
    ]
    return moved.masked_fill((inside & cut[:, None, None])[:, None].to(x.device), 0.0)


class Players:
    """One step of the game (`chambit.generate.training.loop.Learner`): the critic is trained inside of `backward`."""

    def __init__(
        self, network: Any, ready: Prepared, options: Trained, penalty: float, seed: Callable[[str], int]
    ) -> None:
        self.where = device.choose()
        self.ready, self.options, self.penalty, self.seed = ready, options, penalty, seed
        told = ready.told
        torch.manual_seed(seed("critic") % 2**31)
        critic = Critic(
            codecs.grid(ready.codec)[0], told.classes, told.maps(ready.codec), options.width,
            factors=told.factors, numbers=told.length, frames=max(1, told.frames),
        )  # fmt: skip
        self.network, self.critic = (trained.rearranged(one.to(self.where)) for one in (network, critic))
        self.parameters, critics = list(self.network.parameters()), list(self.critic.parameters())
        groups = [{"params": self.parameters}, {"params": critics}]
        self.optimiser = torch.optim.AdamW(groups, lr=options.rate, betas=(0.0, 0.99), weight_decay=0.0, fused=True)
        self.others: list[torch.Tensor] = [one.detach() for one in critics]
        # the critic sees what counts: with all channels alike it would look at noise-like details first
        self.weight = codecs.weight(ready.codec)[:, None, None].to(self.where)

    def backward(self, step: int, rows: slice) -> torch.Tensor:
        """Step the critic, then leave the generator's gradients; the critic's loss."""
        generator = torch.Generator().manual_seed(self.seed(f"step {step}"))
        for parameter in self.parameters:
            parameter.requires_grad_(False)
        real, told = self._real(generator)
        fake = self._fake(told, generator)
        # both are moved alike, item by item, and their maps with them
        loss = (
            F.relu(1 - self._asked(real, told, generator)).mean()
            + F.relu(1 + self._asked(fake, told, generator)).mean()
        )
        torch.autograd.backward(loss)
        if self.penalty and step % LAZY == 0:
            torch.autograd.backward(self.penalty / 2 * LAZY * self._steepness(real, told))
        self.optimiser.step()
        self.optimiser.zero_grad(set_to_none=True)
        for parameter in self.parameters:
            parameter.requires_grad_(True)
        for parameter in self.critic.parameters():
            parameter.requires_grad_(False)
        _, told = self._real(generator)
        torch.autograd.backward(-self._asked(self._fake(told, generator), told, generator).mean())
        for parameter in self.critic.parameters():
            parameter.requires_grad_(True)
        return loss.detach()

    def _real(self, generator: torch.Generator) -> tuple[torch.Tensor, Conditions]:
        """Items and what is known of them."""
        chosen = torch.randint(len(self.ready.latents), (self.options.batch,), generator=generator)
        told = self.ready.conditions.at(chosen).thinned(self.options.drop, generator)
        if self.ready.boxes is not None and told.maps is not None:
            shown = torch.rand(len(chosen), generator=generator) < self.options.boxes
            by_box = shown.reshape(-1, *(1,) * (told.maps.ndim - 1))
            told = told._replace(maps=torch.where(by_box, self.ready.boxes[chosen], told.maps))
        return self.ready.latents[chosen].to(self.where), told.to(self.where)

    def _fake(self, told: Conditions, generator: torch.Generator) -> torch.Tensor:
        noise = torch.randn((self.options.batch, *self.ready.latents.shape[1:]), generator=generator).to(self.where)
        if noise.ndim == 4:
            noise = noise.to(memory_format=torch.channels_last)
        with device.autocast(self.where):
            made: torch.Tensor = self.network(noise, noise.new_full((len(noise),), TIME), *told)
        return made.float()

    def _asked(self, x: torch.Tensor, told: Conditions, generator: torch.Generator) -> torch.Tensor:
        """The critic's opinion of moved items and maps."""
        x = x * self.weight
        whole = x if told.maps is None else torch.cat([x, told.maps], -3)
        moved = shifted(whole.reshape(len(x), -1, *x.shape[-2:]), generator).reshape(whole.shape)
        pieces = torch.split(moved, [x.shape[-3], whole.shape[-3] - x.shape[-3]], -3)
        with device.autocast(self.where):
            said: torch.Tensor = self.critic(pieces[0], told._replace(maps=None if told.maps is None else pieces[1]))
        return said.float()

    def _steepness(self, real: torch.Tensor, told: Conditions) -> torch.Tensor:
        """Mean square of the critic's gradient at real items, in full precision."""
        x = real.detach().requires_grad_(True)
        (slope,) = torch.autograd.grad(self.critic(x * self.weight, told).sum(), x, create_graph=True)
        return slope.square().flatten(1).sum(1).mean()
