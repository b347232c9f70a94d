"""The legal register: an approval that does not hold stops a run, and what is told names entry, reason and remedy."""

import datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from chambit.core import digest
from chambit.core.errors import StudyError
from chambit.core.evidence import Verdict
from chambit.core.ledger import Ledger
from chambit.core.steps import Event
from chambit.core.study import Provenance, Study, load
from chambit.pipeline import study as pipeline
from chambit.prepare import register
from chambit.report import wording
from chambit.review import policy
from chambit.review.verdict import judge
from tinystudy import STUDY, evidence, write_study

DAY = datetime.date(2026, 6, 1)
PAPER = b"The board decided."
SHA = digest.of_bytes(PAPER)
POLICY = policy.load("default")
TERM = {"from": "2026-01-01", "until": "2026-12-31"}


def approval(kind: str = "irb", decision: str = "new", **more: Any) -> dict[str, Any]:
    entry = {"kind": kind, "decision": decision, "number": "A-1", "institution": "Hospital", "scope": "synthesis"}
    term = {} if decision == "exempt" else TERM
    return entry | term | {"file": "paper.pdf", "sha256": SHA} | more


def permission(*allows: str, **more: Any) -> dict[str, Any]:
    entry = {"source": "Archive", "licence": "CC BY 4.0", "file": "paper.pdf", "sha256": SHA}
    return entry | {"allows": list(allows or ("train", "release"))} | more


def duty(due: str, done: bool = False) -> dict[str, Any]:
    return {"text": "second inspection", "due": due, "done": done}


BOTH = [approval("irb"), approval("drb")]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A study file's path, with the paper beside it."""
    (tmp_path / "paper.pdf").write_bytes(PAPER)
    return tmp_path / "study.yaml"


def hospital(*entries: dict[str, Any], **more: Any) -> Provenance:
    return Provenance.model_validate({"kind": "hospital", "approvals": entries} | more)


def public(*entries: dict[str, Any], **more: Any) -> Provenance:
    return Provenance.model_validate({"kind": "public", "permissions": entries} | more)


def told(source: Provenance, file: Path, day: datetime.date = DAY) -> list[str]:
    return [str(problem) for problem in register.read(source, file, day).problems]


def verdict(source: Provenance, file: Path, day: datetime.date = DAY) -> Verdict:
    return judge(register.finding(register.read(source, file, day)), POLICY).verdict


# --- what is enough, and what is not


@pytest.mark.parametrize(
    "entries",
    [
        BOTH,
        [approval("irb", "exempt"), approval("public_drb")],
        [approval("irb", "reused"), approval("drb")],
        [approval("joint_drb")],
        [approval("irb", until="2026-05-31"), *BOTH],  # renewed: the old entry may stay
        [approval("irb", "conditional", conditions=[duty("2026-05-01", done=True)]), approval("drb")],
    ],
)
def test_what_is_enough_for_a_hospital(entries: list[dict[str, Any]], file: Path) -> None:
    found = register.require(hospital(*entries), file, DAY)
    assert set(found.met) == {register.ETHICS, register.BOARD}
    assert judge(register.finding(found), POLICY).verdict is Verdict.PASS


@pytest.mark.parametrize(
    ("entries", "where", "what"),
    [
        ([], "source.approvals", "an IRB's approval or exemption is not registered"),
        ([approval("drb")], "source.approvals", "an IRB's approval"),
        ([approval("irb")], "source.approvals", "a data review board's decision is not registered"),
        ([approval("irb", until="2026-05-31"), approval("drb")], "approvals.0 (irb)", "valid until 2026-05-31"),
        ([approval("drb"), approval("irb", **{"from": "2026-06-02"})], "approvals.1 (irb)", "not valid before"),
        ([approval("irb", file="gone.pdf"), approval("drb")], "approvals.0 (irb)", "'gone.pdf' does not exist"),
        ([approval("irb", sha256="0" * 64), approval("drb")], "approvals.0 (irb)", "another SHA-256"),
        ([*BOTH, approval("irb", sha256="0" * 64)], "approvals.2 (irb)", "another SHA-256"),
        ([*BOTH, approval("drb", "conditional", conditions=[duty("2026-05-31")])], "approvals.2", "due on 2026-05-31"),
    ],
)
def test_what_blocks_names_entry_reason_and_remedy(
    entries: list[dict[str, Any]], where: str, what: str, file: Path
) -> None:
    with pytest.raises(StudyError, match="training and release are blocked") as caught:
        register.require(hospital(*entries), file, DAY)
    hit = [problem for problem in caught.value.problems if where in problem.where and what in problem.what]
    assert hit
    assert all(problem.remedy for problem in caught.value.problems)
    assert verdict(hospital(*entries), file) is Verdict.FAIL


def test_every_problem_is_told_at_once(file: Path) -> None:
    source = hospital(approval("irb", until="2026-02-01", sha256="0" * 64), approval("drb", **{"from": "2026-07-01"}))
    assert len(told(source, file)) == 3
    assert len(told(hospital(irb="IRB 7", drb="DRB 8"), file)) == 2
    assert all("a statement that nothing can check" in text for text in told(hospital(irb="IRB 7", drb="DRB 8"), file))


@given(st.dates(datetime.date(2025, 12, 1), datetime.date(2027, 1, 31)))
def test_an_approval_holds_from_its_first_to_its_last_day(day: datetime.date) -> None:
    source = hospital(*BOTH)
    found = register.read(source, Path(__file__), day)  # no paper beside this file: only the term is asked
    dated = [problem for problem in found.problems if "paper" not in problem.what]
    assert bool(dated) is not (datetime.date(2026, 1, 1) <= day <= datetime.date(2026, 12, 31))


def test_a_condition_is_open_until_its_day_and_overdue_after(file: Path) -> None:
    source = hospital(approval("irb", "conditional", conditions=[duty("2026-06-01")]), approval("drb"))
    assert verdict(source, file, DAY) is Verdict.CONDITIONAL
    assert told(source, file, DAY) == []
    assert "was due on 2026-06-01" in told(source, file, DAY + datetime.timedelta(1))[0]


def test_a_public_source(file: Path) -> None:
    assert verdict(public(permission()), file) is Verdict.PASS
    assert verdict(public(licence="CC BY 4.0"), file) is Verdict.CONDITIONAL
    assert told(public(licence="CC BY 4.0"), file) == []
    assert "does not allow to release" in told(public(permission("train", "commercial")), file)[0]
    assert "was valid until" in told(public(permission(until="2026-01-01")), file)[0]
    assert told(public(permission("train"), permission()), file) == []


def test_phantoms_need_nothing(file: Path) -> None:
    finding = register.finding(register.require(Provenance(kind="phantoms"), file, DAY))
    assert (finding.value, finding.n) == (1.0, {"needed": 0, "valid": 0})
    assert judge(finding, POLICY).verdict is Verdict.PASS


def test_the_finding_counts_days_and_kinds(file: Path) -> None:
    source = hospital(approval("irb", until="2026-06-11"), approval("drb"))
    finding = register.finding(register.read(source, file, DAY))
    assert finding.details["days_left"] == 10
    assert finding.n == {"needed": 2, "valid": 2, "irb": 1, "drb": 1}
    says = wording.words()["evidence"][finding.key]["says"]["value"]
    assert all(side in says for side in ("ko", "en"))


# --- the study file


@pytest.mark.parametrize(
    ("entry", "what"),
    [
        ({"until": None}, "only an exemption may have none"),
        ({"until": "2025-01-01"}, "`until` is before `from`"),
        ({"decision": "conditional"}, "names its `conditions`"),
        ({"sha256": "abc"}, "should match pattern"),
        ({"scope": ""}, "at least 1 character"),
        ({"kind": "ethics"}, "'irb', 'drb', 'joint_drb' or 'public_drb'"),
        ({"approver": "x"}, "unknown key `source.approvals.0.approver`"),
    ],
)
def test_an_entry_that_cannot_be_names_its_line(entry: dict[str, Any], what: str, tmp_path: Path) -> None:
    source = {"kind": "hospital", "approvals": [approval() | entry]}
    path = tmp_path / "study.yaml"
    path.write_text(yaml.safe_dump(STUDY | {"source": source}, sort_keys=False), encoding="utf-8")
    with pytest.raises(StudyError) as caught:
        load(path)
    assert any(what in str(problem) for problem in caught.value.problems)
    assert all(":" in problem.where for problem in caught.value.problems)


def test_a_permission_is_a_licence_or_a_contract() -> None:
    for more in ({"contract": "C"}, {"licence": ""}):
        with pytest.raises(ValueError, match="exactly one of"):
            public(permission(**more))


def test_a_renewal_is_no_other_attempt_but_another_register(file: Path) -> None:
    before, after = hospital(*BOTH), hospital(*BOTH, approval("irb", until="2027-12-31"))
    one, two = (Study.model_validate(STUDY | {"source": source}) for source in (before, after))
    assert one.digest == two.digest
    assert register.identity(before) != register.identity(after)
    assert one.digest != Study.model_validate(STUDY | {"source": hospital(*BOTH, drb="other words")}).digest


def test_statements_are_made_from_entries_unless_given(file: Path) -> None:
    told = register.statements(hospital(*BOTH, irb="in words"))
    assert told == {"irb": "in words", "drb": "A-1, Hospital, drb new, until 2026-12-31", "licence": ""}
    assert register.statements(public(permission()))["licence"] == "Archive: CC BY 4.0 (train, release)"


# --- a run


@pytest.fixture
def ready(tmp_path: Path) -> pipeline.Ready:
    """A tiny study that says its phantoms are a hospital's, with both approvals."""
    (tmp_path / "paper.pdf").write_bytes(PAPER)
    source = {"kind": "hospital", "name": "H", "de_identification": "report", "approvals": BOTH}
    cohort = STUDY["cohort"] | {"phantoms": {"patients": 60, "pixels": 32}}
    recipe = STUDY["recipe"] | {"sample": {"images": 12}}
    return pipeline.read(write_study(tmp_path, source=source, cohort=cohort, recipe=recipe, measures={"intensity": {}}))


def test_an_expired_approval_blocks_before_the_first_step(ready: pipeline.Ready, tmp_path: Path) -> None:
    late = datetime.date(2027, 1, 1)
    events: list[Event] = []
    with pytest.raises(StudyError, match="training and release are blocked"):
        pipeline.run(ready, tmp_path / "out", events.append, late)
    assert events == []
    assert not (tmp_path / "out").exists()
    assert len(pipeline.obstacles(ready, late)) == 2
    assert pipeline.obstacles(ready, DAY) == ()
    assert pipeline.estimate(ready, tmp_path / "out")  # a plan tells, and does not block


def test_what_is_lost_during_a_run_blocks_the_closing(ready: pipeline.Ready, tmp_path: Path) -> None:
    out, paper = tmp_path / "out", tmp_path / "paper.pdf"

    def tell(event: Event) -> None:
        if event.state == "started" and event.step == "refine":
            paper.unlink()

    with pytest.raises(StudyError, match=r"'paper\.pdf' does not exist"):
        pipeline.run(ready, out, tell, DAY)
    assert not (out / "candidate").exists()
    assert not (out / "dossier.html").exists()
    paper.write_bytes(PAPER)
    for _ in range(2):
        pipeline.run(ready, out, lambda _: None, DAY)
    found = evidence(out)
    assert found["source.approvals"]["verdict"] == found["source.stated"]["verdict"] == "PASS"
    ledger = Ledger.beside(out / "work")
    assert [event["body"] for event in ledger.events("register.held")] == [
        {"register": register.identity(ready.study.source)}
    ]
    ledger.close()
    with pytest.raises(StudyError):
        pipeline.run(ready, out, lambda _: None, datetime.date(2027, 1, 1))
