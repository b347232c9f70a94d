"""Quality of a cohort: outliers, duplicates, doubtful labels and thin subgroups, each finding with its reason.

`examine` finds what should be set aside and deletes nothing; `without` applies its findings; `labels` and `review`
list labels for a person; `cells` counts classes in subgroups; `contact_sheet` draws what was set aside.
"""

from chambit.prepare.quality.examine import examine, without
from chambit.prepare.quality.labelling import Review, labels, review
from chambit.prepare.quality.options import CHECKS, Options
from chambit.prepare.quality.sheet import contact_sheet
from chambit.prepare.quality.subgroups import cells

__all__ = ["CHECKS", "Options", "Review", "cells", "contact_sheet", "examine", "labels", "review", "without"]
