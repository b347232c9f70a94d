"""Protocol, presentations and votes of a reader study: what is fixed, what a reader sees, what is refused."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from chambit.core.errors import InputError
from chambit.reading import protocol, simulate, trials, votes
from chambit.reading.protocol import Protocol
from chambit.reading.trials import Trial
from chambit.reading.votes import Vote

SECRET = b"0123456789abcdef"


def planned(**changes: object) -> Protocol:
    """A study of 40 images, five readers, both tasks; with changes."""
    given: dict[str, object] = {
        "title": {"ko": "판독 연구", "en": "reader study"},
        "tasks": ["authenticity", "plausibility"],
        "reject_reasons": [{"name": "anatomy", "words": {"ko": "해부학", "en": "anatomy"}}],
        "real": 20,
        "synthetic": 20,
        "margin": 0.15,
        "level": 0.95,
        "readers_least": 5,
        "outside_least": 0,
        "block": 25,
        "repeats": 0.1,
        "practice": 4,
        "seed": 7,
        "holdout": "h" * 8,
        "candidate": "c" * 8,
        "ratio_told": False,
    }
    return protocol.read(given | changes)


def vote(**changes: object) -> Vote:
    """A right answer to a synthetic image; with changes."""
    given: dict[str, object] = {
        "study": "s", "reader": "r1", "trial": "t", "item": "a", "kind": "synthetic", "repeat": False,
        "practice": False, "score": 5, "seconds": 3.0, "moves": 0, "position": 0, "block": 1, "hour": 9,
    }  # fmt: skip
    return Vote.model_validate(given | changes)


# --- protocol


def test_digest_covers_every_field() -> None:
    base = planned()
    assert base.digest == planned().digest
    changed = [
        {"title": {"ko": "나", "en": "reader study"}}, {"real": 30, "synthetic": 30}, {"margin": 0.1}, {"level": 0.9},
        {"readers_least": 6}, {"outside_least": 1}, {"block": 30}, {"repeats": 0.2}, {"practice": 2}, {"seed": 8},
        {"holdout": "x"}, {"candidate": "x"}, {"ratio_told": True}, {"tasks": ["authenticity"], "reject_reasons": []},
    ]  # fmt: skip
    assert len({base.digest, *(planned(**one).digest for one in changed)}) == len(changed) + 1


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"real": 21}, "images must be even: as many real as synthetic, not 21 and 20"),
        ({"margin": 0.5}, "margin: Input should be less than 0.5"),
        ({"margin": 0}, "margin"),
        ({"block": 51}, "block is at most 50, not 51"),
        ({"block": 9}, "block"),
        ({"repeats": 0.6}, "repeats"),
        ({"practice": 3}, "practice must be even"),
        ({"outside_least": 6}, "outside_least"),
        ({"tasks": ["plausibility"]}, "must have authenticity"),
        ({"tasks": ["authenticity"]}, "reject_reasons need the task"),
        ({"reject_reasons": []}, "needs reject_reasons"),
        ({"surprise": 1}, "surprise"),
    ],
)
def test_a_protocol_that_cannot_work_is_refused(changes: dict[str, object], words: str) -> None:
    with pytest.raises(InputError, match=words):
        planned(**changes)


def test_all_problems_are_told_at_once_and_nothing_has_a_default() -> None:
    with pytest.raises(InputError) as error:
        protocol.read({})
    assert {problem.where for problem in error.value.problems} == set(Protocol.model_fields)


# --- presentations


@settings(deadline=None, max_examples=40)
@given(st.integers(5, 60), st.sampled_from([0.0, 0.1, 0.3, 0.5]), st.integers(0, 40), st.integers(10, 50))
def test_a_plan_is_whole(each: int, repeats: float, reader: int, block: int) -> None:
    study = planned(real=each, synthetic=each, repeats=repeats, block=block)
    plan = trials.plan(study, reader, SECRET)
    assert [trial.position for trial in plan] == list(range(len(plan)))
    assert [trial.practice for trial in plan] == [True] * 4 + [False] * (len(plan) - 4)
    assert {trial.item for trial in plan[:4]} == set(trials.practice_items(study))
    first = [trial for trial in plan if not trial.practice and not trial.repeat]
    assert sorted(trial.item for trial in first) == sorted(trials.items(study))
    assert all(trials.items(study)[trial.item] == trial.kind for trial in first)
    again = [trial for trial in plan if trial.repeat]
    assert Counter(trial.kind for trial in again) == Counter(
        {kind: study.repeated for kind in protocol.KINDS if study.repeated}
    )
    assert len({trial.item for trial in again}) == len(again)
    assert max(Counter(trial.block for trial in plan if not trial.practice).values()) <= block
    assert [trial.block for trial in plan] == sorted(trial.block for trial in plan)


def test_kinds_are_balanced_in_runs_of_ten() -> None:
    for reader in range(5):
        first = [t.kind for t in trials.plan(planned(), reader, SECRET) if not t.practice and not t.repeat]
        assert [first[k : k + 10].count("real") for k in range(0, 40, 10)] == [5] * 4


@pytest.mark.parametrize(("each", "repeats"), [(150, 0.1), (50, 0.5), (20, 0.1)])
def test_repeats_come_twenty_places_later_or_more(each: int, repeats: float) -> None:
    study = planned(real=each, synthetic=each, repeats=repeats)
    for reader in range(6):
        distances = _distances(trials.plan(study, reader, SECRET))
        assert len(distances) == 2 * study.repeated > 0
        assert min(distances) >= trials.APART


def test_repeats_of_a_small_set_come_last() -> None:
    study = planned(real=5, synthetic=5, repeats=0.4, practice=0)
    plan = trials.plan(study, 3, SECRET)
    assert [trial.repeat for trial in plan] == [False] * 10 + [True] * 4
    assert min(_distances(plan)) >= 6  # those seen first come again


def _distances(plan: tuple[Trial, ...]) -> list[int]:
    places = {trial.item: trial.position for trial in plan if not trial.repeat}
    return [trial.position - places[trial.item] for trial in plan if trial.repeat]


def test_a_plan_can_be_made_again_and_depends_on_no_other_reader() -> None:
    study = planned()
    assert trials.plan(study, 2, SECRET) == trials.plan(study, 2, SECRET)
    orders = {tuple(trial.item for trial in trials.plan(study, reader, SECRET)) for reader in range(20)}
    assert len(orders) == 20
    more = planned(readers_least=9)
    assert [t.item for t in trials.plan(more, 2, SECRET)] == [t.item for t in trials.plan(study, 2, SECRET)]


def test_each_image_comes_at_any_place() -> None:
    study = planned(repeats=0, practice=0)
    places = np.array(
        [sorted((t.item, t.position) for t in trials.plan(study, reader, SECRET)) for reader in range(300)]
    )[:, :, 1].astype(float)
    # mean place of an image over readers: 19.5, sd of a mean 11.5 / sqrt(300) = 0.67
    assert np.abs(places.mean(0) - 19.5).max() < 4 * 0.67


def test_ids_carry_neither_order_nor_kind() -> None:
    study = planned(real=100, synthetic=100)
    plan = trials.plan(study, 0, SECRET)
    ids = [trial.id for trial in plan]
    assert len(set(ids)) == len(ids)
    assert all(len(one) == 32 and set(one) <= set("0123456789abcdef") for one in ids)
    ranks = np.argsort(np.argsort(ids))
    assert abs(np.corrcoef(ranks, [t.position for t in plan])[0, 1]) < 0.25
    assert abs(np.corrcoef(ranks, [t.kind == "real" for t in plan])[0, 1]) < 0.25
    other = trials.plan(study, 0, b"another secret, 16 bytes")
    assert not set(ids) & {trial.id for trial in other}
    assert [trial.item for trial in other] == [trial.item for trial in plan]
    assert not set(ids) & {trial.id for trial in trials.plan(study, 1, SECRET)}


@pytest.mark.parametrize(("reader", "secret"), [(-1, SECRET), (0, b"short")])
def test_a_plan_without_number_or_secret_is_refused(reader: int, secret: bytes) -> None:
    with pytest.raises(InputError, match="cannot be planned"):
        trials.plan(planned(), reader, secret)


# --- votes


def test_a_table_has_first_readings_alone() -> None:
    cast = [
        vote(reader="b", item="x", score=4),
        vote(reader="a", item="x", score=2),
        vote(reader="a", item="y", kind="real", score=6),
        vote(reader="a", item="x", score=6, repeat=True),
        vote(reader="c", item="p", score=6, practice=True),
    ]
    table = votes.table(cast)
    assert (table.readers, table.items) == (("a", "b"), ("x", "y"))
    assert table.synthetic.tolist() == [True, False]
    assert np.array_equal(table.scores, [[2, 6], [4, np.nan]], equal_nan=True)
    assert np.array_equal(table.called, [[0, 1], [1, np.nan]], equal_nan=True)
    assert np.array_equal(table.correct, [[0, 0], [1, np.nan]], equal_nan=True)
    assert table.finished.tolist() == [1.0, 0.5]
    assert table.of(np.array([False, True])).readers == ("b",)


@pytest.mark.parametrize(("score", "called"), [(1, False), (3, False), (4, True), (6, True)])
def test_the_scale_is_cut_in_the_middle(score: int, called: bool) -> None:
    assert vote(score=score).called_synthetic is called
    assert vote(score=score).correct is called
    assert vote(score=score, kind="real").correct is not called


@pytest.mark.parametrize(
    ("cast", "words"),
    [
        ([], "no first reading"),
        ([vote(practice=True)], "no first reading"),
        ([vote(), vote(reader="r2", kind="real")], "real in one vote and synthetic in another"),
        ([vote(), vote(score=1)], "two first readings"),
        ([vote(), vote(repeat=True), vote(repeat=True, score=1)], "two repeats"),
        ([vote(), vote(item="b", study="t")], "several studies"),
    ],
)
def test_votes_that_contradict_each_other_are_refused(cast: list[Vote], words: str) -> None:
    with pytest.raises(InputError, match=words):
        votes.table(cast)


@pytest.mark.parametrize(
    "changes",
    [
        {"score": 0}, {"score": 7}, {"reader": "Kim, Minsu"}, {"reader": "김민수"}, {"giveaway": (0.5, 1.1)},
        {"seconds": -1.0}, {"hour": 24}, {"kind": "fake"}, {"plausibility": {"label": "maybe", "quality": 3}},
        {"plausibility": {"label": "yes", "quality": 6}}, {"name": "Kim"},
    ],
)  # fmt: skip
def test_a_vote_out_of_range_is_refused(changes: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        vote(**changes)


def test_simulated_readers_have_the_skill_they_were_given() -> None:
    study = planned(real=250, synthetic=250, repeats=0.0)
    plans = [trials.plan(study, reader, SECRET) for reader in range(3)]
    skills = [simulate.Skill(dprime=2.0), simulate.Skill(dprime=0.0), simulate.Skill(criterion=9.0)]
    cast = simulate.votes(study, plans, skills, 0.0, 5)
    table = votes.table(cast)
    share = table.correct.mean(1)
    assert share[0] == pytest.approx(0.841, abs=0.05)  # Phi(1)
    assert share[1] == pytest.approx(0.5, abs=0.07)
    assert (table.scores[2] == 1).all()
    alone = simulate.votes(study, plans[:1], skills[:1], 0.0, 5)
    assert alone == cast[: len(alone)]  # no other reader matters
