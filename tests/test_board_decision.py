"""The signed decision: what must hold before it is made, who signs, and that no letter of it changes unseen."""

import base64
import datetime
import json
from collections.abc import Callable
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from pydantic import ValidationError

from chambit.core import digest
from chambit.review.board import decision, dsse, keys
from chambit.review.board.ballot import Choice, Vote
from chambit.review.board.decision import Decision, Digests, Meeting
from chambit.review.board.dsse import Envelope, Signature
from chambit.review.board.keys import KnownKey
from chambit.review.board.words import BoardError
from test_board_members import BOARD, CREATORS, DAY, NOW, RULES, WHY, A, B, both, condition, question, vote, whats

LATER = NOW + datetime.timedelta(hours=2)
DIGESTS = Digests(study="1" * 64, policy="2" * 64, evidence="3" * 64, dossier="4" * 64, candidate=A)
SECRET = "a passphrase of some length"


def public(key: Ed25519PrivateKey) -> str:
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return key.public_key().public_bytes(serialization.Encoding.PEM, form).decode()


def own_key(member: str) -> Ed25519PrivateKey:
    """The same key for a member on each run."""
    return Ed25519PrivateKey.from_private_bytes(bytes.fromhex(digest.of_bytes(member.encode())))


KEYS = {item.member: own_key(item.member) for item in BOARD}
KNOWN = tuple(KnownKey(member=name, public=public(key), begins=DAY) for name, key in KEYS.items())


def meeting(choice: Choice = Choice.APPROVE, voters: int = 5, **more: Any) -> Meeting:
    ballots = [vote(f"m{n}", choice) for n in range(1, voters + 1)]
    return Meeting(DIGESTS, 2, BOARD, ballots, CREATORS)._replace(**more)


def decided(given: Meeting | None = None, **more: Any) -> Decision:
    given = given or meeting()
    tier = "gated" if given.ballots[0].choice.approves else ""
    return decision.document(given, RULES, **{"decided": LATER, "tier": tier} | more)


def signed(made: Decision, *members: str) -> Envelope:
    envelope = decision.envelope(made)
    for name in members:
        envelope = decision.signed(envelope, KEYS[name], KNOWN)
    return envelope


GOOD = signed(decided(), "m1", "m2", "m3")


def refusal(work: Callable[[], object]) -> list[str]:
    with pytest.raises(BoardError) as caught:
        work()
    assert both(caught.value.said)
    assert all(both(item.reason) and both(item.remedy) for item in caught.value.unmet)
    return whats(caught.value.unmet)


def verify(envelope: Envelope, **more: Any) -> decision.Signed:
    return decision.verified(envelope, more.pop("known", KNOWN), more.pop("rules", RULES), **more)


# --- making it


def test_a_decision_holds_what_it_rests_on() -> None:
    made = decided()
    assert made.digests == DIGESTS
    assert (made.outcome, made.tier, made.attempt, made.previous) == (Choice.APPROVE, "gated", 2, decision.FIRST)
    assert (made.begins, made.until) == (DAY, DAY + datetime.timedelta(days=RULES.valid_days))
    assert list(made.ballots) == ["m1", "m2", "m3", "m4", "m5"]
    assert [seat.member for seat in made.board if not seat.voted] == ["m6"]
    assert len(made.tallies) == 6


def test_the_statement_is_in_toto_version_1() -> None:
    record = json.loads(GOOD.body)
    assert set(record) == {"_type", "subject", "predicateType", "predicate"}
    assert record["_type"] == "https://in-toto.io/Statement/v1"
    assert record["subject"] == [{"name": "release-candidate", "digest": {"sha256": A}}]
    assert record["predicateType"].startswith("urn:")
    assert GOOD.payload_type == "application/vnd.in-toto+json"
    assert GOOD.body == digest.canonical(record).encode()


@pytest.mark.parametrize("choice", [c for c in Choice if not c.approves])
def test_what_is_no_approval_has_no_tier_and_no_days(choice: Choice) -> None:
    made = decided(meeting(choice))
    assert (made.outcome, made.tier, made.begins, made.until) == (choice, "", None, None)
    with pytest.raises(ValidationError, match="and nothing else"):
        Decision.model_validate(made.model_dump() | {"tier": "open", "begins": DAY, "until": DAY})
    with pytest.raises(ValidationError, match="and nothing else"):
        Decision.model_validate(decided().model_dump() | {"until": None})


def abstaining() -> list[Any]:
    return [vote(f"m{n}", votes={4: Vote.ABSTAINS} if n < 4 else {}) for n in range(1, 6)]


REFUSED = [
    (meeting(appointments=BOARD[:4]), {}, ["size"]),
    (meeting(ballots=[]), {}, ["no_votes"]),
    (meeting(voters=3), {}, ["quorum_met", "expertise_met"]),
    (meeting(ballots=[vote(f"m{n}") for n in (1, 3, 4, 5)]), {}, ["expertise_met"]),
    (meeting(ballots=abstaining()), {}, ["indicators_decided"]),
    (meeting(questions=[question()]), {}, ["questions_resolved"]),
    (meeting(), {"tier": ""}, ["tier_missing"]),
    (meeting(), {"tier": "open"}, ["tier_too_open"]),
    (meeting(Choice.CONDITIONS), {}, ["conditions_missing"]),
    (meeting(), {"set_conditions": [condition()]}, ["conditions_without"]),
    (meeting(Choice.CONDITIONS), {"set_conditions": [condition(due=DAY - datetime.timedelta(days=9))]}, ["due"]),
    (meeting(since=LATER), {}, ["no_votes"]),
]


@pytest.mark.parametrize(("given", "more", "what"), REFUSED, ids=[str(row[2]) for row in REFUSED])
def test_nothing_is_signed_while_something_is_in_the_way(given: Meeting, more: dict[str, Any], what: list[str]) -> None:
    arguments = {"decided": LATER, "tier": "gated"} | more
    assert refusal(lambda: decision.document(given, RULES, **arguments)) == what


def test_an_open_question_stops_no_return() -> None:
    assert decided(meeting(Choice.RETURN_3, questions=[question()])).outcome is Choice.RETURN_3


def test_conditions_and_opinions_are_in_it() -> None:
    voters = [vote(f"m{n}", Choice.CONDITIONS) for n in range(1, 5)]
    voters.append(vote("m5", Choice.REJECT, minority="not for this purpose"))
    made = decided(meeting(ballots=voters), set_conditions=[condition()])
    assert made.conditions == (condition(),)
    assert [(item.member, item.text) for item in made.opinions] == [("m5", "not for this purpose")]


# --- signing and verifying


def test_a_signed_decision_is_verified() -> None:
    found = verify(GOOD, day=DAY, candidate=A)
    assert found.decision == decided()
    assert found.signers == ("m1", "m2", "m3")
    assert found.digest == digest.of_bytes(GOOD.body)
    assert verify(dsse.read(GOOD.json_text())) == found


def test_another_time_zone_is_kept() -> None:
    seoul = datetime.timezone(datetime.timedelta(hours=9))
    made = decided(decided=LATER.astimezone(seoul))
    assert verify(signed(made, "m1", "m2", "m3")).decision.decided == LATER


def test_the_encoding_that_is_signed() -> None:
    """The example of the protocol; lengths are in bytes; an empty body keeps its blank."""
    assert dsse.pae("http://example.com/HelloWorld", b"hello world") == (
        b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
    )
    assert dsse.pae("가", b"") == "DSSEv1 3 가 0 ".encode()


def test_url_safe_base64_is_read_and_no_keyid_is_needed() -> None:
    rows = tuple(
        Signature(sig=base64.urlsafe_b64encode(base64.b64decode(item.sig)).decode()) for item in GOOD.signatures
    )
    body = base64.urlsafe_b64encode(GOOD.body).decode()
    assert verify(GOOD.model_copy(update={"payload": body, "signatures": rows})).signers == ("m1", "m2", "m3")


def other(letter: str) -> str:
    return "A" if letter != "A" else "B"


def test_no_letter_of_the_payload_changes_unseen() -> None:
    last = len(GOOD.payload)
    for place in {*range(0, last, 11), *range(last - 40, last)}:
        letter = GOOD.payload[place]
        changed = GOOD.payload[:place] + other(letter) + GOOD.payload[place + 1 :]
        what = refusal_quick(GOOD.model_copy(update={"payload": changed}))
        assert what in ({"tampered"}, {"encoding"}), place


def test_no_byte_of_the_body_changes_unseen() -> None:
    body = GOOD.body
    for place in range(0, len(body), 23):
        changed = body[:place] + bytes([body[place] ^ 1]) + body[place + 1 :]
        text = base64.b64encode(changed).decode()
        assert refusal_quick(GOOD.model_copy(update={"payload": text})) == {"tampered"}, place


def test_no_letter_of_a_signature_or_its_keyid_changes_unseen() -> None:
    for number, signature in enumerate(GOOD.signatures):
        for field in ("sig", "keyid"):
            text = getattr(signature, field)
            for place, letter in enumerate(text):
                row = signature.model_copy(update={field: text[:place] + other(letter) + text[place + 1 :]})
                rows = (*GOOD.signatures[:number], row, *GOOD.signatures[number + 1 :])
                what = refusal_quick(GOOD.model_copy(update={"signatures": rows}))
                assert what <= {"tampered", "encoding"}, (number, field, place)


def refusal_quick(envelope: Envelope) -> set[str]:
    with pytest.raises(BoardError) as caught:
        verify(envelope)
    return set(whats(caught.value.unmet))


def test_another_type_does_not_verify() -> None:
    assert set(refusal(lambda: verify(GOOD.model_copy(update={"payload_type": "application/json"})))) == {"tampered"}


def resigned(payload_type: str, body: bytes) -> Envelope:
    envelope = dsse.sealed(payload_type, body)
    for name in ("m1", "m2", "m3"):
        envelope = dsse.signed(envelope, KEYS[name])
    return envelope


def test_something_else_well_signed_is_no_decision() -> None:
    assert refusal(lambda: verify(resigned("application/json", GOOD.body))) == ["payload_type"]
    record = json.loads(GOOD.body)
    for wrong in (
        b"no json",
        b"[]",
        b"{}",
        b"[" * 3000,
        digest.canonical(record | {"extra": 1}).encode(),
        digest.canonical(record | {"predicateType": "urn:other"}).encode(),
        digest.canonical(record | {"subject": [{"name": "x", "digest": {"sha256": B}}]}).encode(),
        json.dumps(record).encode(),  # the same in another spelling
    ):
        assert refusal(lambda wrong=wrong: verify(resigned(decision.PAYLOAD_TYPE, wrong))) == ["not_a_decision"]


@pytest.mark.parametrize(
    "text", ["", "no", "[]", '{"payload": 1}', '{"payload": "", "payloadType": "", "more": 1}', "[" * 3000]
)
def test_what_is_no_envelope(text: str) -> None:
    assert refusal(lambda: dsse.read(text)) == ["not_an_envelope"]


def test_unknown_keys_are_told() -> None:
    assert refusal(lambda: verify(GOOD, known=KNOWN[1:])) == ["unknown_key"]


def test_too_few_signatures() -> None:
    made = decided()
    for members in ((), ("m1",), ("m1", "m2")):
        assert refusal(lambda members=members: verify(signed(made, *members))) == ["too_few"]


def test_one_member_is_counted_once() -> None:
    second = Ed25519PrivateKey.generate()
    known = (*KNOWN, KnownKey(member="m1", public=public(second), begins=DAY))
    envelope = dsse.signed(signed(decided(), "m1", "m2"), second)
    assert refusal(lambda: verify(envelope, known=known)) == ["too_few"]
    twice = GOOD.model_copy(update={"signatures": (GOOD.signatures[0],) * 3})
    assert refusal(lambda: verify(twice)) == ["too_few"]


def test_nobody_signs_twice_or_without_a_vote() -> None:
    assert refusal(lambda: decision.signed(GOOD, KEYS["m1"], KNOWN)) == ["signed_already"]
    assert refusal(lambda: decision.signed(GOOD, KEYS["m6"], KNOWN)) == ["not_a_voter"]
    assert refusal(lambda: verify(dsse.signed(GOOD, KEYS["m6"]))) == ["not_a_voter"]
    assert refusal(lambda: decision.signed(GOOD, Ed25519PrivateKey.generate(), KNOWN)) == ["own_key_unknown"]


def test_nobody_signs_what_was_changed_before() -> None:
    changed = GOOD.model_copy(update={"payload": base64.b64encode(GOOD.body + b" ").decode()})
    assert set(refusal(lambda: decision.signed(changed, KEYS["m4"], KNOWN))) == {"tampered"}


@pytest.mark.parametrize(
    "days",
    [
        {"begins": DAY + datetime.timedelta(days=1)},
        {"begins": DAY - datetime.timedelta(days=9), "until": DAY - datetime.timedelta(days=1)},
    ],
)
def test_a_key_signs_on_its_days_only(days: dict[str, datetime.date]) -> None:
    known = (KNOWN[0].model_copy(update=days), *KNOWN[1:])
    assert refusal(lambda: verify(GOOD, known=known)) == ["key_expired"]


def test_an_approval_ends() -> None:
    last = DAY + datetime.timedelta(days=RULES.valid_days)
    assert verify(GOOD, day=last).signers
    assert refusal(lambda: verify(GOOD, day=last + datetime.timedelta(days=1))) == ["expired"]


def test_a_decision_speaks_of_one_candidate() -> None:
    assert refusal(lambda: verify(GOOD, candidate=B)) == ["other_candidate"]


def test_decisions_are_chained() -> None:
    first = verify(signed(decided(meeting(Choice.RETURN_3)), "m1", "m2", "m3"))
    second = verify(signed(decided(previous=first.digest), "m1", "m2", "m3"))
    assert decision.chained([first, second]) == ()
    assert decision.chained([]) == ()
    assert whats(decision.chained([second])) == ["chain"]
    assert whats(decision.chained([first, first])) == ["chain"]


# --- keys


def test_a_key_is_kept_under_a_passphrase() -> None:
    made = keys.generate(SECRET, RULES)
    assert b"ENCRYPTED PRIVATE KEY" in made.private
    known = KnownKey(member="m1", public=made.public, begins=DAY)
    assert keys.key_id(keys.opened(made.private, SECRET).public_key()) == known.id
    assert len(known.id) == 64


def _plain(key: Any) -> bytes:
    form = serialization.PrivateFormat.PKCS8
    return key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())


def test_keys_that_cannot_be_used() -> None:
    made = keys.generate(SECRET, RULES)
    assert refusal(lambda: keys.generate("short", RULES)) == ["passphrase_short"]
    assert refusal(lambda: keys.opened(made.private, SECRET + "x")) == ["not_opened"]
    assert refusal(lambda: keys.opened(b"nothing", SECRET)) == ["not_opened"]
    assert refusal(lambda: keys.opened(made.private, "")) == ["not_encrypted"]
    assert refusal(lambda: keys.opened(_plain(Ed25519PrivateKey.generate()), SECRET)) == ["not_encrypted"]
    other = generate_private_key(SECP256R1()).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(SECRET.encode()),
    )
    assert refusal(lambda: keys.opened(other, SECRET)) == ["kind"]


def test_only_ed25519_keys_are_known() -> None:
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    other = generate_private_key(SECP256R1()).public_key().public_bytes(serialization.Encoding.PEM, form).decode()
    for wrong, why in ((other, "no Ed25519 key"), ("nothing", "public")):
        with pytest.raises(ValidationError, match=why):
            KnownKey(member="m1", public=wrong, begins=DAY)


def test_reasons_are_long_enough_for_these_tests() -> None:
    assert len(WHY) >= RULES.reason_least
