"""Logging as a server sets it up: configurations that were uvicorn's, silence that is told, and whose handlers stay."""

from __future__ import annotations

import copy
import json
import logging
import logging.config
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from serving import PATIENCE, ServerProcess, run_process, serve_process

import fastws
from fastws import Config
from fastws.config import LOGGING_CONFIG
from fastws.observe import AccessFormatter, DefaultFormatter
from fastws.observe.log_setup import configure_logging

UVICORN: dict[str, Any] = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "default": {"()": "uvicorn.logging.DefaultFormatter", "fmt": "MINE %(levelprefix)s %(message)s"},
        "access": {"()": "uvicorn.logging.AccessFormatter", "fmt": "MINE %(request_line)s %(status_code)s"},
    },
    "handlers": {
        "default": {"formatter": "default", "class": "logging.StreamHandler", "stream": "ext://sys.stderr"},
        "access": {"formatter": "access", "class": "logging.StreamHandler", "stream": "ext://sys.stdout"},
    },
    "loggers": {
        "uvicorn": {"handlers": ["default"], "level": "INFO", "propagate": False},
        "uvicorn.error": {"level": "INFO"},
        "uvicorn.access": {"handlers": ["access"], "level": "INFO", "propagate": False},
    },
}
"""As uvicorn's own LOGGING_CONFIG, with a word in front of each line."""

INI = """
[loggers]
keys=root, uvicorn, access
[handlers]
keys=default, access
[formatters]
keys=default, access
[logger_root]
level=WARNING
handlers=
[logger_uvicorn]
qualname=uvicorn
level=INFO
handlers=default
propagate=0
[logger_access]
qualname=uvicorn.access
level=INFO
handlers=access
propagate=0
[handler_default]
class=StreamHandler
formatter=default
args=(sys.stderr,)
[handler_access]
class=StreamHandler
formatter=access
args=(sys.stdout,)
[formatter_default]
class=uvicorn.logging.DefaultFormatter
format=MINE %(levelprefix)s %(message)s
[formatter_access]
class=uvicorn.logging.AccessFormatter
format=MINE %(request_line)s %(status_code)s
"""


def get(process: ServerProcess, path: str) -> None:
    with urllib.request.urlopen(process.http_url + path, timeout=PATIENCE) as response:
        response.read()


@pytest.mark.parametrize("name", ["log.json", "log.yaml", "log.ini"])
@pytest.mark.slow
def test_a_file_for_uvicorn_sets_up_our_loggers_too(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    if name.endswith("yaml"):
        path.write_text(pytest.importorskip("yaml").safe_dump(UVICORN))
    else:
        path.write_text(INI if name.endswith("ini") else json.dumps(UVICORN))
    with serve_process("process_apps:app", "--log-config", str(path)) as process:
        get(process, "/here")
        process.wait_for_line(r"^MINE GET /here HTTP/1\.1 200 OK$")
        process.wait_for_line(r"^MINE INFO:     fastws running on ")
        process.wait_for_line(r"^MINE WARNING:  --log-config sets up the loggers of uvicorn")


@pytest.mark.usefixtures("own_logging")
def test_formatters_of_uvicorn_become_ours_and_its_loggers_stay() -> None:
    theirs = copy.deepcopy(UVICORN)
    configure_logging(Config("a:b", log_config=theirs))
    assert theirs == UVICORN
    for root in ("uvicorn", "fastws"):
        [default], [access] = logging.getLogger(root).handlers, logging.getLogger(f"{root}.access").handlers
        assert type(default.formatter) is DefaultFormatter
        assert type(access.formatter) is AccessFormatter
        assert not logging.getLogger(root).propagate


@pytest.mark.usefixtures("own_logging")
def test_a_formatter_of_uvicorn_given_as_its_class_becomes_ours() -> None:
    uvicorn_logging = pytest.importorskip("uvicorn.logging")
    theirs = copy.deepcopy(UVICORN)
    theirs["formatters"]["access"]["()"] = uvicorn_logging.AccessFormatter
    theirs["formatters"]["default"] = {"class": "uvicorn.logging.ColourizedFormatter", "format": "%(message)s"}
    configure_logging(Config("a:b", log_config=theirs, log_format="json"))
    [access] = logging.getLogger("fastws.access").handlers
    assert type(access.formatter).__name__ == "JsonFormatter"


@pytest.mark.usefixtures("own_logging")
def test_loggers_of_ours_are_as_a_configuration_with_both_says() -> None:
    both = copy.deepcopy(UVICORN)
    both["loggers"]["fastws.access"] = {"handlers": ["default"], "level": "ERROR"}
    configure_logging(Config("a:b", log_config=both))
    assert logging.getLogger("fastws.access").level == logging.ERROR
    assert logging.getLogger("fastws").handlers == []


def test_a_configuration_that_forgets_our_loggers_does_not_silence_them(tmp_path: Path) -> None:
    handlers = {"all": {"class": "logging.StreamHandler"}}
    path = tmp_path / "log.json"  # where disable_existing_loggers is true by default
    path.write_text(json.dumps({"version": 1, "handlers": handlers, "root": {"level": "INFO", "handlers": ["all"]}}))
    with serve_process("process_apps:app", "--log-config", str(path)) as process:
        get(process, "/here")
        process.wait_for_line('"GET /here HTTP/1.1" 200$')
        assert "Warning" not in process.output


def test_silence_is_told_on_the_terminal(tmp_path: Path) -> None:
    path = tmp_path / "log.json"
    path.write_text(json.dumps({"version": 1, "loggers": {"mine": {"level": "INFO"}}}))
    with run_process("process_apps:app", "--log-config", str(path), "--port", "0") as process:
        process.wait_for_line("^Warning: --log-config gives fastws.error no handler: nobody will see what ")


# What a program does to logging between making the server and running it, or before.


class Kept(logging.Handler):
    """Keeps messages."""

    def __init__(self) -> None:
        super().__init__()
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(record.getMessage())


async def fails_to_start(scope: Any, receive: Any, send: Any) -> None:
    await receive()
    await send({"type": "lifespan.startup.failed", "message": "enough"})


def run_to_its_end(server: fastws.Server) -> None:
    with pytest.raises(SystemExit):
        server.run()


@pytest.mark.usefixtures("own_logging")
def test_handlers_that_are_set_after_the_server_was_made_stay() -> None:
    server = fastws.Server(Config(fails_to_start, port=0))
    kept = Kept()
    for name in ("fastws", "fastws.error", "fastws.access"):  # as the recipes for loguru do it
        logging.getLogger(name).handlers = [kept]
        logging.getLogger(name).propagate = False
    run_to_its_end(server)
    assert any("enough" in message for message in kept.messages)
    assert logging.getLogger("fastws.access").handlers == [kept]


@pytest.mark.usefixtures("own_logging")
def test_handlers_of_our_loggers_that_are_set_before_the_server_is_made_stay() -> None:
    config = Config(fails_to_start, port=0)
    kept = Kept()
    logging.getLogger("fastws").handlers = [kept]
    run_to_its_end(fastws.Server(config))
    assert any("enough" in message for message in kept.messages)
    assert logging.getLogger("fastws").level == logging.INFO
    # What an earlier server has set up is not the program's: another one may want other colours.
    [before] = logging.getLogger("fastws.access").handlers
    configure_logging(Config("a:b", use_colors=True))
    [after] = logging.getLogger("fastws.access").handlers
    assert after is not before
    assert isinstance(after.formatter, AccessFormatter)
    assert after.formatter.use_colors


@pytest.mark.usefixtures("own_logging")
def test_handlers_give_way_to_a_configuration_that_was_asked_for() -> None:
    logging.getLogger("fastws").handlers = [Kept()]
    configure_logging(Config("a:b", log_config={**copy.deepcopy(LOGGING_CONFIG), "incremental": False}))
    [handler] = logging.getLogger("fastws").handlers
    assert not isinstance(handler, Kept)


@pytest.mark.usefixtures("own_logging")
def test_a_wrong_log_config_is_still_told_when_the_server_runs(capsys: pytest.CaptureFixture[str]) -> None:
    server = fastws.Server(Config(fails_to_start, port=0, log_config={"version": 2}))
    with pytest.raises(SystemExit) as end:
        server.run()
    assert end.value.code == 3
