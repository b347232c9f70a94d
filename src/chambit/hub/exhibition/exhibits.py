"""Which sets are exhibited, and to whom.

Only what a board has approved hangs here: of an open set all images, of others the sample their tier shows. Visitors
without an account see open sets, and those only where the institution opens the exhibition to them. People with a part
in a set see it before, as a preview.
"""

from chambit.hub import catalogue, desk, studies
from chambit.hub.accounts import Account
from chambit.hub.catalogue import SHOWN, View
from chambit.hub.hub import Hub
from chambit.hub.refusals import NotThereError
from chambit.hub.studies import Study

OPEN = "open"


def listed(hub: Hub, account: Account | None) -> list[View]:
    """Every set somebody may see, approved ones first; for `None` those that visitors may."""
    if account is None:
        every = [View(one, catalogue.granted(hub, one), False, True) for one in studies.listed(hub.database)]
        return [view for view in every if _for_visitors(hub, view)]
    found = [view for view in catalogue.listed(hub, account) if view.reach != "none"]
    return sorted(found, key=lambda view: not view.grant.tier)


def of(hub: Hub, account: Account | None, name: str) -> View:
    """One set, compared with the registered one.

    Raises:
        NotThereError: when there is none that this person may see.
    """
    if account is not None:
        view = catalogue.of(hub, account, name)
    else:
        study = studies.of(hub.database, name)
        view = View(study, catalogue.granted(hub, study), False, _same(hub, study))
    if not view.same or view.reach == "none" or (account is None and not _for_visitors(hub, view)):
        raise NotThereError("전시되지 않는 세트입니다.", "This set is not exhibited.")
    return view


def preview(view: View) -> bool:
    """Whether the set is seen before it was approved, by a person with a part in it."""
    return not view.grant.tier


def playable(view: View) -> bool:
    """Whether real images of the set may be shown to a visitor: only where they were drawn and show no patient."""
    return desk.dossier_of(view.study.folder).phantom


def _for_visitors(hub: Hub, view: View) -> bool:
    return hub.settings.exhibition.visitors and view.study.state in SHOWN and view.grant.tier == OPEN


def _same(hub: Hub, study: Study) -> bool:
    return study.state in SHOWN and catalogue.registered(hub, study)
