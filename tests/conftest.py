"""What all tests share: which engines they run on. Servers are in serving.py.

FASTWS_TEST_ENGINES names the engines, separated by commas; without it all of them are tested. An engine that is named
and missing fails its tests: a build that silently lost its extension must not pass.
"""

from __future__ import annotations

import os

import pytest

ENGINES = [name for name in os.environ.get("FASTWS_TEST_ENGINES", "").split(",") if name]
ENGINES = ENGINES or ["cython", "websockets", "wsproto"]

# The codec is the compiled module itself: without it there is nothing to collect.
collect_ignore_glob = [] if "cython" in ENGINES else ["test_codec*.py"]


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest) -> str:
    """The name of each engine in turn, for `--ws` and `load_engine`."""
    from fastws.engines import load_engine

    load_engine(request.param)
    name: str = request.param
    return name
