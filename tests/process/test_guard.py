"""`fastws.run` without a guard, in workers, in children and in frozen programs: it ends with a line, or works."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from serving import PATIENCE, SUPPORT, WITHOUT_EXTENSION

pytestmark = pytest.mark.slow

ENVIRONMENT = {
    **os.environ,
    **({"FASTWS_WS": "websockets"} if WITHOUT_EXTENSION else {}),
    "PYTHONPATH": str(SUPPORT),
    "PYTHONUNBUFFERED": "1",
}
APPLICATION = "import fastws\nfrom process_apps import app\nprint('imported', flush=True)\n"
GUARD = 'put the call under `if __name__ == "__main__":`'


def run_script(tmp_path: Path, script: str, *command: str) -> subprocess.CompletedProcess[str]:
    """Run the script as ``main.py``, or the command beside it, to its end."""
    (tmp_path / "main.py").write_text(APPLICATION + script)
    return subprocess.run(
        [sys.executable, *(command or ("main.py",))],
        env=ENVIRONMENT,
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=2 * PATIENCE,
    )


@pytest.mark.parametrize("options", ["", ", workers=2", ", reload=True"])
def test_run_at_the_top_of_the_applications_module_is_one_line(tmp_path: Path, options: str) -> None:
    done = run_script(tmp_path, f"fastws.run('main:app', port=0{options})\n")
    assert done.stdout.splitlines().count("imported") == 2  # the script, and whoever serves it
    assert [line for line in done.stdout.splitlines() if "Error" in line] == [
        f"Error: fastws.run() was called while 'main' was imported to be served: {GUARD}"
    ]
    assert "Traceback" not in done.stdout
    assert done.returncode == 3


@pytest.mark.parametrize("options", [(), ("--workers", "2")])
def test_the_command_does_not_serve_such_a_module_either(tmp_path: Path, options: tuple[str, ...]) -> None:
    done = run_script(tmp_path, "fastws.run(app, port=0)\n", "-m", "fastws", "main:app", "--port", "0", *options)
    assert (done.returncode, done.stdout.splitlines().count("imported")) == (3, 1)
    assert GUARD in done.stdout


def test_a_server_without_run_is_refused_in_an_import_too(tmp_path: Path) -> None:
    done = run_script(tmp_path, "fastws.Server(fastws.Config(app, port=0)).run()\n", "-m", "fastws", "main:app")
    assert done.returncode == 3
    assert GUARD in done.stdout


def test_a_child_of_multiprocessing_does_not_serve_as_its_parent_does(tmp_path: Path) -> None:
    script = """
import multiprocessing
if __name__ == "__main__":
    child = multiprocessing.get_context("spawn").Process(target=print)
    child.start()
    child.join()
    print("status", child.exitcode)
else:
    fastws.run(app, port=0)
"""
    done = run_script(tmp_path, script)
    assert f"in a child process of multiprocessing, which imports the main module anew: {GUARD}" in done.stdout
    assert "status 3" in done.stdout


FROZEN = """#!{python}
import sys
sys.frozen, sys.executable = True, {program!r}
sys.path[:0] = {path!r}
import fastws
print("the program runs with", sys.argv[1:], __name__, flush=True)
if __name__ == "__main__":
    fastws.run("process_apps:app", port=0, workers=2, access_log=False)
    raise AssertionError("a worker does not come back")
"""


def test_a_frozen_program_has_workers(tmp_path: Path) -> None:
    program = tmp_path / "program"
    program.write_text(FROZEN.format(python=sys.executable, program=str(program), path=[str(SUPPORT)]))
    program.chmod(0o755)
    with subprocess.Popen(
        [str(program), "--of-its", "own"], env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        try:
            assert process.stdout is not None
            before = []
            for line in process.stdout:
                before.append(line)
                if "2 workers serve" in line:
                    break
            else:
                raise AssertionError("".join(before))
            process.send_signal(signal.SIGTERM)
            after = process.stdout.read()
            assert process.wait(PATIENCE) == 0, after
        finally:
            process.kill()
    runs = [line for line in before if line.startswith("the program runs")]
    assert runs == ["the program runs with ['--of-its', 'own'] __main__\n"] * 3
    assert "AssertionError" not in after
