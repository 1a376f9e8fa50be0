"""The process that starts workers and sees to it that there are as many as wanted, for --workers and --reload.

It holds the listening sockets, so that none of the connections that wait is lost whatever happens to a worker, and does
nothing else with them: `fastws.process.even_spread` says how workers share them. It has no event loop, and its own loop
waits for signals, for what workers say, and for the next deadline. What it decides:

- The first worker starts alone; where it cannot start, the service cannot, and that is said once.
- A worker that dies is replaced: at once, or with a growing delay where they die young (`fastws.process.backoff`).
- A worker is replaced for SIGHUP or because it reached a limit: its successor accepts connections before it drains, and
  one is replaced at a time.
- A worker that is stuck is killed: `fastws.process.hearts` finds it.
"""

from __future__ import annotations

import contextlib
import logging
import os
import selectors
import signal
import socket
import time
from collections.abc import Iterator, Mapping
from typing import Any, Final

import fastws
from fastws.config import Config
from fastws.counted import counted
from fastws.errors import STARTUP_FAILURE, StartupError
from fastws.net import listeners
from fastws.observe.log_files import reopen_log_files
from fastws.observe.log_setup import log_failure
from fastws.observe.terminal import has_terminal
from fastws.process.backoff import FIRST_DELAY, Backoff
from fastws.process.greeting import log_hints
from fastws.process.hearts import Hearts
from fastws.process.reloader import ChangeWatcher
from fastws.process.scoreboard import Scoreboard, Stage
from fastws.process.signals import FIRST_PROCESS, as_bytes, hangup_is_ignored, held_back
from fastws.process.systemd import Notifier
from fastws.process.worker_handle import (
    ENDING,
    LIMIT_REACHED,
    STARTED,
    SUPERVISED_SIGNALS,
    UNGUARDED,
    Worker,
    clean_environment,
    describe_exit,
    reap_orphans,
)

logger: Final = logging.getLogger("fastws.error")

RELOAD_KILL_SECONDS: Final = 5.0
"""How long a worker gets to end when files have changed, after which it is killed."""
LONGEST_WAIT: Final = 1.0
NOT_YET_SECONDS: Final = 1e6
TOGETHER_AT_FIRST_SECONDS: Final = 5.0
"""How long connections wait, when the first worker serves, for the others to do so too."""


class Supervisor:
    """Keeps `config.workers` workers on `sockets`. With a `watcher` there is one, which restarts when files change."""

    def __init__(
        self,
        config: Config,
        source: bytes,
        overrides: dict[str, Any],
        environ: Mapping[str, str],
        sockets: list[socket.socket],
        notifier: Notifier,
        watcher: ChangeWatcher | None = None,
    ) -> None:
        self.config = config
        self.workers: list[Worker] = []
        """All that run, those that start and those that drain included: see `Worker` for what is known of each."""
        self.wanted = 1 if watcher is not None else config.workers or 1
        """How many should serve."""
        self.generation = 0
        self._source = source
        self._environ = clean_environment(environ)
        self._sockets = sockets
        self._notifier = notifier
        self._watcher = watcher
        self._overrides = overrides
        self._board = Scoreboard.create()
        self._board.hold(NOT_YET_SECONDS)  # until the first worker serves
        self._selector = selectors.DefaultSelector()
        self._had_terminal = has_terminal() and not hangup_is_ignored()  # see Server
        self._exit_code = 0
        self._signals_to_end = 0
        self._ever_served = self._restarting = self._waiting_for_change = False
        # The worker that drains because its successor serves; the next one waits for its end.
        self._drains: Worker | None = None
        self._backoff = Backoff()
        self._hearts = Hearts(config, time.monotonic())
        self._last_alive = 0.0

    def run(self) -> int:
        """Supervise until a signal ends it, or nothing can start; returns the exit code."""
        if self.config.reload and (self.config.workers or 1) > 1:
            logger.warning("--workers is ignored with --reload")
        log_hints(self.config)
        logger.info("Started supervisor process [%d], fastws %s", os.getpid(), fastws.__version__)
        with self._signals(), self._watching():
            while True:
                now = time.monotonic()
                self._bury(now)
                self._look_after_hearts(now)
                if self._signals_to_end and not self.workers:
                    break
                if not self._signals_to_end:
                    self._staff(now)
                self._wait(now)
        logger.info("Finished supervisor process [%d]", os.getpid())
        return self._exit_code

    # Having as many workers as wanted.

    def _staff(self, now: float) -> None:
        """Start, replace and end workers, as many as may be now."""
        staying = [each for each in self.workers if not each.told_to_end]
        replacing = sum(each.starts and each.predecessor in staying for each in staying)
        missing = self.wanted + replacing - len(staying)
        if missing < 0:
            serving = [each for each in staying if each.serves]
            for each in sorted(serving, key=lambda worker: worker.connections)[:-missing]:
                logger.info("Worker [%d] is one too many; it drains", each.pid)
                each.end()
        if self._waiting_for_change or now < self._backoff.next_start:
            return
        if not self._ever_served and any(each.starts for each in staying):
            return  # the first one shows whether it can be done
        if self._watcher is not None and self.workers:
            return  # two would meet in the application's files
        for _ in range(missing if self._ever_served else min(missing, 1)):
            self._start()
        if missing <= 0 and not replacing and self._drains is None:
            old = next((each for each in staying if each.serves and each.why_replaced is not None), None)
            if old is not None:
                self._start(old)

    def _start(self, predecessor: Worker | None = None) -> None:
        """Start a worker; it takes over from its predecessor, if there is one, when it serves."""
        row = self._board.take_row()
        try:
            with held_back(SUPERVISED_SIGNALS):
                worker = Worker(self._source, self._overrides, self._sockets, row, self.generation, self._environ)
        except OSError as error:  # no process, memory or descriptor can be had, or the interpreter is being replaced
            row.free()
            self._cannot_start(predecessor, error.strerror or str(error))
            return
        worker.predecessor = predecessor
        self.workers.append(worker)
        self._selector.register(worker.channel, selectors.EVENT_READ, lambda: self._listen_to(worker))

    def _cannot_start(self, predecessor: Worker | None, why: str) -> None:
        """The system did not let a worker start: do without, as far as that goes."""
        if not self._ever_served:
            log_failure(StartupError(f"Cannot start a worker: {why}"))
            self._exit_code = STARTUP_FAILURE
            self._signals_to_end = 1
            return
        now = time.monotonic()
        delay = max(self._backoff.died(now, 0.0), FIRST_DELAY)
        self._backoff.next_start = max(self._backoff.next_start, now + delay)
        if predecessor is not None and predecessor.why_replaced == "restart":
            logger.error("Cannot start a worker: %s; the old ones go on", why)
            self._give_restart_up()
        else:
            logger.error("Cannot start a worker: %s; trying again in %.1f s", why, delay)

    def _give_restart_up(self) -> None:
        for each in self.workers:
            each.why_replaced = None if each.why_replaced == "restart" else each.why_replaced
        self._restarting = False
        self._notifier.ready("The last restart failed")

    def _listen_to(self, worker: Worker) -> None:
        """Act on what the worker says."""
        said = worker.read()
        if not said:
            with contextlib.suppress(KeyError):
                self._selector.unregister(worker.channel)  # it is gone, or nearly so
        if STARTED in said:
            worker.serving_since = time.monotonic()
            self._now_serves(worker)
        if UNGUARDED in said:
            worker.unguarded = True
        if LIMIT_REACHED in said:
            worker.why_replaced = "limit"
        if ENDING in said and not worker.told_to_end:
            worker.told_to_end = True
            if not self._signals_to_end:
                logger.info(
                    "Worker [%d] ends, although the supervisor has not told it to; starting another one", worker.pid
                )

    def _now_serves(self, worker: Worker) -> None:
        if not self._ever_served:
            self._ever_served = True
            self._board.hold(TOGETHER_AT_FIRST_SECONDS if self.wanted > 1 else 0.0)
            listeners.announce(self._sockets, secure=self.config.is_ssl)
            self._notifier.ready(self._status())
        serving = sum(each.serves for each in self.workers)
        if serving >= self.wanted:
            self._board.hold(0.0)
        if serving == self.wanted and worker.predecessor is None and self._watcher is None:
            logger.info("%s", self._status())
            self._notifier.status(self._status())
        old, worker.predecessor = worker.predecessor, None
        if old is not None and old in self.workers and not old.told_to_end:
            logger.info("Worker [%d] takes over from [%d], which drains", worker.pid, old.pid)
            self._drains = old
            old.end()
        self._say_when_restarted()

    def _say_when_restarted(self) -> None:
        staying = [each for each in self.workers if not each.told_to_end]
        are_new = all(each.serves and each.generation == self.generation for each in staying)
        if self._restarting and self._drains is None and are_new:
            self._restarting = False
            logger.info("All workers were replaced")
            self._notifier.ready(self._status())

    def _status(self) -> str:
        return f"{counted(self.wanted, 'worker')} serve{'s' if self.wanted == 1 else ''}"

    # Workers that end.

    def _bury(self, now: float) -> None:
        """Take note of every worker that has ended."""
        for worker in list(self.workers):
            status = worker.process.poll()
            if status is None:
                continue
            self._listen_to(worker)  # its last words
            with contextlib.suppress(KeyError):
                self._selector.unregister(worker.channel)
            self.workers.remove(worker)
            worker.close()
            if worker is self._drains:
                self._drains = None
            if worker.told_to_end:
                self._ended_as_told(worker, status)
                self._say_when_restarted()
            elif not self._signals_to_end:
                self._died(worker, status, now)
        if os.getpid() == FIRST_PROCESS:
            reap_orphans({each.pid for each in self.workers})

    def _ended_as_told(self, worker: Worker, status: int) -> None:
        # The signal ends a process only before and behind the time in which it serves: see `Server`.
        if status in (0, -signal.SIGTERM):
            logger.info("Worker [%d] has ended", worker.pid)
            return
        logger.warning("Worker [%d] %s while it was ending", worker.pid, describe_exit(status))
        if self._signals_to_end:
            self._exit_code = self._exit_code or 1

    def _died(self, worker: Worker, status: int, now: float) -> None:
        what = describe_exit(status)
        if self._watcher is not None and not worker.unguarded:
            logger.error("Worker [%d] %s; waiting for a change of files", worker.pid, what)
            self._waiting_for_change = True
            return
        if not self._ever_served or worker.unguarded:
            if status != STARTUP_FAILURE:  # else it has said why
                log_failure(StartupError(f"The first worker {what} before it served"))
            self._exit_code = STARTUP_FAILURE
            self._signals_to_end = 1
            return
        if worker.predecessor is not None and worker.predecessor.why_replaced == "restart":
            logger.error("The new worker [%d] %s before it served: the old ones go on", worker.pid, what)
            self._give_restart_up()
            return
        served = now - worker.serving_since if worker.serving_since is not None else 0.0
        delay = self._backoff.died(now, served)
        when = f"in {delay:.1f} s" if delay else "now"
        logger.error("Worker [%d] %s after serving for %.0f s; starting another %s", worker.pid, what, served, when)

    def _look_after_hearts(self, now: float) -> None:
        """Let stuck workers be killed, and tell systemd that this process is alive, where it wants to know."""
        self._hearts.look(self.workers, now)
        interval = self._notifier.watchdog_seconds
        if interval is not None and now - self._last_alive >= interval / 2:
            self._last_alive = now
            self._notifier.alive()

    # Signals, and waiting for them.

    def _handle(self, number: int) -> None:
        if number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT):
            self._end()
        elif number == signal.SIGHUP and self._had_terminal and not has_terminal():
            logger.info("The terminal is gone; shutting down")
            self._end()
        elif number == signal.SIGHUP and not self._signals_to_end:
            self._restart()
        elif number in (signal.SIGTTIN, signal.SIGTTOU) and self._watcher is None and not self._signals_to_end:
            self.wanted = max(1, self.wanted + (1 if number == signal.SIGTTIN else -1))
            verb = "is" if self.wanted == 1 else "are"
            logger.info("%s: %s %s wanted now", signal.Signals(number).name, counted(self.wanted, "worker"), verb)
        elif number == signal.SIGUSR2:
            logger.info("SIGUSR2: means nothing to this server, which goes on")
        elif number == signal.SIGUSR1:
            reopen_log_files()
            for worker in self.workers:
                worker.send_signal(signal.SIGUSR1)

    def _end(self) -> None:
        """End gracefully; the second time in a hurry, the third at once."""
        self._signals_to_end += 1
        if self._signals_to_end == 1:
            logger.info("Shutting down %s", counted(len(self.workers), "worker"))
            self._notifier.stopping()
            for sock in self._sockets:  # the workers' are their own, and listening ends with the last one's
                sock.close()
        for worker in self.workers:  # first of all, so that none believes that others go on
            worker.row.stage = Stage.ENDING
        for worker in list(self.workers):
            if self._signals_to_end > 2:
                worker.send_signal(signal.SIGKILL)
            elif self._signals_to_end == 2:
                worker.end(hurry=True)
            elif not worker.told_to_end:
                worker.end()

    def _restart(self) -> None:
        """Replace all workers by new ones, one at a time."""
        if self._watcher is not None:
            self._reload("SIGHUP")
            return
        logger.info("SIGHUP: replacing %s, one by one", counted(self.wanted, "worker"))
        self._notifier.reloading()
        self.generation += 1
        self._restarting = True
        for worker in self.workers:
            worker.why_replaced = worker.why_replaced or "restart"

    def _reload(self, what: str) -> None:
        """Restart the only worker, in no more time than it takes to say goodbye."""
        logger.warning("%s changed; restarting", what)
        self._waiting_for_change = False
        for worker in self.workers:
            if not worker.told_to_end:
                worker.end()
                worker.kill_at = time.monotonic() + RELOAD_KILL_SECONDS

    def _wait(self, now: float) -> None:
        """Wait for the next thing to do, and do it."""
        deadlines = [now + LONGEST_WAIT]
        if self._backoff.next_start > now:
            deadlines.append(self._backoff.next_start)
        deadlines += [each.kill_at for each in self.workers if each.kill_at is not None]
        if self.config.timeout_worker_healthcheck is not None:
            deadlines.append(now + self.config.timeout_worker_healthcheck / 4)
        if self._notifier.watchdog_seconds is not None:
            deadlines.append(now + self._notifier.watchdog_seconds / 2)
        for key, _ in self._selector.select(max(0.0, min(deadlines) - time.monotonic())):
            key.data()

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        """Act on signals, one after the other, as part of the loop."""
        with as_bytes([*SUPERVISED_SIGNALS, signal.SIGCHLD]) as signals:

            def read() -> None:
                for number in signals.recv(4096):
                    self._handle(number)

            self._selector.register(signals, selectors.EVENT_READ, read)
            try:
                yield
            finally:
                self._selector.unregister(signals)

    @contextlib.contextmanager
    def _watching(self) -> Iterator[None]:
        """Restart when files change, if a watcher is there."""
        if self._watcher is None:
            yield
            return
        with self._watcher as changes:
            self._selector.register(changes, selectors.EVENT_READ, lambda: self._on_change(changes))
            try:
                yield
            finally:
                self._selector.unregister(changes)

    def _on_change(self, changes: socket.socket) -> None:
        if (what := changes.recv(65536).decode(errors="replace").strip()) and not self._signals_to_end:
            self._reload(", ".join(dict.fromkeys(what.splitlines())))
