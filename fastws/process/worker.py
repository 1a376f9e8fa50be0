"""One worker of several: what runs in a process that `fastws.process.supervisor` started.

It is a new interpreter, which reads the configuration and imports the application by itself. With the supervisor it
shares the listening sockets, a row of the scoreboard, and a channel: the worker says there in one byte what happens,
and where the channel ends, because the supervisor is gone, it drains as on SIGTERM.
"""

from __future__ import annotations

import contextlib
import dataclasses
import faulthandler
import logging
import os
import pickle
import signal
import socket
import sys
import threading
from collections.abc import Callable, Sequence
from types import FrameType
from typing import Final

from fastws.config import Config
from fastws.errors import STARTUP_FAILURE, ConfigError
from fastws.net.accepting import Accepting, accept
from fastws.net.forking import give_up, in_children
from fastws.net.loop_state import LoopState
from fastws.net.standard_descriptors import open_standard_descriptors
from fastws.observe.log_files import reopen_on_signal
from fastws.observe.terminal import say
from fastws.process import signals
from fastws.process.even_spread import Gate
from fastws.process.guard import this_is_a_worker
from fastws.process.leaving import run_server
from fastws.process.scoreboard import Row, Scoreboard, Stage
from fastws.process.server import Server
from fastws.process.worker_handle import ENDING, HURRY, LIMIT_REACHED, STARTED, SUPERVISED_SIGNALS, UNGUARDED, Order

logger: Final = logging.getLogger("fastws.error")


class WorkerServer(Server):
    """A server that shares its sockets with others, and asks for a successor instead of ending at its limits."""

    says_hints = False

    def __init__(self, config: Config, channel: socket.socket, row: Row) -> None:
        self._reopen = reopen_on_signal()
        super().__init__(config, on_started=self._tell_started, on_tick=self._beat)
        self._channel = channel
        self._row = row
        self._gate: Gate | None = None
        self._replaced = False
        if config.timeout_worker_healthcheck is not None:
            self.tick_seconds = min(self.tick_seconds, config.timeout_worker_healthcheck / 4)

    def handle_exit(self, signum: int, frame: FrameType | None) -> None:
        """Handle SIGTERM. SIGINT is the terminal's, which sends it to the supervisor too, and that is enough.

        So may be a SIGTERM: service managers and containers send it to every process. One more is none that hurries,
        which is the supervisor's to say.
        """
        if signum == signal.SIGINT or self.should_exit:
            return
        super().handle_exit(signum, frame)
        self._tell_ending()

    async def _announce_end(self, state: LoopState) -> None:
        if self._row.stage != Stage.ENDING:  # told otherwise than by a signal
            self._tell_ending()
        await super()._announce_end(state)

    def limit_reached(self, what: str) -> None:
        """Ask for a successor, and serve until it is there."""
        if not self._replaced and not self.should_exit:
            self._replaced = True
            logger.info("Asking for a successor after %s", what)
            self._tell(LIMIT_REACHED)

    async def _accept(self, state: LoopState, sock: socket.socket) -> Accepting:
        if self._gate is None:
            self._gate = Gate(self._row, state.accepted)
        config = self.config
        return await accept(state, sock, config.backlog, self._tls, config.timeout_request_head, self._gate)

    def drain_delay(self) -> float:
        """None where others serve on, as in a restart: the service is ready and nobody need to look elsewhere."""
        self._row.stage = Stage.ENDING
        return 0.0 if self._others_accept() else super().drain_delay()

    def _others_accept(self) -> bool:
        """Whether a worker goes on; this one does not, if it asks."""
        return self._row.board.somebody_accepts()

    def _announce(self, sockets: Sequence[socket.socket]) -> None:
        """The supervisor says it, once."""

    def _in_child(self) -> None:
        self._row.board.leave()
        super()._in_child()

    def _tell_started(self) -> None:
        self._row.stage = Stage.ACCEPTING
        self._tell(STARTED)

    def _tell_ending(self) -> None:
        self._row.stage = Stage.ENDING
        self._tell(ENDING)

    def _beat(self) -> None:
        self._row.beat()
        if self._state is not None:
            self._row.connections = len(self._state.connections)
        self._reopen()

    def _tell(self, what: bytes) -> None:
        _tell(self._channel, what)


def _tell(channel: socket.socket, what: bytes) -> None:
    with contextlib.suppress(OSError):  # the supervisor is gone
        channel.send(what)


def main(descriptor: int) -> None:
    """Serve as the order says that comes over the channel, whose descriptor is the argument."""
    open_standard_descriptors()
    # The supervisor blocked the signals, so that none can end this process before it knows what to do.
    signals.disregard(SUPERVISED_SIGNALS - {signal.SIGTERM})
    with contextlib.suppress(AttributeError, ValueError, OSError, RuntimeError):  # no file behind sys.stderr
        faulthandler.enable()
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SUPERVISED_SIGNALS)
    channel = socket.socket(fileno=descriptor)
    this_is_a_worker(lambda: _tell(channel, UNGUARDED))
    order = _receive(channel)
    inherited = (channel.fileno(), order.scoreboard, *order.sockets)
    for each in inherited:
        os.set_inheritable(each, False)
    with in_children(lambda: give_up(inherited)):
        _serve(order, channel)


def _serve(order: Order, channel: socket.socket) -> None:
    sys.path[:] = order.path
    try:
        source: Callable[[], Config] = pickle.loads(order.source)
        config = dataclasses.replace(source(), **order.overrides)
    except (ConfigError, ImportError, AttributeError) as error:  # the latter of what an option refers to
        say("Error", str(error))
        raise SystemExit(STARTUP_FAILURE) from None
    row = Scoreboard(order.scoreboard).row(order.row)
    server = WorkerServer(config, channel, row)
    threading.Thread(target=_watch, args=(channel, server), name="fastws-supervisor-watch", daemon=True).start()
    try:
        run_server(server, [socket.socket(fileno=each) for each in order.sockets], last=True)
    finally:
        row.stage = Stage.ENDING
        row.stop_beating()


def _receive(channel: socket.socket) -> Order:
    with channel.makefile("rb") as file:
        order = pickle.load(file)
    assert isinstance(order, Order)
    return order


def _watch(channel: socket.socket, server: WorkerServer) -> None:
    """End this process gracefully when the supervisor says so or is gone; the loop may be stuck, so this is a thread.

    It says so with SIGTERM too, which is enough but where the application has taken that signal for itself. To hurry is
    said here only.
    """
    with contextlib.suppress(OSError):
        while said := channel.recv(1):
            if said == HURRY:
                server.should_exit = server.force_exit = True
            elif server.started and not signals.are_caught():
                _end(server)
    logger.warning("The supervisor is gone; shutting down")
    _end(server)


def _end(server: WorkerServer) -> None:
    if server.started:
        if not server.should_exit:
            server.handle_exit(signal.SIGTERM, None)
        return
    ident = threading.main_thread().ident  # it imports the application, or starts it
    assert ident is not None
    signal.pthread_kill(ident, signal.SIGTERM)


if __name__ == "__main__":
    main(int(sys.argv[1]))
