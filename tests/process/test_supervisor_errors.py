"""What the system refuses a supervisor does not end it: processes, descriptors, log files."""

from __future__ import annotations

import errno
import functools
import gc
import logging
import os
import pickle
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from serving import PATIENCE

from fastws.config import Config
from fastws.errors import STARTUP_FAILURE
from fastws.observe.log_files import reopen_log_files
from fastws.process.supervisor import Supervisor
from fastws.process.systemd import Notifier


def refuse(*arguments: Any, **options: Any) -> None:
    raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))


@pytest.fixture
def supervisor() -> Iterator[Supervisor]:
    hangs = pickle.dumps(functools.partial(time.sleep, 600.0))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        made = Supervisor(Config("worker_apps:app"), hangs, {}, os.environ, [listener], Notifier())
        yield made
        for each in made.workers:
            each.process.kill()
            each.process.wait(PATIENCE)
            each.close()


def test_a_process_that_cannot_be_had_is_tried_again_later(
    supervisor: Supervisor, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    supervisor._ever_served = True
    gc.collect()  # what others have left is not closed in between
    descriptors = len(os.listdir("/proc/self/fd"))
    with monkeypatch.context() as patch:
        patch.setattr(subprocess, "Popen", refuse)
        supervisor._staff(100.0)
        supervisor._staff(supervisor._backoff.next_start + 1.0)
    assert supervisor.workers == []
    assert len(os.listdir("/proc/self/fd")) == descriptors
    assert caplog.messages[0].startswith("Cannot start a worker: Resource temporarily unavailable; trying again ")
    assert supervisor._board.take_row().index == 0  # none was lost
    later = supervisor._backoff.next_start
    assert later > 100.0
    supervisor._staff(later)
    assert len(supervisor.workers) == 1


def test_a_restart_that_cannot_be_is_given_up_and_the_old_workers_go_on(
    supervisor: Supervisor, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    supervisor._start()
    [old] = supervisor.workers
    old.serving_since, supervisor._ever_served = time.monotonic(), True
    supervisor._restart()
    monkeypatch.setattr(subprocess, "Popen", refuse)
    supervisor._staff(time.monotonic())
    assert (supervisor.workers, old.why_replaced, supervisor._restarting) == ([old], None, False)
    assert "Cannot start a worker: Resource temporarily unavailable; the old ones go on" in caplog.messages


def test_a_service_that_has_never_served_ends(
    supervisor: Supervisor, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(subprocess, "Popen", refuse)
    supervisor._staff(time.monotonic())
    assert supervisor._exit_code == STARTUP_FAILURE
    assert supervisor._signals_to_end
    assert caplog.messages == ["Cannot start a worker: Resource temporarily unavailable"]


def test_a_log_file_that_cannot_be_opened_anew_goes_on_as_it_is(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "logs").mkdir()
    handler = logging.FileHandler(tmp_path / "logs" / "x.log")
    logger = logging.getLogger("test_supervisor_errors")
    logger.addHandler(handler)
    try:
        (tmp_path / "logs").rename(tmp_path / "away")
        reopen_log_files()
        logger.warning("still written")
        handler.flush()
        assert (tmp_path / "away" / "x.log").read_text() == "still written\n"
        assert any(line.startswith("Cannot open the log file ") for line in caplog.messages)
        (tmp_path / "logs").mkdir()
        reopen_log_files()
        logger.warning("in the new one")
        handler.flush()
        assert (tmp_path / "logs" / "x.log").read_text() == "in the new one\n"
    finally:
        logger.removeHandler(handler)
        handler.close()
