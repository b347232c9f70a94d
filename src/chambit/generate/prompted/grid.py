"""Allocation: which combination of levels each image gets, with exact class counts and no forbidden combination.

    factorial   every allowed cell of a class the same number of images, the rest to cells drawn at random
    latin       inside a class each factor's levels equally often, in orders independent of each other (McKay, Beckman
                and Conover 1979, DOI 10.2307/1268522), forbidden combinations undone by exchanges between images
    marginals   cells by iterative proportional fitting to the wanted shares (Deming and Stephan 1940, DOI
                10.1214/aoms/1177731829), p <- p * share(level) / sum of p at that level, factor after factor

Cells of a fit are fractions of an image. They become whole numbers by rounding the running sum, after which single
images are moved to neighbouring cells as long as that brings the counts of levels closer to the shares.
"""

import itertools
from collections.abc import Sequence

import numpy as np

from chambit.core.errors import InputError, Problem
from chambit.generate.prompted.plan import PromptPlan
from chambit.generate.prompted.request import Request

ROUNDS = 500  # of the fit; it ends earlier once shares are met to CLOSE
CLOSE = 1e-9
FAR = 0.005  # a fit this far from the shares means that the constraints do not allow them
MOST_CELLS = 200_000
EXCHANGES = 20  # for each image, before other orders are drawn
ORDERS = 25  # that are tried before the constraints count as unsatisfiable


def cells(plan: PromptPlan) -> np.ndarray:
    """All allowed combinations of levels, int64 (cells, factors): index of the level of each factor.

    Raises:
        InputError: when there are too many to list, or a class has none.
    """
    sizes = [len(factor.levels) for factor in plan.factors.values()]
    if np.prod(sizes, dtype=float) > MOST_CELLS:
        problem = Problem("factors", f"{np.prod(sizes, dtype=float):,.0f} combinations", "use fewer factors or levels")
        raise InputError("The grid is too large.", [problem])
    every = np.array(list(itertools.product(*(range(size) for size in sizes))), np.int64)
    allowed = every[~forbidden(plan, every)]
    column = list(plan.factors).index(plan.label)
    levels = list(plan.factors[plan.label].levels)
    for name, count in plan.classes.items():
        if count and not (allowed[:, column] == levels.index(name)).any():
            problem = Problem(f"never: {plan.label} {name}", "no combination is left", "take back a constraint")
            raise InputError("The grid has no cell for a class.", [problem])
    wanted = [levels.index(name) for name, count in plan.classes.items() if count]
    return np.asarray(allowed[np.isin(allowed[:, column], wanted)], np.int64)


def forbidden(plan: PromptPlan, rows: np.ndarray) -> np.ndarray:
    """Whether each row of level indices int64 (N, F) is a combination the plan forbids, bool (N,)."""
    names = list(plan.factors)
    bad = np.zeros(len(rows), bool)
    for rule in plan.never:
        hit = np.ones(len(rows), bool)
        for name, levels in rule.items():
            all_levels = list(plan.factors[name].levels)
            hit &= np.isin(rows[:, names.index(name)], [all_levels.index(level) for level in levels])
        bad |= hit
    return bad


def allocate(plan: PromptPlan) -> np.ndarray:
    """Level indices of every image, int64 (images, factors), in a seeded random order.

    Raises:
        InputError: when the constraints leave no way to the counts or shares.
    """
    allowed = cells(plan)
    rng = np.random.default_rng([plan.seed, 0])
    made = {"factorial": _factorial, "latin": _latin, "marginals": _marginals}[plan.allocation](plan, allowed, rng)
    return np.asarray(rng.permutation(made), np.int64)


def requests(plan: PromptPlan) -> list[Request]:
    """The plan's requests in the order they are made; equal combinations differ by their seed."""
    every = {name: list(factor.levels) for name, factor in plan.factors.items()}
    made = []
    for number, row in enumerate(allocate(plan)):
        levels = {name: every[name][at] for name, at in zip(every, row, strict=True)}
        made.append(request(plan, levels, int(np.random.default_rng([plan.seed, 1, number]).integers(2**31))))
    return made


def request(plan: PromptPlan, levels: dict[str, str], seed: int) -> Request:
    """The plan's request for these levels."""
    service = plan.provider
    return Request(
        provider=service.name,
        model=service.model,
        prompt=plan.sentence(levels),
        levels=levels,
        seed=seed,
        aspect=service.aspect,
        pixels=service.pixels,
    )


def instead(request: Request) -> Request:
    """What is asked in the place of a refused request: the same levels and sentence, another seed."""
    return request.model_copy(update={"seed": int(np.random.default_rng([int(request.key[:15], 16)]).integers(2**31))})


def _by_class(plan: PromptPlan, allowed: np.ndarray) -> list[tuple[np.ndarray, int]]:
    """Allowed cells and number of images of each class that has any."""
    column, levels = list(plan.factors).index(plan.label), list(plan.factors[plan.label].levels)
    return [
        (allowed[allowed[:, column] == levels.index(name)], count) for name, count in plan.classes.items() if count > 0
    ]


def _factorial(plan: PromptPlan, allowed: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    made = []
    for mine, count in _by_class(plan, allowed):
        whole, rest = divmod(count, len(mine))
        made += [np.repeat(mine, whole, axis=0), mine[rng.permutation(len(mine))[:rest]]]
    return np.concatenate(made)


def _latin(plan: PromptPlan, allowed: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    made = []
    for mine, count in _by_class(plan, allowed):
        for _ in range(ORDERS):
            columns = [rng.permutation(np.resize(rng.permutation(np.unique(column)), count)) for column in mine.T]
            if (rows := _exchanged(plan, np.stack(columns, axis=1), rng)) is not None:
                made.append(rows)
                break
        else:
            what = "equally many images of each level cannot avoid the forbidden combinations"
            raise InputError("The Latin hypercube cannot be filled.", [Problem("never", what, "use marginals")])
    return np.concatenate(made)


def _exchanged(plan: PromptPlan, rows: np.ndarray, rng: np.random.Generator) -> np.ndarray | None:
    """The same levels as often, exchanged between images until no combination is forbidden; None if that fails."""
    for _ in range(EXCHANGES * len(rows)):
        bad = np.flatnonzero(forbidden(plan, rows))
        if not len(bad):
            return rows
        one, other, factor = int(rng.choice(bad)), int(rng.integers(len(rows))), int(rng.integers(rows.shape[1]))
        pair = rows[[one, other]]
        before = forbidden(plan, pair).sum()
        pair[:, factor] = pair[::-1, factor]
        if forbidden(plan, pair).sum() <= before:
            rows[[one, other]] = pair
    return None


def wanted_shares(plan: PromptPlan) -> list[np.ndarray | None]:
    """Wanted share of each level, one array for each factor: of the label by counts, else as given, else None."""
    shares: list[np.ndarray | None] = []
    for name, factor in plan.factors.items():
        if name == plan.label:
            share = np.array([plan.classes.get(level, 0) for level in factor.levels], np.float64)
        elif factor.shares is not None:
            share = np.array([factor.shares[level] for level in factor.levels], np.float64)
        else:
            shares.append(None)
            continue
        shares.append(share / share.sum())
    return shares


def fitted(allowed: np.ndarray, shares: Sequence[np.ndarray | None], names: Sequence[str]) -> np.ndarray:
    """Probability of each allowed cell by iterative proportional fitting, float64 (cells,).

    A factor without shares is left as equal as the others let it be: the fit has the largest entropy.

    Raises:
        InputError: when the allowed cells cannot have these shares.
    """
    p = np.full(len(allowed), 1 / len(allowed))
    stated = [(column, share) for column, share in enumerate(shares) if share is not None]
    for _ in range(ROUNDS):
        before = p
        for column, share in stated:
            now = np.bincount(allowed[:, column], p, len(share))
            p = p * np.divide(share, now, out=np.zeros_like(share), where=now > 0)[allowed[:, column]]
        if np.abs(p - before).max() < CLOSE / len(p):
            break
    off = [float(np.abs(np.bincount(allowed[:, k], p, len(share)) - share).max()) for k, share in stated]
    if not np.isfinite(p).all() or max(off) > FAR or p.sum() <= 0:
        problem = Problem(
            f"factors: {names[stated[int(np.argmax(off))][0]]}",
            f"the constraints allow its shares to within {max(off):.3f} at best",
            "change the shares or take back a constraint",
        )
        raise InputError("The wanted shares cannot be met.", [problem])
    return np.asarray(p / p.sum(), np.float64)


def _marginals(plan: PromptPlan, allowed: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    p = fitted(allowed, wanted_shares(plan), list(plan.factors))
    label = list(plan.factors).index(plan.label)
    made = []
    for mine, count in _by_class(plan, np.column_stack([allowed, np.arange(len(allowed))])):
        weight = p[mine[:, -1]] / p[mine[:, -1]].sum()
        order = rng.permutation(len(mine))
        ends = np.rint(np.cumsum(weight[order]) * count - 1e-9).astype(int)
        made.append(np.repeat(mine[order, :-1], np.diff(ends, prepend=0), axis=0))
    rows = np.concatenate(made)
    targets = [np.bincount(column, p) * len(rows) for column in allowed.T]
    return _closer(plan, rows, targets, label)


def _closer(plan: PromptPlan, rows: np.ndarray, targets: Sequence[np.ndarray], label: int) -> np.ndarray:
    """Move single images to a neighbouring cell of their class while that brings the counts of levels closer."""
    for _ in range(len(rows)):
        off = {k: np.bincount(rows[:, k], minlength=len(t))[: len(t)] - t for k, t in enumerate(targets) if k != label}
        far = sorted((k for k in off if np.ptp(off[k]) > 1), key=lambda k: -float(np.ptp(off[k])))
        if not any(_moved(plan, rows, k, off[k]) for k in far):
            break
    return rows


def _moved(plan: PromptPlan, rows: np.ndarray, factor: int, off: np.ndarray) -> bool:
    """Change one image of the most frequent level of a factor to the least frequent one, where that is allowed."""
    target = rows.copy()
    target[:, factor] = int(off.argmin())
    able = np.flatnonzero((rows[:, factor] == int(off.argmax())) & ~forbidden(plan, target))
    if not len(able):
        return False
    rows[able[0], factor] = int(off.argmin())
    return True
