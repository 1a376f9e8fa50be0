"""Write the corpus anew from the tests' own cases: `python tests/fuzz/seeds.py`; then `run.py --keep` reduces it."""

from __future__ import annotations

import random
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

from engine_cases import CASES

from fuzz import deflate, mutation, sockets, tls, topics
from fuzz.connection import BEGINNINGS
from fuzz.http2 import OPERATIONS
from fuzz.run import write_corpus

EXTENSIONS = (
    b"permessage-deflate",
    b"permessage-deflate; client_max_window_bits; server_max_window_bits=10",
    b'x-other; a="b\\c", permessage-deflate; server_no_context_takeover',
    b"permessage-deflate; server_max_window_bits=8, permessage-deflate; client_no_context_takeover",
)


def main() -> None:
    choose = random.Random(1)
    streams = [(4 if case.deflate else 0, case.data) for case in CASES if len(case.data) < 400]
    for name in ("codec", "differential"):
        write_corpus(
            name, [bytes([engine << 5 | 2 | flags, 7]) + data for flags, data in streams for engine in range(3)]
        )
    heads = [bytes([flags, 3]) + head for head in mutation.HEADS for flags in (0, 1)]
    write_corpus("heads", heads + [bytes([2, 0]) + value for value in EXTENSIONS])
    write_corpus(
        "http2",
        [
            bytes([application | options << 3 | choose.choice((0, 32)), choose.randrange(3) << 3, 0, 0])
            + bytes([first, choose.randrange(8), then, 0, choose.randrange(256), choose.randrange(2)])
            + choose.randbytes(choose.choice((4, 20, 60)))
            for application in range(8)
            for options in range(4)
            for first in range(3)
            for then in range(len(OPERATIONS))
            if choose.random() < 0.15
        ],
    )
    write_corpus("deflate", deflate.seeds())
    write_corpus("sockets", sockets.seeds())
    write_corpus("tls", tls.seeds())
    write_corpus("topics", topics.seeds())
    write_corpus(
        "connection",
        [
            bytes([application | options << 3 | choose.choice((0, 32)), beginning | choose.randrange(3) << 3, 0, 0])
            + (
                mutation.some_frame(choose) + mutation.some_frame(choose)
                if 1 <= beginning <= 3
                else mutation.HEADS[beginning]
            )
            for application in range(8)
            for options in range(4)
            for beginning in range(len(BEGINNINGS))
        ],
    )


if __name__ == "__main__":
    main()
