"""A number of a reader study that somebody else reported: a note for the reader of a dossier, never evidence.

There is no way from here to a finding, and that is meant: one number without votes has no interval, no readers and
often no definition.
"""

from pydantic import Field

from chambit.core.evidence import Frozen

CANNOT_TELL = (
    "how many readers and images there were, what was counted (accuracy, synthetic images taken for real, a score of "
    "a project), how far readers differed, and whether they preferred one answer"
)


class Reported(Frozen):
    """A number as it was reported: `VTT 0.45`.

    Attributes:
        value: the number as it stands there.
        name: what it is called there.
        by: who reported it, and where.
    """

    value: float
    name: str = Field(min_length=1)
    by: str = Field(min_length=1)

    @property
    def text(self) -> str:
        """The note, with what cannot be told from it.

        >>> Reported(value=0.45, name="VTT", by="project report, p. 7").text[:52]
        'VTT 0.45, reported by project report, p. 7. Not evid'
        """
        return f"{self.name} {self.value:g}, reported by {self.by}. Not evidence: it does not say {CANNOT_TELL}."


def reported(value: float, name: str, by: str) -> Reported:
    """Keep such a number as a note. It has neither verdict nor interval, and no measure reads it."""
    return Reported(value=value, name=name, by=by)
