"""Pace of the calls: a token bucket for requests per minute, waits after a refusal to serve, and a cap on the cost.

bucket: holds at most `burst` tokens, gains per_minute / 60 a second; a call takes one and waits until there is one
wait before attempt k + 1:  min(longest, first * 2^(k-1)) * (1/2 + u/2), u uniform in [0, 1); never shorter than
what the service asked for
"""

import threading
from collections.abc import Callable

import numpy as np

Clock = Callable[[], float]
Sleep = Callable[[float], None]


class Bucket:
    """Lets `per_minute` calls a minute pass, `burst` of them at once; safe for threads."""

    def __init__(self, per_minute: float, burst: int, clock: Clock, sleep: Sleep) -> None:
        self._rate, self._burst, self._clock, self._sleep = per_minute / 60, float(burst), clock, sleep
        self._tokens, self._at, self._lock = float(burst), clock(), threading.Lock()

    def take(self) -> None:
        """Wait for one's turn."""
        with self._lock:
            now = self._clock()
            self._tokens = min(self._burst, self._tokens + (now - self._at) * self._rate)
            self._at = now
            self._tokens -= 1  # below zero: a place in the queue
            wait = max(0.0, -self._tokens / self._rate)
        if wait:
            self._sleep(wait)


class Purse:
    """What may still be spent; a call sets its expected price aside before it leaves."""

    def __init__(self, cap: float, spent: float) -> None:
        self._left, self._lock = cap - spent, threading.Lock()

    def set_aside(self, price: float) -> bool:
        """Whether a call of this price still fits under the cap; if so its price is set aside."""
        with self._lock:
            if price > self._left + 1e-9:
                return False
            self._left -= price
            return True

    def settle(self, aside: float, paid: float) -> None:
        """Replace what was set aside by what was paid."""
        with self._lock:
            self._left += aside - paid


def backoff(attempt: int, first: float, longest: float, told: float | None, key: str) -> float:
    """Seconds to wait after failed attempt number `attempt` (from 1); the jitter follows from key and attempt.

    >>> backoff(1, 1.0, 60.0, 7.5, "ab12cd34") >= 7.5, 2.0 <= backoff(3, 1.0, 60.0, None, "ab12cd34") <= 4.0
    (True, True)
    """
    share = float(np.random.default_rng([int(key[:8], 16), attempt]).random())
    own: float = min(longest, first * 2 ** (attempt - 1)) * (0.5 + share / 2)
    return max(own, told or 0.0)
