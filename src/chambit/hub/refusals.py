"""What the hub refuses to do, said in Korean and English with what can be done about it."""

from chambit.core.errors import ChambitError


class HubError(ChambitError):
    """An act that is not done, and why.

    Args:
        ko: the reason and the remedy in Korean.
        en: the same in English.
        wait: seconds after which it may be tried again, 0 where waiting does not help.
    """

    def __init__(self, ko: str, en: str, wait: float = 0.0) -> None:
        super().__init__(en)
        self.ko, self.en, self.wait = ko, en, wait


class NotAllowedError(HubError):
    """The account has not the role or the part that the act needs."""


class NotThereError(HubError):
    """There is no such thing, or not for this account."""
