"""What the supervisor decides, without waiting for it: real processes, and a time that is told."""

from __future__ import annotations

import functools
import logging
import os
import pickle
import signal
import socket
import subprocess
import sys
import time

import pytest
from serving import PATIENCE

from fastws.config import Config
from fastws.errors import STARTUP_FAILURE
from fastws.process.hearts import ABORT_SECONDS
from fastws.process.supervisor import Supervisor
from fastws.process.systemd import Notifier


@pytest.mark.parametrize("seconds", [60.0, None])
def test_a_worker_that_hangs_before_it_serves_is_killed(
    seconds: float | None, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.ERROR, "fastws.error")
    config = Config("worker_apps:app", timeout_worker_start=seconds, timeout_worker_healthcheck=None)
    hangs = pickle.dumps(functools.partial(time.sleep, 600.0))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        supervisor = Supervisor(config, hangs, {}, os.environ, [listener], Notifier())
        supervisor._start()
        [worker] = supervisor.workers
        try:
            supervisor._look_after_hearts(worker.started + 59.0)
            assert worker.kill_at is None
            supervisor._look_after_hearts(worker.started + 61.0)
            if seconds is None:
                assert worker.kill_at is None
                return
            assert worker.kill_at == worker.started + 61.0 + ABORT_SECONDS
            assert worker.process.wait(PATIENCE) == -signal.SIGABRT
            supervisor._bury(worker.started + 62.0)
            assert (supervisor.workers, supervisor._exit_code) == ([], STARTUP_FAILURE)
            assert f"Worker [{worker.pid}] does not serve after 60 s (--timeout-worker-start)" in caplog.text
        finally:
            worker.process.kill()
            worker.process.wait()
            worker.close()


ORPHANS = """
import os, time
from fastws.process.worker_handle import reap_orphans

reap_orphans(())
children = []
for _ in range(3):
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    children.append(pid)
for pid in children:
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
reap_orphans({children[2]})
assert os.waitpid(children[2], 0) == (children[2], 0)
reap_orphans(())
try:
    os.waitpid(-1, os.WNOHANG)
except ChildProcessError:
    print("none is left")
"""


def test_orphans_are_waited_for_and_workers_are_not() -> None:
    done = subprocess.run([sys.executable, "-c", ORPHANS], capture_output=True, text=True, timeout=PATIENCE)
    assert (done.stdout, done.stderr) == ("none is left\n", "")
