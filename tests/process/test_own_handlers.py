"""Workers whose application has taken SIGTERM for itself: their supervisor reaches them all the same."""

from __future__ import annotations

import signal

from serving import serve_process


def test_the_word_of_the_supervisor_arrives() -> None:
    with serve_process("own_handler_app:app", "--workers", "2") as process:
        process.wait_for_line("2 workers serve")
        process.signal(signal.SIGTERM)
        assert process.wait() == 0
        assert process.output.count("the application shuts down") == 2
        assert "told to hurry" not in process.output


def test_workers_end_without_their_supervisor() -> None:
    with serve_process("own_handler_app:app", "--workers", "2") as process:
        process.wait_for_line("2 workers serve")
        process.signal(signal.SIGKILL)
        process.wait()  # until the last of them has closed the output
        assert process.output.count("the application shuts down") == 2
