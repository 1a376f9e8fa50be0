"""The command ``fastws publish``: it publishes to a topic, over the Redis of a service or a server's control socket."""

from __future__ import annotations

import base64
from typing import IO, Any, Final

import click

from fastws.cli.command import Failure, UsageError, command
from fastws.cli.from_file import or_of_file
from fastws.cli.own_socket import own_socket
from fastws.config import OPTION
from fastws.counted import counted
from fastws.errors import ConfigError
from fastws.observe import control_client

MOST_OVER_SOCKET: Final = 40_000
"""Bytes of a message that go over a control socket."""


@command("publish")
@click.argument("topic")
@click.argument("message", required=False)
@click.option("--file", "source", type=click.File("rb"), help="Publish what is in this file; - is standard input.")
@click.option("--binary", is_flag=True, help="Publish a binary message, not text.")
@click.option("--key", help="What the message is the latest of, for subscribers that want only that.")
@click.option(
    "--topics-url",
    "url",
    envvar="FASTWS_TOPICS_URL",
    callback=or_of_file,
    metavar="URL",
    help="What the servers were given as --topics-url.",
)
@click.option(
    "--topics-password",
    "password",
    envvar="FASTWS_TOPICS_PASSWORD",
    callback=or_of_file,
    metavar="TEXT",
    help="What the servers were given as --topics-password; better said by the environment variable.",
)
@click.option(
    "--topics-prefix",
    "prefix",
    envvar="FASTWS_TOPICS_PREFIX",
    callback=or_of_file,
    metavar="TEXT",
    help=f"What the servers were given as --topics-prefix.  [default: {OPTION['topics_prefix'].default}]",
)
@click.option(
    "--control-socket",
    "path",
    envvar="FASTWS_CONTROL_SOCKET",
    callback=or_of_file,
    metavar="PATH",
    help="Where no Redis is used: what the server was given as --control-socket.  [default: as for `fastws status`]",
)
def publish(
    topic: str,
    message: str | None,
    source: IO[bytes] | None,
    binary: bool,
    key: str | None,
    url: str | None,
    password: str | None,
    prefix: str | None,
    path: str | None,
) -> None:
    """Publish MESSAGE, or what --file has, to the subscribers of TOPIC, and say how many there are.

    Exits with 0 when it is published, even if nobody has subscribed; with 1 when it could not be; with 2 for a wrong
    command line.
    """
    if (message is None) == (source is None):
        raise UsageError("MESSAGE: say what to publish, either here or by --file, not both")
    if url is None and path is None and (path := _own_socket()) is None:
        raise UsageError("--topics-url: say where to publish, by this option or by --control-socket")
    data: str | bytes = source.read() if source is not None else (message or "")
    try:
        if binary and isinstance(data, str):
            data = data.encode()
        elif not binary and isinstance(data, bytes):
            data = data.decode()
    except UnicodeError:
        raise UsageError("MESSAGE: is not UTF-8: --binary publishes bytes") from None
    try:
        if url is not None:
            prefix = prefix or OPTION["topics_prefix"].default
            subscribers, processes = _over_redis(url, password, prefix, topic, data, key)
        else:
            assert path is not None
            subscribers, processes = _over_socket(path, topic, data, key)
    except (ConfigError, OSError, TimeoutError, control_client.ControlError) as error:
        raise Failure(str(error)) from None
    except (TypeError, ValueError) as error:
        raise UsageError(str(error)) from None
    to = f"{counted(subscribers, 'subscriber')} in {counted(processes, 'process', 'processes')}"
    click.echo(f"published to {to}")


def _own_socket() -> str | None:
    """The control socket of a server that runs in this directory, as `fastws status` finds it."""
    path = own_socket()
    try:
        return path if path is not None and control_client.workers(path) else None
    except ConfigError:
        return None


def _over_redis(
    url: str, password: str | None, prefix: str, topic: str, message: str | bytes, key: str | None
) -> tuple[int, int]:
    from fastws.topics.remote import connect

    try:
        topics = connect(url, password=password, prefix=prefix)
    except ValueError as error:
        raise ValueError(f"--topics-url: {error}") from None
    with topics as connected:
        connected.publish(topic, message, key=key)
        return connected.audience(topic)


def _over_socket(path: str, topic: str, message: str | bytes, key: str | None) -> tuple[int, int]:
    request: dict[str, Any] = {"do": "publish", "topic": topic, "key": key}
    if isinstance(message, str):
        request["text"] = message
    else:
        request["base64"] = base64.b64encode(message).decode()
    if len(message.encode() if isinstance(message, str) else message) > MOST_OVER_SOCKET:
        raise ValueError(
            f"over a control socket a message has at most {MOST_OVER_SOCKET} bytes; --topics-url takes more"
        )
    _, worker = control_client.workers(path).popitem()
    *_, answer = control_client.ask(worker, request)
    return answer["subscribers"], answer["processes"]
