"""Originals, a sealed folder and a key for the tests of custody and disposal."""

import os
from pathlib import Path

from chambit.prepare import custody, envelope
from chambit.prepare.envelope import CHUNK

CONTENTS = {
    "홍길동/스캔 900101.dcm": os.urandom(3000),
    "a/b/empty.bin": b"",
    "a/one.bin": os.urandom(CHUNK),
    "a/two.bin": os.urandom(2 * CHUNK + 17),
    ".hidden": b"x",
    "labels.csv": b"file,subject\n",
}


class Place:
    """Originals, a sealed folder and a key in three folders apart."""

    def __init__(self, root: Path, contents: dict[str, bytes] = CONTENTS) -> None:
        self.root, self.folder, self.sealed = root, root / "data" / "originals", root / "vault" / "sealed"
        self.key = root / "safe" / "key"
        self.key.parent.mkdir()
        for name, content in contents.items():
            (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
            (self.folder / name).write_bytes(content)

    def seal(self, *, remove: bool = False) -> custody.Sealed:
        return custody.seal(self.folder, self.sealed, self.key, remove=remove)

    def unseal(self) -> dict[str, bytes]:
        custody.unseal(self.sealed, self.root / "back", self.key)
        return read(self.root / "back")

    def place(self, name: str) -> Path:
        alias = envelope.read_key(self.key).alias(name)
        return self.sealed / "files" / alias[:2] / alias


def read(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
