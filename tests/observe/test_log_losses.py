"""Logs that cannot be written to: a line a minute says so, and the server goes on."""

from __future__ import annotations

import logging
import os
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from serving import serve_process

from fastws.observe import log_losses
from fastws.observe.terminal import has_terminal


@pytest.fixture
def full() -> Iterator[logging.Logger]:
    """A logger whose file is on a device that is always full."""
    logger = logging.getLogger("test_log_losses")
    handler = logging.FileHandler("/dev/full")
    logger.addHandler(handler)
    logger.propagate = False
    log_losses.count_losses()
    yield logger
    logger.removeHandler(handler)
    handler.close = lambda: None  # type: ignore[method-assign]  # what it still has cannot be written either


def test_lines_that_are_lost_are_counted(
    full: logging.Logger, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 100.0
    monkeypatch.setattr(log_losses.time, "monotonic", lambda: now)
    for _ in range(1000):
        full.error("a line")
    now += log_losses.AGAIN_SECONDS
    full.error("a line")
    assert capsys.readouterr().err.splitlines() == [
        "Error: the log /dev/full cannot be written to: No space left on device; 1 line is lost until now",
        "Error: the log /dev/full cannot be written to: No space left on device; 1001 lines are lost until now",
    ]


def test_a_line_that_cannot_be_formatted_is_told_as_python_does(
    full: logging.Logger, capsys: pytest.CaptureFixture[str]
) -> None:
    [handler] = [each for each in full.handlers if isinstance(each, logging.FileHandler)]
    handler.handle(logging.LogRecord("name", logging.ERROR, "path", 1, "%d", ("no number",), None))
    assert "Traceback" in capsys.readouterr().err


def test_a_handler_with_a_way_of_its_own_keeps_it() -> None:
    class Own(logging.StreamHandler):  # type: ignore[type-arg]
        def handleError(self, record: logging.LogRecord) -> None:
            """Say nothing."""

    logger = logging.getLogger("test_log_losses.own")
    handler = Own()
    logger.addHandler(handler)
    log_losses.count_losses()
    assert "handleError" not in vars(handler)
    logger.removeHandler(handler)


def test_a_server_whose_log_is_full_serves_and_says_so_once(tmp_path: Path) -> None:
    config = tmp_path / "log.json"
    config.write_text(
        '{"version": 1, "handlers": {"full": {"class": "logging.FileHandler", "filename": "/dev/full"},'
        ' "shown": {"class": "logging.StreamHandler"}},'
        ' "loggers": {"fastws.access": {"handlers": ["full"], "level": "INFO"},'
        ' "fastws.error": {"handlers": ["shown"], "level": "INFO"}}}'
    )
    with serve_process("process_apps:app", "--log-config", str(config)) as process:
        for _ in range(5):
            with urllib.request.urlopen(process.http_url) as answer:
                assert answer.status == 200
        assert process.stop() == 0
        assert process.output.count("the log /dev/full cannot be written to: No space left on device") == 1
        assert "Traceback" not in process.output


def test_without_a_descriptor_a_terminal_is_not_taken_for_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    def none_left(*arguments: object) -> int:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(os, "open", none_left)
    assert has_terminal()
