"""Uploaded files in a directory that cannot outgrow its quota, with what is unfinished; it knows nothing of WebSockets.

An unfinished upload is a file named by its id and its size, so that a restarted server goes on with it. Its whole size
counts from its beginning. One process at a time may use a directory.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
import secrets
import time
from pathlib import Path

BLOCK = 2**18  # bytes
LIFETIME = 3600.0  # seconds for which an unfinished upload waits to be continued
MOST_FILES = 1000


class NoRoom(Exception):
    """The directory is full; the text says in which way."""


class Upload:
    """An unfinished upload: `offset` of its `size` bytes are on disk, in whole blocks."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.id, _, size = path.stem.partition("-")
        self.size = int(size)
        status = path.stat()
        self.offset = self.size if status.st_size == self.size else status.st_size // BLOCK * BLOCK
        self.used = status.st_mtime
        self.holder: object = None  # who continues it
        self.lock = asyncio.Lock()

    async def append(self, block: bytes) -> None:
        """Write a block at `offset`. A write that is cancelled goes on in its thread, and is repeated with the same."""
        await asyncio.to_thread(self._write, block)
        self.offset += len(block)

    def _write(self, block: bytes) -> None:
        with self.path.open("r+b") as file:
            file.seek(self.offset)
            file.write(block)

    def checksum(self) -> str:
        """The SHA-256 of the SHA-256s of all blocks on disk. Takes its time: for a thread."""
        digests = hashlib.sha256()
        with self.path.open("rb") as file:
            while block := file.read(BLOCK):
                digests.update(hashlib.sha256(block).digest())
        return digests.hexdigest()


class Store:
    """The directory, in which all files together have at most `quota` bytes."""

    def __init__(self, directory: Path, quota: int) -> None:
        self.directory, self.quota = directory, quota
        directory.mkdir(parents=True, exist_ok=True)
        self.unfinished = {upload.id: upload for upload in map(Upload, directory.glob("*.part"))}

    def begin(self, size: int) -> Upload:
        """A new upload. Raises NoRoom, after what nobody has continued for LIFETIME was removed."""
        oldest = time.time() - LIFETIME
        for old in [each for each in self.unfinished.values() if each.holder is None and each.used < oldest]:
            self.discard(old)
        finished = [path.stat().st_size for path in self.directory.iterdir() if path.suffix != ".part"]
        if sum(finished) + sum(each.size for each in self.unfinished.values()) + size > self.quota:
            raise NoRoom("there is no room for so much")
        if len(finished) + len(self.unfinished) >= MOST_FILES:
            raise NoRoom("there are too many files")
        path = self.directory / f"{secrets.token_hex(16)}-{size:d}.part"
        path.touch()
        upload = Upload(path)
        self.unfinished[upload.id] = upload
        return upload

    def find(self, id: str) -> Upload | None:
        """What is unfinished under this id."""
        return self.unfinished.get(id)

    def is_finished(self, id: str) -> bool:
        return bool(re.fullmatch("[0-9a-f]{32}", id)) and any(self.directory.glob(f"{id}.*"))

    def finish(self, upload: Upload, name: str) -> Path:
        """Keep an upload as a file of its id and what is harmless of the client's name for it."""
        harmless = re.sub(r"[^A-Za-z0-9_-]+", ".", name)[-80:].strip(".") or "file"
        del self.unfinished[upload.id]
        return upload.path.rename(self.directory / f"{upload.id}.{harmless.removesuffix('.part')}")

    def discard(self, upload: Upload) -> None:
        del self.unfinished[upload.id]
        upload.path.unlink(missing_ok=True)
