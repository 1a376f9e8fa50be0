"""A process ends by itself, gracefully, when it has served enough; and opens its log files anew when it is told to."""

from __future__ import annotations

import http.client
import json
import signal
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from serving import PATIENCE, ServerProcess, serve_process

from fastws import Config
from fastws.errors import ConfigError
from fastws.process.recycling import Recycling

pytestmark = pytest.mark.slow


def get(process: ServerProcess) -> http.client.HTTPResponse:
    with closing(http.client.HTTPConnection(process.host, process.port, timeout=PATIENCE)) as client:
        client.request("GET", "/")
        response = client.getresponse()
        assert response.read() == b"ok"
        return response


def test_the_request_that_reaches_the_limit_is_the_last() -> None:
    with serve_process("process_apps:app", "--limit-max-requests", "3") as process:
        with closing(http.client.HTTPConnection(process.host, process.port, timeout=PATIENCE)) as client:
            for number in range(1, 4):
                client.request("GET", "/")
                response = client.getresponse()
                assert response.read() == b"ok"
                assert process.popen.poll() is None, number
        assert process.wait() == 0
        assert "Shutting down after 3 requests (--limit-max-requests)" in process.output
        assert "the application shuts down" in process.output
        assert process.output.count('"GET / HTTP/1.1" 200') == 3


@pytest.mark.parametrize(
    ("option", "value", "line"),
    [
        ("--limit-worker-lifetime", "0.2", r"Shutting down after \d s of life \(--limit-worker-lifetime\)"),
        ("--limit-worker-memory", "1", r"Shutting down after \d+ MiB of memory \(--limit-worker-memory\)"),
    ],
)
def test_lifetime_and_memory_end_a_process_gracefully(option: str, value: str, line: str) -> None:
    with serve_process("process_apps:app", option, value) as process:
        process.wait_for_line(line)
        process.wait_for_line("the application shuts down")
        assert process.wait() == 0


def test_limits_are_lowered_by_the_jitter_at_most() -> None:
    config = Config(
        "a:b",
        limit_worker_lifetime=100,
        limit_worker_jitter=0.5,
        limit_max_requests=10,
        limit_max_requests_jitter=5,
    )
    drawn = [Recycling(config, now=1000.0) for _ in range(50)]
    assert all(each.exceeded(1049.9) is None for each in drawn)
    assert all(each.exceeded(1100.0) == "100 s of life (--limit-worker-lifetime)" for each in drawn)
    assert 0 < sum(each.exceeded(1075.0) is not None for each in drawn) < 50
    assert {each.requests for each in drawn} == {10, 11, 12, 13, 14, 15}


def test_without_limits_nothing_is_exceeded() -> None:
    recycling = Recycling(Config("a:b"), now=0.0)
    assert recycling.requests is None
    assert recycling.exceeded(1e12) is None


MEASURES = """
from fastws.process.recycling import resident_bytes
before = resident_bytes()
block = bytearray(b"x") * (32 << 20)
print(resident_bytes() - before)
"""


def test_memory_is_what_the_kernel_says() -> None:
    """Of a process that does nothing else: this one frees memory when it likes."""
    grown = subprocess.run([sys.executable, "-c", MEASURES], capture_output=True, text=True, timeout=60, check=True)
    assert 24 << 20 < int(grown.stdout) < 40 << 20


def test_jitter_is_a_share() -> None:
    with pytest.raises(ConfigError, match="--limit-worker-jitter: must be a number from 0 to 1, not 2"):
        Config("a:b", limit_worker_jitter=2)


def test_log_files_are_opened_anew(tmp_path: Path) -> None:
    log, moved = tmp_path / "fastws.log", tmp_path / "fastws.log.1"
    config = {
        "version": 1,
        "disable_existing_loggers": False,
        "handlers": {"file": {"class": "logging.FileHandler", "filename": str(log)}},
        "loggers": {"fastws.access": {"handlers": ["file"], "level": "INFO"}},
        "root": {"level": "INFO", "handlers": ["stderr"]},
    }
    config["handlers"]["stderr"] = {"class": "logging.StreamHandler"}  # type: ignore[index]
    (tmp_path / "log.json").write_text(json.dumps(config))
    with serve_process("process_apps:app", "--log-config", str(tmp_path / "log.json")) as process:
        get(process)
        log.rename(moved)
        process.signal(signal.SIGUSR1)
        process.wait_for_line("Opened the log files anew")
        get(process)
        assert process.stop() == 0
    assert moved.read_text().count("GET / ") == 1
    assert log.read_text().count("GET / ") == 1
