"""What a dossier shows of the making of a set: stages, strip, ways from noise, films, volumes, cells of the sample."""

from chambit.core.evidence import Frozen
from chambit.report.cells import Cells
from chambit.report.films import Film
from chambit.report.stages import Grid, Stage, Strip, Way
from chambit.report.volumes import Volume


class Making(Frozen):
    """All of it; every part may be missing.

    Attributes:
        stages: of the recipe, in their order.
        strip: what each stage made of some items.
        ways: from noise, of stages that can show them.
        grid: a row of synthetic images for each class.
        film: synthetic sequences beside real ones.
        volumes: a synthetic and a real one.
        cells: for each factor.
    """

    stages: tuple[Stage, ...] = ()
    strip: Strip | None = None
    ways: tuple[Way, ...] = ()
    grid: Grid | None = None
    film: Film | None = None
    volumes: tuple[Volume, ...] = ()
    cells: tuple[Cells, ...] = ()

    @property
    def shows_real(self) -> bool:
        """Whether pictures of real items are among them."""
        filmed = self.film is not None and bool(self.film.of("real"))
        return filmed or any(volume.role == "real" for volume in self.volumes)

    @property
    def empty(self) -> bool:
        """Whether there is nothing to show."""
        return self == Making()
