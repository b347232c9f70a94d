"""The ground floor: digests, seeds, store, ledger, extensions, the offline guard."""

import hashlib
import importlib.metadata
import os
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import sqlalchemy as sql
from hypothesis import given
from hypothesis import strategies as st

from chambit.core import digest, extensions, ledger, seeds
from chambit.core.errors import ChambitError, ExtensionError, Problem, StoreError
from chambit.core.ledger import Ledger
from chambit.core.store import Store, write_atomically
from tinystudy import python

# --- digests


def test_canonical_json_is_sorted_and_bare() -> None:
    assert digest.canonical({"b": [1, 2.5, None], "a": "가"}) == '{"a":"가","b":[1,2.5,null]}'
    assert digest.canonical((1, 2)) == "[1,2]"


def test_known_digest() -> None:
    # computed outside Python with sha256sum; a change here makes every ledger's digests void
    assert digest.of_json({"b": 1, "a": [True]}) == hashlib.sha256(b'{"a":[true],"b":1}').hexdigest()
    assert digest.of_json({}) == "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"
    assert digest.of_bytes(b"") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


@pytest.mark.parametrize("value", [float("nan"), float("inf"), {"a": [-float("inf")]}])
def test_what_is_no_number_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        digest.canonical(value)


def test_what_json_cannot_say_is_refused() -> None:
    with pytest.raises(TypeError):
        digest.canonical({"a": Path("x")})


@given(st.dictionaries(st.text(), st.integers() | st.text() | st.floats(allow_nan=False, allow_infinity=False)))
def test_the_order_of_keys_does_not_count(content: dict[str, object]) -> None:
    turned = dict(reversed(content.items()))
    assert digest.of_json(content) == digest.of_json(turned)


def test_arrays_differ_by_type_and_shape() -> None:
    zeros = [np.zeros(shape, kind) for kind in ("u1", "i1", "<u2", ">u2", "f4") for shape in ((4, 2), (2, 4), (8,))]
    assert len({digest.of_array(array) for array in zeros}) == len(zeros)


def test_arrays_agree_whatever_their_layout() -> None:
    image = np.arange(12, dtype=np.uint16).reshape(3, 4)
    assert digest.of_array(image) == digest.of_array(np.asfortranarray(image))
    assert digest.of_array(image) == digest.of_array(np.repeat(image, 2, axis=1)[:, ::2])
    assert digest.of_array(image) != digest.of_array(image.T)


def test_digest_of_a_file_longer_than_a_piece(tmp_path: Path) -> None:
    data = bytes(range(256)) * 5000
    (tmp_path / "x").write_bytes(data)
    assert digest.of_file(tmp_path / "x") == digest.of_bytes(data)


# --- seeds


def test_known_seed() -> None:
    word = hashlib.sha256(b"7\x1fsample\x1f0").digest()
    assert seeds.seed(7, "sample", 0) == int.from_bytes(word[:8], "big") >> 1
    assert seeds.seed(7, "sample", 0) == 6936564258620959988  # sha256sum in a shell


def test_seeds_fit_and_are_unlike() -> None:
    made = {seeds.seed(study, step, index) for study in range(3) for step in "ab" for index in range(200)}
    assert len(made) == 1200
    assert all(0 <= value < 2**63 for value in made)
    assert seeds.seed(1, "a", "1") != seeds.seed(1, "a1", "")


def test_a_stream_does_not_depend_on_how_much_another_drew() -> None:
    alone = seeds.generator(1, "sample", 5).normal(size=4)
    seeds.generator(1, "sample", 4).normal(size=1000)
    assert np.array_equal(alone, seeds.generator(1, "sample", 5).normal(size=4))
    assert not np.array_equal(alone, seeds.generator(1, "sample", 6).normal(size=4))


# --- store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path)


def _files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def test_a_kill_before_the_rename_leaves_no_half_blob(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", killed)
        with pytest.raises(KeyboardInterrupt):
            store.put(b"whole")
    assert _files(tmp_path) == []
    assert not store.has(digest.of_bytes(b"whole"))
    assert store.get(store.put(b"whole")) == b"whole"


def test_writing_keeps_the_old_file_until_the_new_one_is_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a" / "b.txt"
    write_atomically(path, b"old")
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(OSError("disk full")))
        with pytest.raises(OSError, match="disk full"):
            write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert _files(tmp_path) == [path]


def test_a_written_file_is_as_readable_as_any_other(tmp_path: Path) -> None:
    (tmp_path / "plain").write_bytes(b"")
    write_atomically(tmp_path / "ours", b"")
    assert (tmp_path / "ours").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_equal_content_is_kept_once(store: Store, tmp_path: Path) -> None:
    key = store.put(b"twice")
    before = store.path(key).stat().st_mtime_ns
    assert store.put(b"twice") == key == digest.of_bytes(b"twice")
    assert store.path(key).stat().st_mtime_ns == before
    assert _files(tmp_path) == [store.path(key)]


def test_a_damaged_blob_is_found(store: Store) -> None:
    key = store.put(b"content")
    store.path(key).write_bytes(b"cOntent")
    with pytest.raises(StoreError, match=f"{key}.* is damaged"):
        store.get(key)


def test_a_missing_blob_is_said(store: Store) -> None:
    with pytest.raises(StoreError, match="has no blob"):
        store.get("0" * 64)
    assert not store.has("0" * 64)


@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.float32, np.float64, np.int64, np.bool_])
def test_arrays_come_back(store: Store, kind: type) -> None:
    values = np.arange(24).reshape(2, 3, 4).astype(kind)
    key = store.put_arrays(pixels=values.transpose(2, 0, 1), other=np.zeros((0, 3), kind))
    kept = store.get_arrays(key)
    assert np.array_equal(kept["pixels"], values.transpose(2, 0, 1))
    assert kept["pixels"].dtype == kind
    assert kept["other"].shape == (0, 3)


def test_the_order_of_arrays_does_not_count(store: Store) -> None:
    a, b = np.zeros(3), np.ones(4, np.uint8)
    assert store.put_arrays(a=a, b=b) == store.put_arrays(b=b, a=a)


def test_json_comes_back(store: Store) -> None:
    value = {"b": [1, 0.1, None, "가"], "a": {"x": True}}
    key = store.put_json(value)
    assert store.get_json(key) == value
    assert store.get(key) == digest.canonical(value).encode()


def test_tables_come_back_and_have_equal_bytes(store: Store) -> None:
    table = pl.DataFrame({"id": ["a", "나"], "n": [1, None], "good": [True, False], "x": [0.1, float("nan")]})
    key = store.put_table(table)
    assert store.get_table(key).equals(table, null_equal=True)
    assert store.put_table(table.clone()) == key


def test_tables_have_equal_bytes_in_another_process(store: Store) -> None:
    code = """
        import sys, tempfile, pathlib, numpy as np, polars as pl
        from chambit.core.store import Store
        store = Store(pathlib.Path(tempfile.mkdtemp()))
        table = pl.DataFrame({"id": [f"{k}" for k in range(3000)], "n": range(3000)})
        print(store.put_table(table), store.put_arrays(b=np.arange(5), a=np.ones((2, 2), np.float32)))
    """
    table = pl.DataFrame({"id": [f"{k}" for k in range(3000)], "n": range(3000)})
    mine = [store.put_table(table), store.put_arrays(b=np.arange(5), a=np.ones((2, 2), np.float32))]
    assert python(textwrap.dedent(code)).split() == mine


def test_complete_needs_every_blob(store: Store) -> None:
    outputs = {"a": store.put(b"a"), "b": store.put(b"b")}
    assert store.complete(outputs)
    store.path(outputs["b"]).unlink()
    assert not store.complete(outputs)


# --- ledger


@pytest.fixture
def book(tmp_path: Path) -> Iterator[Ledger]:
    book = Ledger.beside(tmp_path)
    yield book
    book.close()


def test_chunks_are_kept_by_step_and_the_newer_one_stands(book: Ledger) -> None:
    book.add_chunk("s", "1", "a")
    book.add_chunk("s", "2", "b")
    book.add_chunk("t", "1", "c")
    book.add_chunk("s", "1", "d")
    assert book.chunks("s") == {"1": "d", "2": "b"}
    assert book.chunks("t") == {"1": "c"}
    assert book.chunks("u") == {}


def test_steps_are_kept(book: Ledger, tmp_path: Path) -> None:
    assert book.outputs("s") is None
    book.add_step("s", "train", {"weights": "w"}, items=10, seconds=2.0)
    assert book.outputs("s") == {"weights": "w"}
    again = Ledger.beside(tmp_path)
    assert again.outputs("s") == {"weights": "w"}
    again.close()


def test_the_rate_is_that_of_the_newest_step_with_work(book: Ledger) -> None:
    assert book.rate("train") is None
    book.add_step("zz", "train", {}, items=10, seconds=2.0)
    book.add_step("aa", "train", {}, items=30, seconds=2.0)
    book.add_step("bb", "train", {}, items=0, seconds=2.0)
    book.add_step("cc", "other", {}, items=99, seconds=1.0)
    assert book.rate("train") == 15.0
    assert book.seconds()["other"] == 1.0


def test_events_are_a_chain(book: Ledger) -> None:
    assert book.verify() == "0" * 64
    first = book.add_event("study.frozen", {"study": "가", "margin": 0.05})
    book.add_step("s", "train", {"weights": "w"}, items=1, seconds=0.1)
    last = book.add_event("end", {"list": (1, 2)})
    assert book.verify() == last
    rows = book.events()
    assert [row["kind"] for row in rows] == ["study.frozen", "step.done", "end"]
    assert rows[1]["previous"] == first
    assert [row["body"]["study"] for row in book.events("study.frozen")] == ["가"]


@pytest.mark.parametrize("change", [{"body": {"margin": 0.5}}, {"kind": "x"}, {"time": 1.0}, {"hash": "1" * 64}])
def test_an_edited_event_is_found(book: Ledger, change: dict[str, object]) -> None:
    for number in range(3):
        book.add_event("study.frozen", {"margin": 0.05, "n": number})
    with book._engine.begin() as connection:
        connection.execute(sql.update(ledger.event).where(ledger.event.c.number == 2).values(**change))
    with pytest.raises(StoreError, match="event 2"):
        book.verify()


def test_a_removed_event_is_found(book: Ledger) -> None:
    for number in range(3):
        book.add_event("e", {"n": number})
    with book._engine.begin() as connection:
        connection.execute(sql.delete(ledger.event).where(ledger.event.c.number == 2))
    with pytest.raises(StoreError, match="event 3"):
        book.verify()


# --- errors


def test_an_error_tells_every_problem_with_its_remedy() -> None:
    error = ChambitError("Two things.", [Problem("a.png", "is damaged", "export it again"), Problem("b", "is odd")])
    assert str(error) == "Two things.\n  a.png: is damaged\n    -> export it again\n  b: is odd"


# --- extensions


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package of extensions of its own name: `(folder).name`."""
    package = tmp_path / f"kinds_{os.getpid()}_{tmp_path.name}"
    package.mkdir()
    (package / "__init__.py").write_text('"""Things."""')
    (package / "one.py").write_text('"""The first thing.\n\nMore of it."""\nvalue = 1\n')
    (package / "_hidden.py").write_text("")
    monkeypatch.syspath_prepend(str(tmp_path))
    return package


def test_listing_imports_nothing() -> None:
    code = """
        import sys
        from chambit.core import extensions
        kinds = ("measure.utility", "measure.safety", "measure.embed", "generate.stages", "generate.refine",
                 "images.readers", "core.engines")
        found = [f"chambit.{kind}.{name}" for kind in kinds for name in extensions.listing(f"chambit.{kind}")]
        assert len(found) > 14, found
        assert not set(found) & set(sys.modules), set(found) & set(sys.modules)
        print(sorted({"torch", "numpy", "polars", "scipy", "sklearn", "pydicom", "PIL"} & set(sys.modules)))
    """
    # the reader's folder has a working __init__, which may import numpy; nothing heavier comes in
    assert set(eval(python(textwrap.dedent(code)))) <= {"numpy"}  # noqa: S307


def test_listing_tells_name_help_and_file(folder: Path) -> None:
    assert list(extensions.listing(folder.name)) == ["one"]
    entry = extensions.listing(folder.name)["one"]
    assert (entry.help, entry.module) == ("The first thing.", f"{folder.name}.one")
    assert entry.file == str(folder / "one.py")
    assert extensions.load(folder.name, "one").value == 1


def test_a_file_without_docstring_is_named(folder: Path) -> None:
    (folder / "mute.py").write_text("value = 1\n")
    with pytest.raises(ExtensionError, match=r"mute\.py: it has no docstring"):
        extensions.listing(folder.name)


def test_a_file_that_is_not_python_is_named(folder: Path) -> None:
    (folder / "bad.py").write_text("def (:\n")
    with pytest.raises(ExtensionError, match=r"bad\.py"):
        extensions.listing(folder.name)


def test_a_file_in_another_encoding_is_named(folder: Path) -> None:
    (folder / "old.py").write_bytes('"""Röntgen."""\n'.encode("latin-1"))
    with pytest.raises(ExtensionError, match=r"old\.py.*\n.*UTF-8"):
        extensions.listing(folder.name)


def test_a_clash_names_both(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    point = importlib.metadata.EntryPoint("one", "elsewhere.one", folder.name)
    monkeypatch.setattr(importlib.metadata, "entry_points", lambda group: [point] if group == folder.name else [])
    with pytest.raises(ExtensionError, match=r"'one'") as caught:
        extensions.listing(folder.name)
    assert "elsewhere.one" in str(caught.value)
    assert str(folder / "one.py") in str(caught.value)


def test_a_package_of_others_is_listed_and_loaded(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    point = importlib.metadata.EntryPoint("two", "json", folder.name)
    monkeypatch.setattr(importlib.metadata, "entry_points", lambda group: [point] if group == folder.name else [])
    assert list(extensions.listing(folder.name)) == ["one", "two"]
    assert extensions.load(folder.name, "two").__name__ == "json"


def test_an_unknown_name_lists_what_there_is() -> None:
    with pytest.raises(ExtensionError, match=r"no engine called 'cloud'. There are: inline, processes"):
        extensions.load("chambit.core.engines", "cloud")


def test_a_module_that_does_not_import_is_named_with_its_cause(folder: Path) -> None:
    (folder / "needs.py").write_text('"""Needs more."""\nimport nothing_of_this_name\n')
    with pytest.raises(ExtensionError, match="nothing_of_this_name") as caught:
        extensions.load(folder.name, "needs")
    assert str(folder / "needs.py") in str(caught.value)


@pytest.mark.parametrize("line", ["1 / 0", "undefined_name"])
def test_a_module_that_breaks_while_it_loads_is_named_with_its_cause(folder: Path, line: str) -> None:
    (folder / "broken.py").write_text(f'"""Breaks."""\n{line}\n')
    with pytest.raises(ExtensionError, match=r"broken\.py: (ZeroDivision|Name)Error") as caught:
        extensions.load(folder.name, "broken")
    assert isinstance(caught.value.__cause__, ZeroDivisionError | NameError)


# --- the guard, in processes of their own because it cannot be undone


def test_the_guard_refuses_and_counts_what_leaves_the_machine() -> None:
    code = """
        import socket
        from chambit.core import offline
        assert not offline.guarded()
        offline.guard(); offline.guard()
        assert offline.guarded() and offline.attempts() == 0
        tries = [
            lambda: socket.create_connection(("192.0.2.1", 9), timeout=1),
            lambda: socket.socket().connect(("192.0.2.1", 80)),
            lambda: socket.socket().connect_ex(("192.0.2.1", 80)),
            lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"x", ("192.0.2.1", 53)),
            lambda: socket.getaddrinfo("example.org", 80),
            lambda: socket.getaddrinfo(b"example.org", 80),
            lambda: socket.getnameinfo(("192.0.2.1", 80), 0),
            lambda: __import__("urllib.request").request.urlopen("http://example.org/"),
        ]
        for number, attempt in enumerate(tries, start=1):
            try:
                attempt()
            except offline.EgressError as error:
                assert "runs offline" in str(error)
            else:
                raise SystemExit(f"attempt {number} was not refused")
            assert offline.attempts() == number, (number, offline.attempts())
        print("refused", offline.attempts())
    """
    assert python(textwrap.dedent(code)) == "refused 8\n"


def test_the_guard_leaves_this_machine_alone(tmp_path: Path) -> None:
    code = f"""
        import os, socket
        from chambit.core import offline
        offline.guard()
        server = socket.create_server(("127.0.0.1", 0))
        port = server.getsockname()[1]
        for host in ("127.0.0.1", "localhost"):
            socket.create_connection((host, port), timeout=5).close()
        for host in (None, "::1", "0.0.0.0", "127.8.8.8", b"127.0.0.1"):
            socket.getaddrinfo(host, port)
        socket.getnameinfo(("127.0.0.1", port), socket.NI_NUMERICHOST)
        os.chdir({str(tmp_path)!r})
        unix = socket.socket(socket.AF_UNIX)
        unix.bind("s"); unix.listen()
        socket.socket(socket.AF_UNIX).connect("s")
        socket.socketpair()
        print("attempts", offline.attempts())
    """
    assert python(textwrap.dedent(code)) == "attempts 0\n"


@pytest.mark.parametrize("host", ['"127.example.org"', 'b"\\xff.example.org"'])
def test_the_guard_is_not_fooled_by_names(host: str) -> None:
    code = f"""
        import socket
        from chambit.core import offline
        offline.guard()
        try:
            socket.getaddrinfo({host}, 80)
        except offline.EgressError:
            print("refused")
        except Exception as error:
            print(type(error))
    """
    assert python(textwrap.dedent(code)) == "refused\n"


GUARDED_WORKERS = """
import socket, sys
from pathlib import Path
from chambit.core import offline
from chambit.core.engines.processes import Engine

def reach(store, task):
    socket.create_connection(("192.0.2.1", 9), timeout=0.2)  # TEST-NET-1, reserved for documentation

if __name__ == "__main__":
    offline.guard()
    engine = Engine(1)
    try:
        list(engine.map(reach, {"one": 1}, Path(sys.argv[1])))
    except offline.EgressError as error:
        print("refused", "192.0.2.1" in str(error), offline.attempts())
    engine.close()
"""


def test_workers_are_guarded_and_their_attempts_counted(tmp_path: Path) -> None:
    script = tmp_path / "reach.py"
    script.write_text(GUARDED_WORKERS, encoding="utf-8")
    said = subprocess.run(
        [sys.executable, str(script), str(tmp_path)], capture_output=True, text=True, timeout=60, check=False
    )
    assert said.stdout.split() == ["refused", "True", "1"], said.stderr
