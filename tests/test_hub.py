"""The hub without its pages: the trail cannot be changed unseen, accounts, sessions, parts, on both databases."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pyotp
import pytest
import sqlalchemy as sql

from chambit.core import bound
from chambit.core.errors import InputError, StoreError
from chambit.hub import accounts, runs, sessions, settings, studies, trail
from chambit.hub.database import Database
from chambit.hub.refusals import HubError, NotAllowedError, NotThereError
from chambit.hub.settings import Life
from chambit.hub.tables import event, metadata
from hubs import PASSWORD, cheap_hashes, fresh, postgresql

__all__ = ["cheap_hashes"]  # a fixture of every test here

pytest.importorskip("alembic")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with postgresql(tmp_path_factory.mktemp("postgresql")) as url:
        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    if request.param == "sqlite":
        made = fresh(f"sqlite:///{tmp_path / 'hub.sqlite'}")
    else:
        url = request.getfixturevalue("server")
        cleaned = sql.create_engine(url)
        with cleaned.begin() as connection:
            connection.exec_driver_sql("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
        cleaned.dispose()
        made = fresh(url)
    yield made
    made.close()


def person(database: Database, login: str, *roles: str) -> accounts.Account:
    return accounts.create(database, trail.HUB, login, login.title(), roles, PASSWORD)


def a_run(folder: Path, images: int = 3, title: str = "연구 / A Study") -> runs.Run:
    """The files of a finished run, without a run."""
    (folder / "candidate" / "well").mkdir(parents=True)
    for k in range(images):
        (folder / "candidate" / "well" / f"S{k:06d}.png").write_bytes(bytes([k]) * 40)
    (folder / "candidate" / "labels.csv").write_text("file\n")
    (folder / "evidence.json").write_text("[]")
    (folder / "dossier.html").write_text("<html>")
    (folder / "dossier.json").write_text(f'{{"title": "{title}"}}')
    policy = '{"name": "default", "version": 1, "digest": "d"}'
    said = f'"candidate": "{bound.digest_of(folder / "candidate")}", "study": "s"'
    (folder / "verdict.json").write_text(f'{{"verdict": "CONDITIONAL", "policy": {policy}, {said}}}')
    return runs.read(folder)


# ---------------------------------------------------------------------------------------------- database


def test_migrations_make_the_tables_that_the_code_names(database: Database) -> None:
    from alembic.autogenerate import compare_metadata
    from alembic.runtime.migration import MigrationContext

    with database.reading() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, metadata) == []


def test_upgrading_twice_changes_nothing(database: Database) -> None:
    person(database, "someone", "steward")
    before = database.revision()
    database.upgrade()
    assert database.revision() == before
    assert accounts.count(database) == 1


def test_a_newer_database_is_left_alone(tmp_path: Path) -> None:
    database = fresh(f"sqlite:///{tmp_path / 'hub.sqlite'}")
    with database.writing() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(StoreError, match="newer version"):
        database.upgrade()


def test_a_transaction_is_kept_whole_or_not_at_all(database: Database) -> None:
    def fails() -> None:
        with database.writing() as connection:
            trail.append(connection, trail.HUB, "a", "", {})
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fails()
    assert trail.head(database) == (0, trail.FIRST)


# ------------------------------------------------------------------------------------------------- trail


def test_an_untouched_trail_holds(database: Database) -> None:
    for k in range(5):
        with database.writing() as connection:
            trail.append(connection, trail.HUB, "act", "about", {"k": k, "글": "한글", "half": 0.1})
    assert trail.verify(database) is None
    assert [one.body["k"] for one in trail.events(database)] == [0, 1, 2, 3, 4]
    assert [one.number for one in trail.newest(database, limit=2)] == [5, 4]
    assert trail.verify(database, trail.head(database)) is None


@pytest.mark.parametrize(
    "what", ["UPDATE event SET body = '{}' WHERE number = 2", "DELETE FROM event WHERE number = 2"]
)
def test_the_database_refuses_to_change_the_trail(database: Database, what: str) -> None:
    _three_acts(database)
    with pytest.raises(sql.exc.DatabaseError, match="added, never changed"), database.writing() as connection:
        connection.exec_driver_sql(what)
    assert trail.verify(database) is None


@pytest.mark.parametrize(
    ("change", "number", "why"),
    [
        ("UPDATE event SET body = '{\"k\": 9}' WHERE number = 2", 2, "altered"),
        ("UPDATE event SET actor = 'another' WHERE number = 2", 2, "altered"),
        ("UPDATE event SET time = time + 1 WHERE number = 3", 3, "altered"),
        ("DELETE FROM event WHERE number = 2", 2, "missing"),
        ("DELETE FROM event WHERE number = 3", 3, "cut off"),
    ],
)
def test_who_takes_the_triggers_away_is_found(database: Database, change: str, number: int, why: str) -> None:
    head = _three_acts(database)
    with database.writing() as connection:
        _without_triggers(connection)
        connection.exec_driver_sql(change)
    broken = trail.verify(database, head)
    assert broken is not None
    assert (broken.number, why in broken.why) == (number, True)


def test_a_tail_rewritten_with_right_hashes_is_found_by_a_kept_head(database: Database) -> None:
    head = _three_acts(database)
    with database.writing() as connection:
        _without_triggers(connection)
        connection.execute(event.delete().where(event.c.number == 3))
        trail.append(connection, trail.HUB, "act", "", {"k": 77})
    assert trail.verify(database) is None
    broken = trail.verify(database, head)
    assert broken is not None
    assert broken.number == 3


def test_many_writers_make_one_chain(database: Database) -> None:
    def write() -> None:
        for k in range(10):
            with database.writing() as connection:
                trail.append(connection, trail.HUB, "act", "", {"k": k})

    threads = [threading.Thread(target=write) for _ in range(8)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert trail.head(database)[0] == 80
    assert trail.verify(database) is None


def _three_acts(database: Database) -> tuple[int, str]:
    for k in range(3):
        with database.writing() as connection:
            trail.append(connection, trail.HUB, "act", "", {"k": k})
    return trail.head(database)


def _without_triggers(connection: sql.Connection) -> None:
    if connection.dialect.name == "sqlite":
        for name in ("update", "delete"):
            connection.exec_driver_sql(f"DROP TRIGGER event_no_{name}")
    else:
        connection.exec_driver_sql("DROP TRIGGER event_no_change ON event")


# ---------------------------------------------------------------------------------------------- accounts


def test_a_password_opens_its_account_alone(database: Database) -> None:
    made = person(database, "Kim.Steward", "steward", "inspector")
    person(database, "lee", "reader")
    assert made.login == "kim.steward"
    assert accounts.authenticated(database, " KIM.steward ", PASSWORD) == made
    for login, password in (("kim.steward", PASSWORD + "x"), ("nobody", PASSWORD), ("lee", "")):
        with pytest.raises(HubError, match="login or the password is wrong"):
            accounts.authenticated(database, login, password)
    with database.reading() as connection:
        kept = connection.exec_driver_sql("SELECT password FROM account").scalars().all()
    assert all(one.startswith("$argon2id$") and PASSWORD not in one for one in kept)


def test_passwords_are_hashed_as_rfc_9106_advises(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.undo()  # of `cheap_hashes`
    database = fresh(f"sqlite:///{tmp_path / 'hub.sqlite'}")
    person(database, "kim", "steward")
    with database.reading() as connection:
        kept = connection.exec_driver_sql("SELECT password FROM account").scalar_one()
    assert kept.startswith("$argon2id$v=19$m=65536,t=3,p=4$")


def test_wrong_passwords_make_an_account_wait_longer_each_time(database: Database) -> None:
    person(database, "kim", "steward")
    now, waits = 1000.0, []
    for _ in range(9):
        with pytest.raises(HubError) as refused:
            accounts.authenticated(database, "kim", "wrong wrong wrong", now)
        waits.append(refused.value.wait)
        now += refused.value.wait
    assert waits[:5] == [0] * 5
    assert waits[5] == 30
    now += 10_000
    assert accounts.authenticated(database, "kim", PASSWORD, now).login == "kim"
    assert [one.body["seconds"] for one in trail.events(database) if one.kind == "account.waits"][:2] == [30, 60]


@pytest.mark.parametrize("password", ["short", "x" * 300, "kimkimkimkimkim", "aaaaaaaaaaaaaaaa", "my kim password 1"])
def test_weak_passwords_are_refused(database: Database, password: str) -> None:
    with pytest.raises(HubError):
        accounts.create(database, trail.HUB, "kim", "Kim", ["steward"], password)
    assert accounts.count(database) == 0


@pytest.mark.parametrize(
    ("login", "name", "roles"),
    [
        ("k", "Kim", ["steward"]),
        ("kim lee", "Kim", ["steward"]),
        ("kim", " ", ["steward"]),
        ("kim", "Kim", []),
        ("kim", "Kim", ["emperor"]),
        ("kim", "Kim", ["administrator", "steward"]),
    ],
)
def test_accounts_that_cannot_be(database: Database, login: str, name: str, roles: list[str]) -> None:
    with pytest.raises(HubError):
        accounts.create(database, trail.HUB, login, name, roles, PASSWORD)


def test_a_login_is_taken_once(database: Database) -> None:
    person(database, "kim", "steward")
    with pytest.raises(HubError, match="already"):
        person(database, "KIM", "reader")
    assert len(trail.events(database)) == 1


def test_a_shut_account_stays_out_and_its_sessions_end(database: Database) -> None:
    made = person(database, "kim", "steward")
    token = sessions.open_for(database, made)
    accounts.change(database, trail.HUB, made.id, disabled=True)
    assert sessions.of_token(database, token, Life()) is None
    with pytest.raises(HubError, match="wrong"):
        accounts.authenticated(database, "kim", PASSWORD)


def test_the_second_factor_is_asked_for_and_each_code_is_good_once(database: Database) -> None:
    made = person(database, "kim", "steward")
    secret, address = accounts.new_secret(database, made.id)
    assert address.startswith("otpauth://totp/")
    with pytest.raises(HubError, match="code is wrong"):
        accounts.enrol(database, made.id, secret, "000000")
    accounts.enrol(database, made.id, secret, pyotp.TOTP(secret).now())
    owner = accounts.authenticated(database, "kim", PASSWORD)
    token = sessions.open_for(database, owner, now=2_000_000.0)
    there = sessions.of_token(database, token, Life(), now=2_000_001.0)
    assert there is not None
    assert not there.complete
    code = pyotp.TOTP(secret).at(2_000_001)
    with pytest.raises(HubError):
        sessions.completed(database, there, "123456" if code != "123456" else "654321", now=2_000_001.0)
    sessions.completed(database, there, code, now=2_000_001.0)
    done = sessions.of_token(database, token, Life(), now=2_000_002.0)
    assert done is not None
    assert done.complete
    with pytest.raises(HubError, match="code is wrong"):
        sessions.completed(database, there, code, now=2_000_003.0)


def test_sessions_end_by_rest_by_age_and_by_hand(database: Database) -> None:
    made = person(database, "kim", "steward")
    life = Life(idle=100, whole=1000)
    rests, ages, ended = (sessions.open_for(database, made, now=0.0) for _ in range(3))
    assert sessions.of_token(database, rests, life, now=101.0) is None
    for now in range(90, 1000, 90):
        assert sessions.of_token(database, ages, life, now=float(now)) is not None
    assert sessions.of_token(database, ages, life, now=1001.0) is None
    there = sessions.of_token(database, ended, life, now=1.0)
    assert there is not None
    sessions.end(database, there)
    assert sessions.of_token(database, ended, life, now=2.0) is None
    assert sessions.sweep(database, life, now=5000.0) == 2
    with database.reading() as connection:
        assert ages not in connection.exec_driver_sql("SELECT token FROM session").scalars().all()


# ----------------------------------------------------------------------------------------------- studies


def test_registering_binds_the_set_and_names_the_creator(database: Database, tmp_path: Path) -> None:
    steward = person(database, "kim", "steward")
    run = a_run(tmp_path / "run")
    made = studies.register(database, steward.id, run, "generated")
    assert (made.id, made.candidate, made.title) == ("a-study", run.candidate, "연구 / A Study")
    assert studies.parts(database, made.id) == {steward.id: {"creator"}}
    with pytest.raises(HubError, match="already"):
        studies.register(database, steward.id, run, "generated")
    other = studies.register(database, steward.id, a_run(tmp_path / "other"), "generated")
    assert other.id == "a-study-2"
    assert {one.id for one in studies.listed(database)} == {"a-study", "a-study-2"}
    with pytest.raises(NotThereError):
        studies.of(database, "nothing")


@pytest.mark.parametrize("thoroughly", [False, True])
def test_a_changed_added_or_missing_image_is_seen(database: Database, tmp_path: Path, thoroughly: bool) -> None:
    made = studies.register(database, trail.HUB, a_run(tmp_path / "run"), "generated")
    seen = tmp_path / "hub" / "seen.json"
    image = tmp_path / "run" / "candidate" / "well" / "S000001.png"
    assert studies.looked_at(database, made.id, seen, thoroughly)[1]
    before = image.read_bytes()
    image.write_bytes(before[:-1] + b"\xff")
    assert not studies.looked_at(database, made.id, seen, thoroughly)[1]
    image.write_bytes(before)
    assert studies.looked_at(database, made.id, seen, thoroughly)[1]
    (image.parent / "more.png").write_bytes(b"x")
    assert not studies.looked_at(database, made.id, seen, thoroughly)[1]
    (image.parent / "more.png").unlink()
    image.unlink()
    assert not studies.looked_at(database, made.id, seen, thoroughly)[1]


def test_a_byte_changed_behind_the_back_of_its_time_is_seen_by_a_thorough_look(tmp_path: Path) -> None:
    import os

    run = a_run(tmp_path / "run")
    seen = tmp_path / "seen.json"
    assert runs.candidate_digest(run.folder, seen) == run.candidate
    image = run.folder / "candidate" / "well" / "S000001.png"
    there = image.stat()
    with image.open("r+b") as file:
        file.write(b"\xfe")
    os.utime(image, ns=(there.st_atime_ns, there.st_mtime_ns))
    assert runs.candidate_digest(run.folder, seen) == run.candidate
    assert runs.candidate_digest(run.folder) != run.candidate


def test_a_link_in_the_candidate_is_refused(tmp_path: Path) -> None:
    run = a_run(tmp_path / "run")
    (run.folder / "candidate" / "well" / "link.png").symlink_to(tmp_path / "elsewhere.png")
    with pytest.raises(InputError, match="is a link"):
        runs.candidate_digest(run.folder)


def test_what_is_no_finished_run_is_refused_by_name(tmp_path: Path) -> None:
    run = a_run(tmp_path / "run")
    (run.folder / "dossier.json").unlink()
    with pytest.raises(InputError, match=r"dossier\.json is missing"):
        runs.read(run.folder)
    (run.folder / "dossier.json").write_text("{")
    with pytest.raises(InputError, match="cannot be read"):
        runs.read(run.folder)


@pytest.mark.parametrize(
    ("first", "second", "may"),
    [
        ("creator", "generator", True),
        ("generator", "member", False),
        ("creator", "reader", False),
        ("creator", "approver", False),
        ("member", "approver", False),
        ("member", "reader", True),
        ("inspector", "approver", False),
        ("approver", "generator", False),
    ],
)
def test_who_made_reviews_and_approves_are_different_people(
    database: Database, tmp_path: Path, first: str, second: str, may: bool
) -> None:
    one = person(database, "kim", "steward", "generator", "inspector", "reader", "member", "approver")
    made = studies.register(database, trail.HUB, a_run(tmp_path / "run"), "generated")
    studies.give_part(database, trail.HUB, made.id, one, first)
    if may:
        studies.give_part(database, trail.HUB, made.id, one, second)
        assert studies.parts(database, made.id)[one.id] == {first, second}
        studies.take_part(database, trail.HUB, made.id, one.id, second)
    else:
        with pytest.raises(HubError, match="different people"):
            studies.give_part(database, trail.HUB, made.id, one, second)
    assert studies.parts_of(database, one.id) == {made.id: {first}}


def test_a_part_needs_its_role(database: Database, tmp_path: Path) -> None:
    made = studies.register(database, trail.HUB, a_run(tmp_path / "run"), "generated")
    with pytest.raises(NotAllowedError, match="'member'"):
        studies.give_part(database, trail.HUB, made.id, person(database, "lee", "reader"), "member")


def test_another_state_of_the_set_becomes_the_one_under_review(database: Database, tmp_path: Path) -> None:
    made = studies.register(database, trail.HUB, a_run(tmp_path / "run"), "in_review")
    (tmp_path / "run" / "candidate" / "well" / "S000000.png").write_bytes(b"new")
    run = runs.read(tmp_path / "run")
    now = studies.renew(database, trail.HUB, made.id, run, "generated")
    assert (now.candidate, now.state) == (run.candidate, "generated")
    assert [one.digest for one in studies.candidates(database, made.id)] == [run.candidate, made.candidate]
    assert trail.newest(database)[0].body["before"] == made.candidate


# ---------------------------------------------------------------------------------------------- settings


def test_settings_name_every_mistake(tmp_path: Path) -> None:
    assert settings.load(tmp_path) == settings.Settings()
    (tmp_path / "hub.yaml").write_text("titel: x\nsession: {idle: -1}\naddress: ftp://x\n")
    with pytest.raises(InputError) as refused:
        settings.load(tmp_path)
    assert {"titel", "session.idle"} <= {one.where.rsplit(": ", 1)[1] for one in refused.value.problems}
    (tmp_path / "hub.yaml").write_text("address: https://hub.example\n")
    assert settings.load(tmp_path).secure
    (tmp_path / "hub.yaml").write_text("a: [")
    with pytest.raises(InputError, match="not YAML"):
        settings.load(tmp_path)
