"""Differential privacy for a subject: Poisson sampling, clipping, Gaussian noise, and what they cost.

    g = (sum_i min(1, C / |g_i|) g_i + sigma C z) / (q n),   i sampled with probability q each,   z ~ N(0, 1)

where g_i is one gradient for one subject, whatever the number of their images. After T such steps the weights are
(epsilon, delta)-differentially private for adding or removing one subject (Abadi et al. 2016,
doi:10.1145/2976749.2978318; subjects as the unit: McMahan et al. 2018, arXiv:1710.06963). Epsilon is that of Opacus'
PRV accountant (Gopi, Lee and Wutschitz 2021, arXiv:2106.02848), an upper bound, checked against its RDP accountant
(Mironov 2017, arXiv:1702.07476).

Sampling and noise come from the operating system's generator, never from a seed of the study: a study's seed is public,
and noise that can be drawn again can be taken off. So private training gives other weights at every run.

Known limits: the number of subjects n is taken as public; Gaussian noise in floating point is not the ideal one
(Mironov 2012, doi:10.1145/2382196.2382264) and is not hardened against that; what people learn by training several
times is not counted here.
"""

import math
import os
import warnings
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from scipy import optimize

from chambit.core.errors import ChambitError, ExtensionError, Problem

AGREEMENT = 0.95  # the RDP accountant's bound is looser; one that is lower by more than this says one of them is wrong
ERROR = 0.01  # of the PRV accountant's epsilon, which it adds so that its number is an upper bound
ORDERS = [1 + x / 10 for x in range(1, 100)] + list(range(12, 64)) + [2**k for k in range(6, 11)]
WHOLE = [2, 3, 4, 5, 6, 8, 10, 12, 16, 24, 32, 64, 128, 256]  # whole orders are quick
LARGEST = 1e4


class Gaussian(NamedTuple):
    """A Gaussian mechanism run `steps` times on Poisson samples: sigma in units of the norm C, rate q in (0, 1]."""

    sigma: float
    rate: float
    steps: int


class Spent(NamedTuple):
    """Epsilon by both accountants; the claim is `prv`."""

    prv: float
    rdp: float


def accountants() -> Any:
    """Opacus' accountants.

    Raises:
        ExtensionError: when Opacus is not installed, with what to do.
    """
    try:
        from opacus import accountants as found
    except ImportError as error:
        problem = Problem("opacus", str(error), "pip install -c constraints.txt 'chambit[dp]'")
        raise ExtensionError("Differentially private training needs the package 'opacus'.", [problem]) from error
    return found


def spent(mechanisms: Sequence[Gaussian], delta: float) -> Spent:
    """Epsilon of mechanisms run one after the other on the same subjects, for adding or removing one subject.

    Args:
        mechanisms: in any order.
        delta: in (0, 1).

    Raises:
        ChambitError: when the two accountants contradict each other.
    """
    accountant = accountants().PRVAccountant()
    accountant.history = [tuple(mechanism) for mechanism in mechanisms]
    with warnings.catch_warnings(), np.errstate(divide="ignore"):  # q = 1 has log(1 - q) in it, which is not used then
        warnings.simplefilter("ignore")
        prv = float(accountant.get_epsilon(delta, eps_error=ERROR))
    both = Spent(prv, _rdp(_curve(mechanisms, ORDERS), ORDERS, delta))
    if both.rdp < AGREEMENT * (both.prv - 2 * ERROR) or not math.isfinite(both.prv):
        problem = Problem(
            "accountants", f"PRV {both.prv:.3f}, RDP {both.rdp:.3f}", "report this; no epsilon is claimed"
        )
        raise ChambitError("The privacy accountants contradict each other.", [problem])
    return both


def replaced(mechanisms: Sequence[Gaussian], delta: float) -> float:
    """Epsilon at the same delta for *replacing* one subject by another, an upper bound.

    Replacing is removing and adding: what is (e, d) for one of them is (2 e, (1 + exp(e)) d) for both (group privacy:
    Dwork and Roth 2014, doi:10.1561/0400000042, theorem 2.2), so the d is sought for which that is the given delta. By
    the RDP accountant, which holds at the very small d this needs.

    Raises:
        ChambitError: when there is so little noise that no such d is found.
    """
    curve = _curve(mechanisms, ORDERS)

    def fits(logarithm: float) -> bool:
        return bool(np.logaddexp(0, _rdp(curve, ORDERS, math.exp(logarithm))) + logarithm <= math.log(delta))

    low, high = -600.0, math.log(delta)
    if not fits(low):
        problem = Problem("sigma", "the noise is so small that it proves nothing", "give more noise, or use `flow`")
        raise ChambitError("No privacy can be claimed.", [problem])
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return 2 * _rdp(curve, ORDERS, math.exp(low))


def noise_multiplier(target: float, delta: float, rate: float, steps: int, before: Sequence[Gaussian] = ()) -> float:
    """A sigma for which training, after the mechanisms `before`, costs at most `target`, and hardly less.

    Args:
        target: epsilon.
        delta: of the claim.
        rate: q, the chance of each subject to be in a step.
        steps: of training.
        before: what else is released of the same subjects.

    Raises:
        ChambitError: when no sigma does.
    """

    def with_sigma(sigma: float) -> list[Gaussian]:
        return [*before, Gaussian(sigma, rate, steps)]

    def loose(sigma: float) -> float:
        return _rdp(_curve(with_sigma(sigma), WHOLE), WHOLE, delta)

    # the looser accountant first: it is quick where sigma is far too small, and what it finds is large enough
    high = 0.3
    while loose(high) > target:
        high *= 2
        if high > LARGEST:
            raise ChambitError("The privacy budget is too small.", [_kept(target)])
    low = high / 2
    while high / low > 1.02:
        middle = math.sqrt(low * high)
        low, high = (low, middle) if loose(middle) <= target else (middle, high)
    while spent(with_sigma(0.8 * high), delta).prv <= target:
        high *= 0.8

    def above(logarithm: float) -> float:
        return math.log(spent(with_sigma(math.exp(logarithm)), delta).prv / (0.995 * target))

    sigma = high
    if above(math.log(high)) < 0:
        sigma = math.exp(optimize.brentq(above, math.log(0.8 * high), math.log(high), xtol=2e-3))
    while spent(with_sigma(sigma), delta).prv > target:
        sigma *= 1.002
        if sigma > 2 * high:  # the accountant's own error is larger than what is asked for
            raise ChambitError("The privacy budget is too small.", [_kept(target)])
    return sigma


def poisson(count: int, rate: float) -> np.ndarray:
    """A Poisson sample: each of `count` subjects on its own with probability `rate`; indices int64, ascending."""
    return np.flatnonzero(_uniform(count) < rate)


def coins(count: int) -> np.ndarray:
    """Fair coins, bool (count,)."""
    return _uniform(count) < 0.5


def noise(count: int) -> np.ndarray:
    """Standard normal numbers float64 (count,) (Box and Muller 1958, doi:10.1214/aoms/1177706645)."""
    half = -(-count // 2)
    radius = np.sqrt(-2 * np.log(1 - _uniform(half)))  # 1 - u lies in (0, 1]
    angle = 2 * np.pi * _uniform(half)
    return np.concatenate([radius * np.cos(angle), radius * np.sin(angle)])[:count]


def generator() -> torch.Generator:
    """A generator that nobody can seed again, for draws on which privacy does not rest."""
    return torch.Generator().manual_seed(int.from_bytes(os.urandom(8), "big") >> 1)


def clipped_sum(gradients: Sequence[torch.Tensor], clip: float) -> list[torch.Tensor]:
    """Sum over subjects of their gradients, each scaled to a norm of at most `clip`.

    Args:
        gradients: one tensor for each parameter, float32 (subjects, *shape). What is not a number counts as 0, so that
            no subject can spoil the sum.
        clip: C, above 0; of the norm over all parameters together.

    Returns:
        One tensor for each parameter, float32 (*shape).
    """
    finite = [g.nan_to_num(0, 0, 0).flatten(1) for g in gradients]
    norms = torch.stack([g.double().square().sum(1) for g in finite]).sum(0).sqrt()
    scale = (clip / norms.clamp_min(1e-30)).clamp_max(1.0).float()
    return [(scale @ g).reshape(whole.shape[1:]) for g, whole in zip(finite, gradients, strict=True)]


def noised(total: Sequence[torch.Tensor], clip: float, sigma: float, expected: float) -> list[torch.Tensor]:
    """(total + sigma C z) / expected, with one z for all parameters; `expected` is q n, not how many there were."""
    drawn = torch.from_numpy(sigma * clip * noise(sum(part.numel() for part in total))).float()
    pieces = torch.split(drawn, [part.numel() for part in total])
    return [(part + piece.reshape(part.shape)) / expected for part, piece in zip(total, pieces, strict=True)]


def noised_sum(vectors: np.ndarray, clip: float, sigma: float) -> np.ndarray:
    """The Gaussian mechanism on vectors float64 (subjects, d), each clipped to the norm `clip`; float64 (d,)."""
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    kept = vectors * np.minimum(1, clip / np.maximum(norms, 1e-30))
    return np.asarray(kept.sum(0) + sigma * clip * noise(vectors.shape[1]))


def _kept(target: float) -> Problem:
    return Problem("epsilon", f"{target:g} cannot be kept", "ask for more, or for a larger `statistics`")


def _curve(mechanisms: Sequence[Gaussian], orders: Sequence[float]) -> np.ndarray:
    """Renyi divergence of mechanisms run one after the other, at each order."""
    accountants()
    from opacus.accountants.analysis import rdp

    parts = [rdp.compute_rdp(q=m.rate, noise_multiplier=m.sigma, steps=m.steps, orders=orders) for m in mechanisms]
    return np.asarray(np.sum(parts, 0))


def _rdp(curve: np.ndarray, orders: Sequence[float], delta: float) -> float:
    from opacus.accountants.analysis import rdp

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it says when the best order is the last one; a looser bound is still a bound
        return float(rdp.get_privacy_spent(orders=orders, rdp=curve, delta=delta)[0])


def _uniform(count: int) -> np.ndarray:
    """Uniform in [0, 1) with 53 bits, float64 (count,)."""
    return (np.frombuffer(os.urandom(8 * count), np.uint64) >> np.uint64(11)) * 2.0**-53
