"""Custody: what is sealed comes back bit for bit, or is named and not handed out."""

import os
import shutil
import signal
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import BinaryIO

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chambit.core import digest
from chambit.core.errors import InputError
from chambit.prepare import custody, envelope
from chambit.prepare.envelope import CHUNK, TAG
from vaults import CONTENTS, Place, read


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


@pytest.fixture(scope="module")
def vault(tmp_path_factory: pytest.TempPathFactory) -> Place:
    made = Place(tmp_path_factory.mktemp("vault"))
    made.seal()
    return made


# --- round trip


def test_what_is_sealed_comes_back(place: Place) -> None:
    done = place.seal()
    assert (done.files, done.bytes, done.before, done.removed) == (6, sum(map(len, CONTENTS.values())), 0, 0)
    assert done.key_made
    assert place.key.stat().st_mode & 0o777 == 0o600
    assert read(place.folder) == CONTENTS  # originals are not deleted
    assert place.unseal() == CONTENTS
    assert custody.unseal(place.sealed, place.root / "back", place.key).before == 6


def test_nothing_of_the_originals_shows(vault: Place) -> None:
    sealed = b"".join(read(vault.sealed).values()) + "\n".join(read(vault.sealed)).encode()
    for name, content in CONTENTS.items():
        assert name.encode() not in sealed
        assert Path(name).name.encode() not in sealed
        assert len(content) < 16 or content[:16] not in sealed
    secret = vault.key.read_text().strip().split(":")[1]
    assert bytes.fromhex(secret) not in sealed
    assert secret[:8] not in repr(envelope.read_key(vault.key))


@settings(deadline=None, max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from([0, 1, CHUNK - 1, CHUNK, CHUNK + 1]), st.binary(max_size=40), st.text(max_size=20))
def test_any_content_under_any_name(tmp_path: Path, size: int, content: bytes, name: str) -> None:
    key, path, wanted = envelope.Key(b"k" * 32), tmp_path / "x", content + bytes(max(0, size - len(content)))
    (tmp_path / "plain").write_bytes(wanted)
    with (tmp_path / "plain").open("rb") as source, path.open("wb") as target:
        assert envelope.write(key, name, source, target) == (len(wanted), digest.of_bytes(wanted))
    found = envelope.opened(key, path)
    assert (found.name, b"".join(found.pieces)) == (name, wanted)


def test_equal_files_are_not_seen_to_be_equal(tmp_path: Path) -> None:
    place = Place(tmp_path, {"a": b"same" * 100, "b": b"same" * 100})
    place.seal()
    one, two = (place.place(name).read_bytes() for name in "ab")
    assert len(one) == len(two)
    assert sum(x != y for x, y in zip(one, two, strict=True)) > 400


def test_a_name_that_is_not_utf8(tmp_path: Path) -> None:
    name = os.fsdecode("홍길동.dcm".encode("euc-kr"))
    place = Place(tmp_path, {name: b"x"})
    place.seal()
    assert place.unseal() == {name: b"x"}


# --- tampering


def _regions(path: Path) -> dict[str, int]:
    """A byte of each part of a sealed file."""
    fixed = len(envelope.MAGIC)
    size = path.stat().st_size
    return {
        "magic": 0, "fingerprint": fixed, "chunk": fixed + 10, "wrapped key": fixed + 20, "nonce": fixed + 54,
        "length of the name": fixed + 62, "name": fixed + 66, "first chunk": fixed + 400, "last byte": size - 1,
    }  # fmt: skip


@pytest.mark.parametrize("region", _regions(Path(__file__)))
@pytest.mark.parametrize("which", ["a/two.bin", "manifest"])
def test_a_changed_byte_is_found(vault: Place, region: str, which: str, tmp_path: Path) -> None:
    sealed = Path(shutil.copytree(vault.sealed, tmp_path / "sealed"))
    path = sealed / (vault.place(which).relative_to(vault.sealed) if which != "manifest" else which)
    data = bytearray(path.read_bytes())
    data[_regions(path)[region]] ^= 1
    path.write_bytes(data)
    with pytest.raises(InputError) as caught:
        custody.unseal(sealed, tmp_path / "back", vault.key)
    assert path.name in str(caught.value)
    assert "two.bin" not in str(caught.value)  # names may be patients'
    back = read(tmp_path / "back") if (tmp_path / "back").exists() else {}
    assert back == ({name: CONTENTS[name] for name in CONTENTS if name != which} if which != "manifest" else {})


def _body(data: bytes) -> int:
    """Where the chunks of a sealed file of two.bin begin."""
    return len(data) - (2 * CHUNK + 17 + 3 * TAG)


CUTS = {
    "a chunk is missing": lambda d, at: d[: at + CHUNK + TAG] + d[at + 2 * (CHUNK + TAG) :],
    "the end is cut": lambda d, at: d[: at + 2 * (CHUNK + TAG)],
    "chunks are swapped": lambda d, at: d[:at] + d[at + CHUNK + TAG : at + 2 * (CHUNK + TAG)]
    + d[at : at + CHUNK + TAG] + d[at + 2 * (CHUNK + TAG) :],
    "a chunk is doubled": lambda d, at: d[: at + CHUNK + TAG] + d[at:],
    "bytes are added": lambda d, at: d + bytes(20),
    "all chunks are gone": lambda d, at: d[:at],
    "the header is cut": lambda d, at: d[:40],
}  # fmt: skip


@pytest.mark.parametrize("cut", CUTS)
def test_a_cut_or_moved_chunk_is_found(vault: Place, cut: str, tmp_path: Path) -> None:
    sealed = Path(shutil.copytree(vault.sealed, tmp_path / "sealed"))
    path = sealed / vault.place("a/two.bin").relative_to(vault.sealed)
    path.write_bytes(CUTS[cut](path.read_bytes(), _body(path.read_bytes())))
    with pytest.raises(InputError, match="5 of 6 files are restored, 1 are not"):
        custody.unseal(sealed, tmp_path / "back", vault.key)
    assert "a/two.bin" not in read(tmp_path / "back")


def test_files_that_were_exchanged_are_found(place: Place) -> None:
    place.seal()
    one, two = place.place("a/one.bin"), place.place("a/two.bin")
    data = one.read_bytes()
    one.write_bytes(two.read_bytes())
    two.write_bytes(data)
    with pytest.raises(InputError, match="another file than the manifest says") as caught:
        place.unseal()
    assert len(caught.value.problems) == 2
    two.unlink()
    with pytest.raises(InputError, match="is missing"):
        place.unseal()
    (place.sealed / "manifest").write_bytes(one.read_bytes())
    with pytest.raises(InputError, match="another sealed file under this name"):
        place.unseal()


def test_an_older_version_of_a_file_is_found(place: Place) -> None:
    first = place.seal()
    old = place.place("labels.csv").read_bytes()
    shutil.rmtree(place.sealed)
    (place.folder / "labels.csv").write_bytes(b"file,subject\nx,1\n")
    assert place.seal().manifest != first.manifest
    place.place("labels.csv").write_bytes(old)
    with pytest.raises(InputError, match="another version"):
        place.unseal()


# --- keys


@pytest.mark.parametrize(
    ("where", "what"),
    [
        ("data/originals/key", "inside what it seals"),
        ("vault/sealed/key", "inside what it seals"),
        ("data/key", "beside what it seals"),
        ("vault/key", "beside what it seals"),
        ("project/key", "beside a study"),
    ],
)
def test_a_key_that_lies_too_near(place: Place, where: str, what: str) -> None:
    (place.root / "project").mkdir()
    (place.root / "project" / "study.yaml").write_text("# a study\nchambit: 1\n")
    with pytest.raises(InputError, match=what):
        custody.seal(place.folder, place.sealed, place.root / where)
    assert not place.sealed.exists()
    assert not (place.root / where).exists()


def test_a_key_that_cannot_be_used(place: Place, tmp_path: Path) -> None:
    place.seal()
    other = tmp_path / "safe" / "other"
    envelope.make_key(other)
    for call in (lambda: place.seal(), lambda: place.unseal()):
        place.key, kept = other, place.key
        with pytest.raises(InputError, match="does not fit"):
            call()
        place.key = kept
        place.key.chmod(0o640)
        with pytest.raises(InputError, match="chmod 600"):
            call()
        place.key.chmod(0o600)
    link = tmp_path / "safe" / "link"
    link.symlink_to(place.key)
    other.write_text(place.key.read_text().strip()[:-1] + "\n")
    text = other.read_text()
    missing = tmp_path / "safe" / "gone"
    for path, what in ((link, "is a link"), (other, "is not a key"), (missing, "no such key file")):
        with pytest.raises(InputError, match=what) as caught:
            custody.unseal(place.sealed, tmp_path / "back", path)
        assert text.split(":")[1][:8] not in str(caught.value)
    with pytest.raises(InputError, match="no such key file"):  # no new key is made for what is sealed
        custody.seal(place.folder, place.sealed, missing)
    with pytest.raises(InputError, match="cannot be made"):
        envelope.make_key(place.key)


# --- what cannot be sealed, and going on


def test_what_is_not_a_file_is_refused(place: Place) -> None:
    (place.folder / "환자 이름").symlink_to(place.folder / "labels.csv")
    with pytest.raises(InputError, match="a link or a special file") as caught:
        place.seal()
    assert "환자" not in str(caught.value)
    with pytest.raises(InputError, match="lies inside the other"):
        custody.seal(place.folder, place.folder / "sealed", place.key)
    (place.root / "none").mkdir()
    with pytest.raises(InputError, match="holds no files"):
        custody.seal(place.root / "none", place.sealed, place.key)
    with pytest.raises(InputError, match="is not a folder"):
        custody.seal(place.root / "nowhere", place.sealed, place.key)


def test_a_killed_seal_goes_on(place: Place) -> None:
    code = """
        import sys, time
        from pathlib import Path
        from chambit.prepare import custody

        def tell(done, of):
            if done == 3:
                print("three", flush=True)
                time.sleep(60)

        custody.seal(*map(Path, sys.argv[1:]), tell=tell)
    """
    arguments = [sys.executable, "-c", textwrap.dedent(code), place.folder, place.sealed, place.key]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "three\n"
        process.send_signal(signal.SIGKILL)
    with pytest.raises(InputError, match="holds no manifest"):
        place.unseal()
    (place.sealed / "files" / "00").mkdir(exist_ok=True)
    left = place.sealed / "files" / "00" / ".writing-x"
    left.write_bytes(b"half")
    times = {path: path.stat().st_mtime_ns for path in place.sealed.rglob("*") if path.is_file()}
    done = place.seal()
    assert (done.before, done.files, done.key_made) == (3, 6, False)
    assert not left.exists()
    assert all(path.stat().st_mtime_ns == times[path] for path in times if path != left)
    assert place.unseal() == CONTENTS


def test_sealing_again_changes_nothing_and_mends_what_is_damaged(place: Place) -> None:
    first = place.seal()
    before = read(place.sealed)
    assert place.seal() == first._replace(before=6, key_made=False)
    assert read(place.sealed) == before
    place.place("a/one.bin").write_bytes(b"damaged")
    assert place.seal().before == 5
    assert place.unseal() == CONTENTS
    (place.folder / "a" / "one.bin").write_bytes(b"changed")
    with pytest.raises(InputError, match="sealed before with other content"):
        place.seal()


def test_originals_are_deleted_only_when_all_are_as_they_were_sealed(place: Place) -> None:
    def tell(done: int, of: int) -> None:
        if done == of:
            (place.folder / "a" / "one.bin").write_bytes(b"written after it was sealed")

    with pytest.raises(InputError, match="Nothing was deleted") as caught:
        custody.seal(place.folder, place.sealed, place.key, remove=True, tell=tell)
    assert "one.bin" not in str(caught.value)
    assert set(read(place.folder)) == set(CONTENTS)


def test_an_original_that_changes_while_it_is_read_is_not_sealed(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    write = envelope.write

    def changing(key: envelope.Key, name: str, source: BinaryIO, target: BinaryIO) -> tuple[int, str]:
        (place.folder / name).write_bytes(b"new")
        return write(key, name, source, target)

    monkeypatch.setattr(envelope, "write", changing)
    with pytest.raises(InputError, match="changed while it was read"):
        place.seal()
    assert not [path for path in place.sealed.rglob("*") if path.is_file()]


def test_a_disk_that_reads_back_other_bytes_is_found(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    write = envelope.write

    def lossy(key: envelope.Key, name: str, source: BinaryIO, target: BinaryIO) -> tuple[int, str]:
        told = write(key, name, source, target)
        target.seek(-1, os.SEEK_CUR)
        target.write(b"\0")
        return told

    monkeypatch.setattr(envelope, "write", lossy)
    with pytest.raises(InputError, match="reads back other than it was written"):
        place.seal()
    assert read(place.folder) == CONTENTS


def test_removed_originals_stay_in_custody(place: Place) -> None:
    assert place.seal(remove=True).removed == 6
    assert list(place.folder.iterdir()) == []
    (place.folder / "late.bin").write_bytes(b"late")
    assert place.seal().files == 7
    assert place.unseal() == CONTENTS | {"late.bin": b"late"}


def test_unsealing_overwrites_nothing(place: Place) -> None:
    place.seal()
    (place.root / "back").mkdir()
    (place.root / "back" / "labels.csv").write_bytes(b"mine")
    with pytest.raises(InputError, match="holds another file where the original of"):
        place.unseal()
    assert (place.root / "back" / "labels.csv").read_bytes() == b"mine"
