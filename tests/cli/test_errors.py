"""The rule for errors at a terminal (`fastws.observe.terminal`), on every way by which one gets there.

What keeps a command from doing what it was asked for is one line on standard error that begins with ``Error: ``, and an
exit code.
"""

from __future__ import annotations

import ast
import json
import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from serving import WITHOUT_EXTENSION

import fastws
from fastws.cli.main import main

SOURCES = Path(fastws.__file__).parent
APPS = """
async def app(scope, receive, send):
    assert scope["type"] == "lifespan"
    await receive()
    await send({"type": "lifespan.startup.complete"})
    await receive()
    await send({"type": "lifespan.shutdown.complete"})

async def fails(scope, receive, send):
    await receive()
    await send({"type": "lifespan.startup.failed", "message": "the database is away"})

async def fails_to_end(scope, receive, send):
    await receive()
    await send({"type": "lifespan.startup.complete"})
    await receive()
    await send({"type": "lifespan.shutdown.failed", "message": "the queue is not empty"})
"""
TO_A_FILE = {
    "version": 1,
    "handlers": {"file": {"class": "logging.FileHandler", "filename": "server.log"}},
    "loggers": {"fastws": {"handlers": ["file"], "level": "INFO"}},
}


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """A working directory with applications, configurations and mistakes."""
    (tmp_path / "apps.py").write_text(APPS)
    (tmp_path / "wrong.toml").write_text("workres = 1\n")
    (tmp_path / "to_a_file.json").write_text(json.dumps(TO_A_FILE))
    (tmp_path / "to_nobody.json").write_text('{"version": 1}')
    (tmp_path / "runs.py").write_text('import fastws\nfastws.run("apps:app", ws_max_sise=1)\n')
    (tmp_path / "serves.py").write_text('import fastws\nfastws.run("apps:app", uds="apps.py")\n')
    (tmp_path / "unguarded.py").write_text('import fastws\nfastws.run("unguarded:app")\n')
    (tmp_path / "latin.txt").write_bytes(b"\xe4")
    return tmp_path


@pytest.fixture
def taken() -> Iterator[str]:
    """A port that somebody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        yield str(sock.getsockname()[1])


def run(directory: Path, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """What a command line does; one that begins with a file's name is a program of Python."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("FASTWS_")}
    engine = {"FASTWS_WS": "websockets"} if WITHOUT_EXTENSION else {}
    program = [] if arguments[0].endswith(".py") else ["-m", "fastws"]
    return subprocess.run(
        [sys.executable, *program, *arguments],
        cwd=directory,
        env={**clean, **engine, "XDG_RUNTIME_DIR": str(directory), "PYTHONPATH": str(SOURCES.parent), **environ},
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.mark.parametrize(
    ("status", "line", "arguments"),
    [
        # a wrong command line, variable or file
        (2, "APP: is missing: say the application, as in `fastws apps:app`", "--port 1"),
        (2, "APP: must be module:attribute, as in main:app, not 'apps': did you mean 'apps:app'?", "apps"),
        (2, "stauts: neither an application nor a command: did you mean `fastws status`?", "stauts"),
        (2, "--ws-max-sise: no such option: did you mean --ws-max-size?", "apps:app --ws-max-sise 1"),
        (2, "--zzz: no such option: see `fastws --help`", "apps:app --zzz"),
        (2, "--port: needs a value: see `fastws --help`", "apps:app --port"),
        (2, "--reload: takes no value: see `fastws --help`", "apps:app --reload=1"),
        (2, "--port: must be a whole number from 0 to 65535, not 'x'", "apps:app --port x"),
        (2, "--interface: ASGI 3 and ASGI 2 are recognised; ", "apps:app --interface wsgi"),
        (2, "--reload-dir: needs --reload", "apps:app --reload-dir x"),
        (2, "b:c: 1 argument too many: see `fastws --help`", "apps:app b:c"),
        (2, "b c: 2 arguments too many: see `fastws --help`", "apps:app b c"),
        (2, "--help: there is nothing about ws-max-sise: did you mean 'ws-max-size'?", "--help ws-max-sise"),
        (2, "wrong.toml: workres: no such option: did you mean 'workers'?", "apps:app --config wrong.toml"),
        (2, "--config: cannot read none.toml: No such file or directory", "apps:app --config none.toml"),
        (2, "--env-file: cannot read none.env: No such file or directory", "apps:app --env-file none.env"),
        (2, "FASTWS_PORT: must be a whole number from 0 to 65535, not 'x'", "apps:app FASTWS_PORT=x"),
        (2, "PORT: must be a whole number from 0 to 65535, not 'x'", "apps:app PORT=x"),
        (2, "WEB_CONCURRENCY: must be a whole number, 1 or more, or auto, or none, ", "apps:app WEB_CONCURRENCY=x"),
        (2, "--ws-max-sise: no such option: did you mean --ws-max-size?", "check apps:app --ws-max-sise 1"),
        (2, "ws_max_sise: no such option: did you mean 'ws_max_size'?", "runs.py"),
        # what cannot serve
        (3, "APP: there is no module 'appps' in ", "appps:app"),
        (3, "APP: module 'apps' has no attribute 'ap': did you mean 'app'?", "apps:ap"),
        (3, "Application startup failed: the database is away", "apps:fails"),
        (3, "Application startup failed: the database is away", "apps:fails --workers 2"),
        (3, "cannot listen on 127.0.0.1:TAKEN: ", "apps:app --port TAKEN"),
        (3, "cannot listen on 127.0.0.1:TAKEN: ", "apps:app --port TAKEN --workers 2"),
        (3, "cannot listen on 127.0.0.1:TAKEN: ", "apps:app --port TAKEN --reload"),
        (3, "cannot listen on 127.0.0.1:TAKEN: ", "apps:app --port TAKEN --log-config to_a_file.json"),
        (3, "cannot listen on 127.0.0.1:TAKEN: ", "apps:app --port TAKEN --log-level critical"),
        (3, "--uds: cannot listen on apps.py: something that is not a socket has this path", "apps:app --uds apps.py"),
        (3, "--uds: cannot listen on apps.py: something that is not a socket has this path", "serves.py"),
        (3, "fastws.run() was called while 'unguarded' was imported to be served: ", "unguarded:app"),
        (3, "--ssl-certfile: ", "apps:app --ssl-certfile nowhere.pem"),
        (3, "--log-config: cannot read nowhere.json: ", "apps:app --log-config nowhere.json"),
        (3, "--log-config: cannot read nowhere.json: ", "apps:app --log-config nowhere.json --workers 2"),
        (3, "APP: module 'apps' has no attribute 'ap': did you mean 'app'?", "check apps:ap"),
        (3, "Application startup failed: the database is away", "check apps:fails"),
        (1, "Application shutdown failed: the queue is not empty", "check apps:fails_to_end"),
        # what the commands beside it cannot do
        (1, "no server runs that was started in a terminal in this directory; ", "status"),
        (1, "--control-socket: no server listens on ./x.PID", "status --control-socket ./x"),
        (1, "--control-socket: no server listens on ./x.PID", "drain --control-socket ./x"),
        (2, "--seconds: 'x' is not a valid float range", "status --control-socket ./x --seconds x"),
        (2, "--sceonds: no such option: did you mean --seconds?", "status --sceonds 1"),
        (2, "wrong.toml: workres: no such option: did you mean 'workers'?", "status FASTWS_CONFIG=wrong.toml"),
        (2, "ID: is missing: see `fastws close --help`", "close --control-socket ./x"),
        (2, "TOPIC: is missing: see `fastws publish --help`", "publish"),
        (2, "MESSAGE: say what to publish, either here or by --file, not both", "publish topic"),
        (2, "MESSAGE: is not UTF-8: --binary publishes bytes", "publish topic --file latin.txt --control-socket ./x"),
        (2, "--file: 'none.txt': No such file or directory", "publish topic --file none.txt"),
        (2, "--topics-url: say where to publish, by this option or by --control-socket", "publish topic message"),
        (2, "--topics-url: ", "publish topic message --topics-url nonsense"),
        (1, "--control-socket: no server listens on ./x.PID", "publish topic message --control-socket ./x"),
        (2, "SHELL: 'tcsh' is not one of 'bash', 'zsh', 'fish'", "completion tcsh"),
        (2, "SHELL: is missing: one of bash, zsh, fish", "completion"),
    ],
)
@pytest.mark.slow
def test_it_is_one_line_and_an_exit_code(
    directory: Path,
    taken: str,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    status: int,
    line: str,
    arguments: str,
) -> None:
    words = arguments.replace("TAKEN", taken).split()
    variables = dict(word.split("=") for word in words if re.match("[A-Z_]+=", word))
    words = [word for word in words if "=" not in word or word.startswith("-")]
    if status == 2 and not words[0].endswith(".py"):  # nothing is begun: this process will do
        monkeypatch.chdir(directory)
        for name, value in {"XDG_RUNTIME_DIR": str(directory), **variables}.items():
            monkeypatch.setenv(name, value)
        with pytest.raises(SystemExit) as ended_with:
            main(words, prog_name="fastws")
        stderr, code = capfd.readouterr().err, ended_with.value.code
    else:
        ended = run(directory, *words, **variables)
        stderr, code = ended.stderr, ended.returncode
    said = [each for each in stderr.splitlines() if not each.startswith(("INFO:", "WARNING:", "Warning:"))]
    assert [each.partition(": ")[0] for each in said] == ["Error"], stderr
    assert said[0].startswith("Error: " + line.replace("TAKEN", taken))
    assert not said[0].endswith(".")
    assert code == status


def test_what_the_log_has_in_another_form_is_there_only(directory: Path, taken: str) -> None:
    """Who reads JSON from standard error finds nothing else there."""
    ended = run(directory, "apps:app", "--port", taken, "--log-format", "json")
    said = [json.loads(each) for each in ended.stderr.splitlines()]
    [error] = [each for each in said if each["level"] == "ERROR"]
    assert error["message"].startswith(f"cannot listen on 127.0.0.1:{taken}: ")
    assert sorted(error) == ["level", "logger", "message", "pid", "time"]


@pytest.mark.slow
def test_a_log_in_a_file_has_it_too(directory: Path, taken: str) -> None:
    ended = run(directory, "apps:app", "--port", taken, "--log-config", "to_a_file.json")
    assert f"cannot listen on 127.0.0.1:{taken}: " in (directory / "server.log").read_text()
    assert ended.stderr.count("\n") == 1
    handlers = {"file": {**TO_A_FILE["handlers"]["file"], "filename": "/dev/stderr"}}  # type: ignore[index]
    (directory / "to_a_file.json").write_text(json.dumps({**TO_A_FILE, "handlers": handlers}))
    ended = run(directory, "apps:app", "--port", taken, "--log-config", "to_a_file.json")
    assert ended.stderr.count("cannot listen on") == 1


def test_an_interrupt_while_the_command_is_imported_is_its_exit_code_alone(directory: Path) -> None:
    (directory / "click.py").write_text("raise KeyboardInterrupt\n")
    found = run(directory, "--version")
    assert (found.returncode, found.stderr) == (130, "")


def test_colours_are_as_those_of_the_command(directory: Path) -> None:
    wrong = run(directory, "apps:app", "--port", "x", FORCE_COLOR="1")
    failed = run(directory, "apps:ap", FORCE_COLOR="1")
    assert wrong.stderr.split(" ")[0] == failed.stderr.splitlines()[-1].split(" ")[0] == "\x1b[1;31mError:\x1b[0m"


def calls(path: Path) -> Iterator[tuple[str, ast.Call]]:
    """Each call in a file, with what it calls, as it is written."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), node


@pytest.mark.slow
def test_nothing_gets_there_in_another_way() -> None:
    """Commands raise what `fastws.cli.command` has, and nobody but `say` writes to standard error."""
    found = []
    for path in sorted(SOURCES.rglob("*.py")):
        place = path.relative_to(SOURCES).as_posix()
        for name, node in calls(path):
            text = ast.unparse(node)
            wrong = name in ("click.ClickException", "click.UsageError", "click.BadParameter", "sys.stderr.write")
            wrong |= name in ("print", "click.echo", "click.secho") and ("stderr" in text or "err=" in text)
            wrong |= name in ("SystemExit", "sys.exit") and any(
                isinstance(each, (ast.JoinedStr, ast.BinOp)) or isinstance(getattr(each, "value", 0), str)
                for each in node.args
            )
            if wrong:
                found.append(f"{place}: {text}")
    assert found == [
        "__main__.py: print(f'Error: {error}', file=sys.stderr)",  # before anything of ours can be imported
        "net/forking.py: print(code, file=sys.stderr)",  # of the application's own SystemExit, as Python does it
        "observe/terminal.py: print(labelled(label, wants_colors(sys.stderr)), message, file=sys.stderr)",
    ]
