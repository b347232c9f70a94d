"""How many items there are of each class in each level of a factor, real ones for training beside synthetic ones."""

from chambit.core.evidence import Frozen

Counts = tuple[tuple[int, ...], ...]


class Cells(Frozen):
    """Counts of one factor.

    Attributes:
        factor: column of the labels.
        classes: the rows.
        levels: the columns.
        real: training items of each class (row) and level (column).
        synthetic: synthetic items, likewise.
    """

    factor: str
    classes: tuple[str, ...]
    levels: tuple[str, ...]
    real: Counts
    synthetic: Counts

    def thin(self, row: int, column: int, synthetic: bool = False) -> bool:
        """Whether no cell of its kind has fewer items; of no use where all have the same number.

        >>> made = Cells(factor="sex", classes=("a",), levels=("F", "M"), real=((3, 9),), synthetic=((5, 5),))
        >>> made.thin(0, 0), made.thin(0, 1), made.thin(0, 0, synthetic=True)
        (True, False, False)
        """
        counts = self.synthetic if synthetic else self.real
        every = [count for line in counts for count in line]
        return counts[row][column] == min(every) < max(every)
