"""Disposal: what was sealed cannot be read any more, and a certificate says so that can be checked."""

import datetime
import json
import os
import re
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from chambit.commands import dispose as dispose_command
from chambit.commands import seal as seal_command
from chambit.commands import unseal as unseal_command
from chambit.core.errors import InputError
from chambit.core.ledger import Ledger
from chambit.prepare import custody, disposal, envelope
from vaults import CONTENTS, Place, read


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def _disposed(place: Place, **more: object) -> disposal.Certificate:
    return disposal.dispose(place.sealed, place.key, "김 책임 / Kim", "study closed", **more)  # type: ignore[arg-type]


def test_what_is_disposed_of_cannot_be_read_and_the_certificate_says_so(place: Place) -> None:
    manifest, work = place.seal().manifest, place.root / "out" / "work"
    ledger = Ledger.beside(work)
    head = ledger.add_event("study.frozen", {})
    now = datetime.datetime(2026, 5, 1, 9, tzinfo=datetime.timezone(datetime.timedelta(hours=9)))
    done = _disposed(place, work=work.parent, now=now)
    assert (done.files, done.bytes) == (6, sum(map(len, CONTENTS.values())))
    assert (done.manifest, done.ledger_head, done.disposed) == (manifest, head, "2026-05-01T00:00:00+00:00")
    assert done.test_read.startswith("failed: ")
    assert not place.key.exists()
    with pytest.raises(InputError, match="its key was destroyed; nothing can read it"):
        place.unseal()
    with pytest.raises(InputError, match="nothing to dispose of"):
        _disposed(place)
    assert ledger.events("custody.disposed")[0]["body"]["certificate"] == done.digest
    assert disposal.check(place.sealed, work=work) == []
    page = (place.sealed / "disposal.html").read_text()
    for text in (done.digest, manifest, "NIST SP 800-88", "원본 폐기 확인서", "김 책임", "6 개", done.key):
        assert text in page
    assert "://" not in page
    assert not (place.sealed / "disposal.begun.json").exists()
    assert not any(name in page for name in CONTENTS)
    ledger.close()


def test_a_certificate_that_was_altered_is_found(place: Place, tmp_path: Path) -> None:
    place.seal()
    _disposed(place)
    path = place.sealed / "disposal.json"
    raw = json.loads(path.read_text())
    path.write_text(json.dumps(raw | {"files": 7}))
    assert ["was altered" in problem.what for problem in disposal.check(place.sealed)] == [True]
    forged = disposal.Certificate.model_validate({k: v for k, v in raw.items() if k != "sha256"} | {"files": 7})
    path.write_text(json.dumps(forged.model_dump() | {"sha256": forged.digest}))
    assert disposal.check(place.sealed) == []  # a digest alone proves nothing: the ledger does
    Ledger.beside(tmp_path / "work").close()
    assert "does not record" in disposal.check(place.sealed, work=tmp_path / "work")[0].what
    (place.sealed / "manifest").write_bytes(b"other")
    assert "not the manifest" in disposal.check(place.sealed)[0].what
    path.write_text("[]")
    assert "is not a certificate" in disposal.check(place.sealed)[0].what
    path.unlink()
    with pytest.raises(InputError, match="no certificate"):
        disposal.check(place.sealed)


def test_a_copy_of_the_key_makes_the_disposal_void(place: Place) -> None:
    place.seal()
    kept = place.root / "kept"
    shutil.copy2(place.key, kept)
    _disposed(place)
    with pytest.raises(InputError, match="the disposal is void while a copy is left"):
        custody.unseal(place.sealed, place.root / "back", kept)


def test_a_disposal_that_is_refused_destroys_nothing(place: Place) -> None:
    place.seal()
    before = place.key.read_bytes()
    other = place.root / "safe" / "other"
    envelope.make_key(other)
    with pytest.raises(InputError, match="does not fit"):
        disposal.dispose(place.sealed, other, "Kim", "closed")
    with pytest.raises(InputError, match="holds no ledger"):
        _disposed(place, work=place.root)
    with pytest.raises(InputError, match="names who and why"):
        disposal.dispose(place.sealed, place.key, " ", "")
    assert place.key.read_bytes() == before
    assert other.exists()
    assert place.unseal() == CONTENTS


@pytest.mark.parametrize("overwritten", [False, True])
def test_a_disposal_that_was_stopped_comes_to_its_end(
    place: Place, overwritten: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.seal()

    def stopped(keyfile: Path) -> None:
        if overwritten:
            keyfile.write_bytes(envelope.ERASED)
        else:
            keyfile.unlink()
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(disposal, "destroy", stopped)
        with pytest.raises(KeyboardInterrupt):
            _disposed(place)
    stranger = place.root / "photo.jpg"
    stranger.write_bytes(b"a picture")
    with pytest.raises(InputError):  # a file that is no key is not touched
        disposal.dispose(place.sealed, stranger, "Kim", "closed")
    assert stranger.read_bytes() == b"a picture"
    assert _disposed(place).files == 6
    assert not place.key.exists()
    assert disposal.check(place.sealed) == []


def test_the_key_is_overwritten_before_it_is_unlinked(place: Place) -> None:
    place.seal()
    os.link(place.key, place.root / "second name")  # another name of the same bytes
    _disposed(place)
    assert (place.root / "second name").read_bytes() == envelope.ERASED
    with pytest.raises(InputError, match="key was destroyed"):
        custody.unseal(place.sealed, place.root / "back", place.root / "second name")


# --- the commands


def test_the_three_commands(place: Place) -> None:
    runner = CliRunner()
    here, vault, key = str(place.folder), str(place.sealed), str(place.key)
    said = runner.invoke(seal_command.command, [here, "--out", vault, "--key", key], catch_exceptions=False).output
    assert "6 files" in said
    assert "were not deleted" in said
    said = runner.invoke(unseal_command.command, [vault, "--key", key, "--out", str(place.root / "b")]).output
    assert re.search(r"6 files, [\d,]+ bytes are in", said)
    assert read(place.root / "b") == CONTENTS
    arguments = [vault, "--key", key, "--by", "Kim", "--reason", "closed"]
    assert runner.invoke(dispose_command.command, arguments, input="n\n").exit_code == 1
    assert place.key.exists()
    said = runner.invoke(dispose_command.command, [*arguments, "--yes"]).output
    assert "can be read no more" in said
    assert not place.key.exists()
