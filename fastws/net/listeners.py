"""Where the server listens: sockets bound from a `Config`, and how an address is shown.

Sockets are bound before the application starts, so that a port in use is known at once, but nobody can connect until
`fastws.process.server` listens on them. Every failure is a StartupError of one line.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import socket
import stat
import tempfile
from collections.abc import Iterator, Sequence
from typing import Final

from fastws.config import Config
from fastws.config.bind_address import BindAddress, Descriptor, TcpAddress, UnixAddress, parse_address
from fastws.errors import StartupError
from fastws.net.activation import is_activated, listen_descriptors

logger: Final = logging.getLogger("fastws.error")

UNIX_MODE: Final = 0o666
"""Permissions of a Unix domain socket where nobody says otherwise."""
MAX_DIRECTORY_BYTES: Final = 60
"""So much of a Unix socket's path may be taken by the directory for temporary files."""


@contextlib.contextmanager
def bound(config: Config, *, adopt: bool = False) -> Iterator[list[socket.socket]]:
    """The sockets to listen on, bound; at the end they are closed, and the files of Unix domain sockets removed.

    A descriptor that an option names stays open for whoever has opened it, unless `adopt` says that it was opened for
    this server alone, as on a command line.
    """
    sockets: list[socket.socket] = []
    files: dict[str, int] = {}
    adopt = adopt or is_activated()  # systemd's are nobody else's either
    try:
        for address in addresses(config):
            if isinstance(address, UnixAddress):
                sockets.append(_bind_unix(address.path, config.uds_mode, config.uds_owner))
                files[address.path] = os.stat(address.path).st_ino
            elif isinstance(address, Descriptor):
                sockets.append(_from_descriptor(address.number, adopt=adopt))
            else:
                sockets += _bind_tcp(address.host, address.port)
        yield sockets
    finally:
        for path, inode in files.items():
            _unlink_unix(path, inode)
        for sock in sockets:
            sock.close()


def directory_for_sockets() -> str:
    """Where to make a directory for Unix sockets: $TMPDIR may take most of the 107 bytes that a path may have."""
    directory = tempfile.gettempdir()
    return directory if len(os.fsencode(directory)) <= MAX_DIRECTORY_BYTES else "/tmp"


def addresses(config: Config) -> list[BindAddress]:
    """Where to listen: the sockets that systemd passes, else what the options say."""
    if descriptors := listen_descriptors():
        return [Descriptor(each) for each in descriptors]
    if config.bind:
        return [parse_address(each) for each in config.bind]
    if config.uds is not None:
        return [UnixAddress(os.fspath(config.uds))]
    if config.fd is not None:
        return [Descriptor(config.fd)]
    return [TcpAddress(config.host, config.port)]


def announce(sockets: Sequence[socket.socket], *, secure: bool) -> None:
    """Log where connections are accepted, a line for each socket."""
    for sock in sockets:
        logger.info(
            "fastws running on %s (Press CTRL+C to quit)",
            address(sock, "https" if secure else "http"),
            extra={"color_message": "fastws running on \x1b[1m%s\x1b[0m (Press CTRL+C to quit)"},
        )


def _unlink_unix(path: str, inode: int) -> None:
    """Remove the socket file that we made, unless another server has put its own in its place."""
    with contextlib.suppress(OSError):
        if os.stat(path).st_ino == inode:
            os.unlink(path)


def address(sock: socket.socket, scheme: str) -> str:
    """How a client reaches the socket: ``http://[::1]:8000``, or ``unix socket /run/x.sock``."""
    if sock.family in (socket.AF_INET, socket.AF_INET6):
        host, port = sock.getsockname()[:2]
        return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"
    name = sock.getsockname()
    return f"unix socket {name.decode(errors='backslashreplace') if isinstance(name, bytes) else name}"


def _bind_tcp(host: str, port: int) -> list[socket.socket]:
    where = f"{host or '*'}:{port}"
    # All addresses of both families, each with a socket of its own: one for both would show those of IPv4 in disguise.
    everywhere = host in ("", "::")
    try:
        found = socket.getaddrinfo(None if everywhere else host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not a host name"
        raise StartupError(f"--host: cannot find the address {host!r}: {reason}") from None
    sockets: list[socket.socket] = []
    failure: OSError | None = None
    for family, kind, protocol, _, sockaddr in dict.fromkeys(found):
        try:
            sock = socket.socket(family, kind, protocol)
        except OSError as error:  # no IPv6 in this kernel
            failure = error
            continue
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            # With port 0 every address gets the port that the first one got.
            chosen = sockets[0].getsockname()[1] if sockets else port
            sock.bind((sockaddr[0], chosen, *sockaddr[2:]))
        except OSError as error:
            sock.close()
            failure = error
            if error.errno != errno.EADDRNOTAVAIL:
                break
        else:
            sockets.append(sock)
    if failure is not None and (not sockets or failure.errno not in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)):
        for sock in sockets:
            sock.close()
        raise StartupError(problem(where, failure)) from None
    return sockets


def problem(where: str, error: OSError) -> str:
    """Why nobody can listen at `where`, and what to do, in one line."""
    if error.errno == errno.EADDRINUSE:
        return f"cannot listen on {where}: the port is in use; end the other server or choose another --port"
    if error.errno in (errno.EACCES, errno.EPERM):
        return (
            f"cannot listen on {where}: no permission; choose a --port of 1024 or more, or grant CAP_NET_BIND_SERVICE"
        )
    if error.errno == errno.EADDRNOTAVAIL:
        return f"cannot listen on {where}: this machine has no such address; --host 0.0.0.0 is all of them"
    return f"cannot listen on {where}: {error.strerror}"


def _bind_unix(path: str, mode: int | None, owner: str | None) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        user, group = _owner(owner) if owner is not None else (-1, -1)
        found = _remove_stale(path)
        sock.bind(path)
        os.chmod(path, found if mode is None else mode)
        if owner is not None:
            os.chown(path, user, group)
    except OSError as error:
        sock.close()
        raise StartupError(f"--uds: cannot listen on {path}: {error.strerror or error}") from None
    except StartupError:
        sock.close()
        raise
    return sock


def _owner(text: str) -> tuple[int, int]:
    """The numbers of ``user:group``, where either may be a name, a number or missing (-1)."""
    import grp  # Windows has neither
    import pwd

    user, _, group = text.partition(":")
    try:
        uid = -1 if not user else int(user) if user.isdigit() else pwd.getpwnam(user).pw_uid
        gid = -1 if not group else int(group) if group.isdigit() else grp.getgrnam(group).gr_gid
    except KeyError as error:
        raise StartupError(f"--uds-owner: {error.args[0]}") from None
    return uid, gid


def _remove_stale(path: str) -> int:
    """Remove the socket that a server left behind, or somebody has prepared. Its permissions, or those of a new one.

    Refuses to remove anything else, or one that still answers.
    """
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError:
        return UNIX_MODE
    if not stat.S_ISSOCK(mode):
        raise StartupError(f"--uds: cannot listen on {path}: something that is not a socket has this path")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            os.unlink(path)
        except OSError:
            raise StartupError(f"--uds: cannot listen on {path}: it is in use") from None
        else:
            raise StartupError(f"--uds: cannot listen on {path}: another server is listening there")
    return stat.S_IMODE(mode)


def _from_descriptor(descriptor: int, *, adopt: bool) -> socket.socket:
    try:
        sock = socket.socket(fileno=descriptor)
    except OSError as error:
        raise StartupError(f"--fd: {descriptor} is not an open socket: {error.strerror}") from None
    if sock.type != socket.SOCK_STREAM:
        sock.detach()
        raise StartupError(f"--fd: {descriptor} is a socket, but not for streams")
    if adopt:
        return sock
    try:
        return sock.dup()
    except OSError as error:
        raise StartupError(f"--fd: {descriptor}: {error.strerror}") from None
    finally:
        sock.detach()
