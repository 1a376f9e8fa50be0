"""The help of the command `fastws`: an overview, a page a group, and one an option, each at most a screen.

``fastws --help`` is the overview, ``fastws --help websocket`` the options of a group in a line or two each,
``fastws --help ws-ping-interval`` all about one, and ``fastws --help all`` everything.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterable, Mapping
from typing import Final

import click

from fastws.cli.command import MAX_WIDTH, MIN_WIDTH, Formatter
from fastws.config import OPTIONS
from fastws.config.near import did_you_mean
from fastws.config.option import GROUPS, Option

MOST_USED: Final[Mapping[str, tuple[str, ...]]] = {
    "Application": ("factory", "app_dir", "env_file", "lifespan", "root_path"),
    "Address": ("host", "port", "bind", "uds"),
    "WebSocket": ("ws", "ws_max_size", "ws_ping_interval", "ws_per_message_deflate", "ws_allowed_origins"),
    "Topics": ("topics_url", "topics_slow", "topics_backlog"),
    "HTTP": ("headers", "proxy_headers", "forwarded_allow_ips", "readyz_path"),
    "Limits": ("limit_concurrency", "limit_websockets", "limit_request_body"),
    "Timeouts": ("timeout_graceful_shutdown", "timeout_keep_alive", "drain_delay"),
    "TLS": ("ssl_certfile", "ssl_keyfile", "ssl_sni"),
    "Logging": ("log_level", "log_config", "log_format", "access_log"),
    "Operations": ("metrics_path", "control_socket"),
    "Process": ("workers", "reload", "loop", "limit_worker_memory"),
}
"""The options that the overview names. Of a group that is not here it names the first."""
NAMED: Final = 4

_EXAMPLES: Final = (
    ("fastws main:app", "serve `app` of main.py on port 8000"),
    ("fastws main:app --reload", "and restart when a file changes"),
    ("fastws main:app --host :: --workers 4", "for everybody, by four processes"),
    ("fastws check main:app", "import it, start it, say what was found"),
)
_MORE: Final = (
    ("--help GROUP", "The options of a group: fastws --help websocket. Of all: `all`."),
    ("--help OPTION", "All about one: fastws --help ws-max-size. So for a command."),
    ("--config FILE", "Where options are read from.  [default: fastws.toml]"),
    ("--version", "The versions of fastws and its libraries; how it was built."),
)
_DEFAULT: Final = re.compile(r"\s*\[default: (.*)\]$")
_CLAUSE: Final = re.compile(r"(?:\([^)]*\)|[;:.](?! )|[^;:.(])*")
_SHORT: Final = {
    "integer": "N",
    "number": "N",
    "count": "N|auto",
    "boolean": "BOOL",
    "choice": "NAME",
    "certificates": "NAME=PATH",
}
"""What a page of a group has for the value of a kind of options; others have their `metavar`."""


def topics(commands: Iterable[str]) -> list[str]:
    """All that ``--help`` may be followed by."""
    return [*map(str.lower, GROUPS), "all", *commands, *(each.cli.removeprefix("--") for each in OPTIONS)]


def page(topic: str, commands: Mapping[str, str], own: Mapping[str, str]) -> str:
    """The page about a group, an option or `all`; the overview for an empty text.

    `commands` are the sub-commands, each with its line; `own` are options of the command that `Config` does not have,
    each as it is spelled. Raises LookupError, with a hint or nothing, where there is no such page.
    """
    formatter = Formatter(width=max(MIN_WIDTH, min(shutil.get_terminal_size().columns, MAX_WIDTH)) - 2)
    name = topic.strip().lstrip("-").replace("_", "-").lower()
    option = next((each for each in OPTIONS if name in _spellings(each)), None)
    group = next((each for each in GROUPS if each.lower() == name), None)
    if topic.startswith("-") and option is not None:
        group = None  # --http is an option, http a group
    if not name:
        _overview(formatter, commands)
    elif name == "all":
        for each in GROUPS:
            _group(formatter, each, whole=True)
        with formatter.section("Other"):
            formatter.write_dl(list(own.items()))
    elif group is not None:
        _group(formatter, group, whole=False)
        formatter.write_paragraph()
        formatter.write_text(f"`fastws --help {_example(group)}` says all about that option.")
    elif option is not None:
        _option(formatter, option)
    else:
        raise LookupError(did_you_mean(name, topics(commands)))
    return formatter.getvalue()


def record(option: Option, *, whole: bool = True) -> tuple[str, str]:
    """An option and its text, as a list of options has them; the text's first clause where not the whole is wanted."""
    spelled = option.cli if option.kind != "flag" else "/".join(flag_names(option))
    if option.metavar is not None:
        spelled += f" {option.metavar if whole else _SHORT.get(option.kind, option.metavar)}"
    text, default = _DEFAULT.sub("", option.help), default_text(option)
    if not whole:
        found = _CLAUSE.match(text)
        text = found[0].rstrip(".") if found is not None else text
    return spelled, f"{text}  [default: {default}]" if default else text


def flag_names(option: Option) -> list[str]:
    """How a flag is switched on, and off where it is on by default or may be."""
    return [option.cli] if option.default is False else [option.cli, f"--no-{option.cli.removeprefix('--')}"]


def default_text(option: Option) -> str:
    """The default as somebody would write it; empty where there is none to speak of."""
    default = option.default
    if found := _DEFAULT.search(option.help):
        return found[1]
    if default in (None, "", (), False):
        return ""
    if isinstance(default, bool):
        return "on" if option.kind == "flag" else "true"
    return f"{default:g}" if isinstance(default, float) else str(default)


def _overview(formatter: Formatter, commands: Mapping[str, str]) -> None:
    formatter.write_usage("fastws", "[OPTIONS] APP")
    formatter.write_usage("fastws", "COMMAND [ARGUMENTS]", prefix=" " * len("Usage: "))
    formatter.write_paragraph()
    formatter.write_text("Serve the ASGI application APP, given as module:attribute, over HTTP and WebSocket.")
    with formatter.section("Examples"):
        formatter.write_dl(_EXAMPLES, col_max=54)
    with formatter.section("Commands"):
        formatter.write_dl(list(commands.items()))
    with formatter.section("Options, some of each group"):
        formatter.write_dl([(group.lower(), ", ".join(_named(group))) for group in GROUPS])
    with formatter.section("More"):
        formatter.write_dl(_MORE)
    formatter.write_paragraph()
    formatter.write_text(
        "The environment sets options too (FASTWS_WS_MAX_SIZE=65536), and fastws.toml or [tool.fastws] in "
        "pyproject.toml (ws-max-size = 65536). The command line is stronger than the environment, that than the file."
    )


def _named(group: str) -> list[str]:
    known = MOST_USED.get(group)
    there = [each for each in OPTIONS if each.group == group]
    return [each.cli for each in there if known is None or each.name in known][: None if known else NAMED]


def _example(group: str) -> str:
    return max((each for each in OPTIONS if each.group == group), key=lambda each: len(each.help)).cli[2:]


def _group(formatter: Formatter, group: str, *, whole: bool) -> None:
    with formatter.section(group):
        formatter.write_dl([record(each, whole=whole) for each in OPTIONS if each.group == group])


def _option(formatter: Formatter, option: Option) -> None:
    name, text = record(option)
    formatter.write(click.style(name, fg="cyan", bold=True) + "\n")
    formatter.indent()
    formatter.write_text(_DEFAULT.sub("", text))
    formatter.dedent()
    formatter.write_paragraph()
    rows = [("group", option.group.lower()), ("value", option.expected())]
    rows += [("default", default_text(option) or ("off" if option.kind == "flag" else "none"))]
    rows += [("environment", option.env), ("file", f"{option.cli.removeprefix('--')} = ...")]
    rows += [("Python", f"fastws.run(app, {option.name}=...)")]
    formatter.write_dl(rows)


def _spellings(option: Option) -> tuple[str, ...]:
    return option.name.replace("_", "-"), *(each.removeprefix("--") for each in (option.cli, *flag_names(option)))
