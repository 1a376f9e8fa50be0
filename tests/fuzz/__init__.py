"""Hostile bytes for everything that reads bytes: nine targets, their corpus, and what drives them.

A target takes one input, any bytes, and returns; an exception is a finding. Its first bytes choose a configuration and
how the rest is cut into reads, so that an input repeats exactly. What every target asks: accept, or answer with an
error that is documented; the same however the bytes are cut; nothing invalid written; an end.

- `codec`: an engine, the masks and the UTF-8 automaton.
- `differential`: the three engines against each other and against the oracles, `websockets` and `wsproto` themselves.
- `heads`: request heads, the handshake and its extensions, against h11 and `websockets`.
- `connection`: the whole server above a fake transport, on a fake clock.
- `http2`: the same over HTTP/2, with the library h2 as the grammar of what comes.
- `sockets`: our own reading and writing of real sockets, whose ends do whatever an input says.
- `tls`: the same over TLS, with records that are cut anywhere or are none.
- `deflate`: whole messages, inflated and deflated by our use of zlib's library, beside Python's.
- `topics`: what workers and servers send each other.

`run.py` drives them with atheris (`make fuzz`), `volume.py` without it, for builds with sanitizers (`make sanitize`),
and test_fuzz.py replays the corpus. `mutation.py` is what both drivers know of frames and heads.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from collections.abc import Callable

    Target = Callable[[bytes], None]

TARGETS = ("codec", "differential", "heads", "connection", "http2", "sockets", "tls", "deflate", "topics")
CORPUS = Path(__file__).parent / "corpus"


def load_target(name: str) -> Target:
    """The function that takes an input of the target `name`; importing it imports what it tests."""
    return cast("Target", import_module(f"fuzz.{name}").run)


def corpus(name: str) -> list[bytes]:
    """The inputs that are kept for the target `name`, in a fixed order.

    A file holds many, each a line of hexadecimal digits: one diff shows what was added, and no test reads 1,000 files.
    """
    lines = (CORPUS / f"{name}.txt").read_text("ascii").splitlines()
    return [bytes.fromhex(line) for line in lines if line and not line.startswith("#")]
