"""Who accepts: the rule, on a scoreboard that several share and with a clock that is set."""

from __future__ import annotations

import os

import pytest

from fastws.process.even_spread import HOLD_SECONDS, LOOK_AWAY_SECONDS, PATIENCE_SECONDS, Gate, has_its_part
from fastws.process.scoreboard import ROWS, STUCK_NANOSECONDS, Row, Scoreboard, Stage


@pytest.fixture
def board() -> Scoreboard:
    return Scoreboard.create()


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def worker(board: Scoreboard, connections: int) -> Row:
    row = board.take_row()
    row.stage = Stage.ACCEPTING
    row.connections = connections
    row.beat()
    return row


def test_processes_see_each_others_rows(board: Scoreboard) -> None:
    row = board.take_row()
    assert row.stage is Stage.STARTING
    pid = os.fork()
    if pid == 0:
        mine = Scoreboard(board.descriptor).row(row.index)
        mine.stage = Stage.ACCEPTING
        mine.connections = 7
        mine.beat()
        os._exit(0)
    os.waitpid(pid, 0)
    assert (row.stage, row.connections, board.mean()) == (Stage.ACCEPTING, 7, 7.0)
    assert row.last_beat > 0
    row.stop_beating()
    assert row.last_beat == 0


def test_rows_are_used_again(board: Scoreboard) -> None:
    rows = [worker(board, 1) for _ in range(3)]
    rows[1].free()
    assert rows[1].stage is Stage.FREE
    assert board.take_row().index == rows[1].index
    for _ in range(ROWS - 3):
        board.take_row()
    with pytest.raises(RuntimeError):
        board.take_row()


def test_the_mean_is_of_those_who_accept_and_whose_loops_turn(board: Scoreboard) -> None:
    assert board.mean() == 0.0
    for connections in (10, 20):
        worker(board, connections)
    worker(board, 1000).stage = Stage.ENDING
    board.take_row().connections = 500  # it starts
    stuck = worker(board, 300)
    assert board.mean() == 110.0
    board._beats[stuck.index] -= STUCK_NANOSECONDS
    assert board.mean() == 15.0


@pytest.mark.parametrize(
    ("mine", "mean", "expected"),
    [(0, 0.0, False), (1, 0.5, False), (2, 0.5, True), (500, 500.0, False), (532, 500.0, False), (533, 500.0, True)],
)
def test_a_part_is_the_mean_and_a_little(mine: int, mean: float, expected: bool) -> None:
    assert has_its_part(mine, mean) is expected


def test_who_has_less_accepts_at_once_and_is_counted(board: Scoreboard) -> None:
    worker(board, 100)
    row = worker(board, 0)
    gate = Gate(row, lambda: 15, Clock())
    assert gate() == 0.0
    assert row.connections == 16


def test_who_has_more_leaves_it_to_the_others_until_it_has_waited_too_long(board: Scoreboard) -> None:
    worker(board, 0)
    row, clock = worker(board, 0), Clock()
    gate = Gate(row, lambda: 100, clock)
    began = clock.now
    while gate() == LOOK_AWAY_SECONDS:
        clock.now += LOOK_AWAY_SECONDS
    assert PATIENCE_SECONDS <= clock.now - began < PATIENCE_SECONDS + 2 * LOOK_AWAY_SECONDS
    assert row.connections == 101
    assert gate() == LOOK_AWAY_SECONDS  # one for each look
    clock.now += 1.1 * LOOK_AWAY_SECONDS
    assert gate() == 0.0
    clock.now += 10.0  # nobody waited: the next one has not waited yet
    assert gate() == LOOK_AWAY_SECONDS


def test_nobody_accepts_while_the_service_starts(board: Scoreboard) -> None:
    gates = [Gate(worker(board, 0), lambda: 0) for _ in range(2)]
    board.hold(1000.0)
    assert [gate() for gate in gates] == [HOLD_SECONDS] * 2
    board.hold(0.0)
    assert [gate() for gate in gates] == [0.0] * 2
    board.hold(1e-9)
    assert gates[0]() == 0.0


def test_alone_it_accepts_always(board: Scoreboard) -> None:
    gate = Gate(worker(board, 0), lambda: 10_000, Clock())
    assert [gate() for _ in range(5)] == [0.0] * 5


def test_many_workers_in_turn_end_up_even(board: Scoreboard) -> None:
    """The first that may accept does, in an order that favours the same ones each time."""
    counts = [0, 0, 0, 0]
    clock = Clock()
    gates = [Gate(worker(board, 0), lambda n=n: counts[n], clock) for n in range(4)]  # type: ignore[misc]
    for _ in range(2000):
        clock.now += 0.0001
        chosen = next(n for n in range(4) if gates[n]() == 0.0)
        counts[chosen] += 1
    assert sum(counts) == 2000
    assert max(counts) <= 1.1 * 500
