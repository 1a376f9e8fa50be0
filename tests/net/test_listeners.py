"""Where a server listens: several addresses, both families, and Unix sockets with their owner and permissions."""

from __future__ import annotations

import grp
import os
import pwd
import socket
import stat
from contextlib import closing
from pathlib import Path

import pytest
from serving import PATIENCE, run_process, serve_process

from fastws import Config
from fastws.config.bind_address import Descriptor, TcpAddress, UnixAddress, parse_address
from fastws.errors import ConfigError, StartupError
from fastws.net import listeners

REQUEST = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"


def has_ipv6() -> bool:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        return False
    return True


def answer(sock: socket.socket) -> bytes:
    with closing(sock):
        sock.settimeout(PATIENCE)
        sock.sendall(REQUEST)
        return b"".join(iter(lambda: sock.recv(4096), b""))


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:8000", TcpAddress("127.0.0.1", 8000)),
        (":80", TcpAddress("", 80)),
        ("[::1]:0", TcpAddress("::1", 0)),
        ("example.com:443", TcpAddress("example.com", 443)),
        ("unix:/run/x.sock", UnixAddress("/run/x.sock")),
        ("unix:///run/x.sock", UnixAddress("/run/x.sock")),
        ("unix:x.sock", UnixAddress("x.sock")),
        ("fd://3", Descriptor(3)),
    ],
)
def test_addresses(text: str, address: object) -> None:
    assert parse_address(text) == address
    assert Config("a:b", bind=[text]).bind == (text,)


@pytest.mark.parametrize("text", ["8000", "x", "::1:80", "host:", "host:65536", "host:-1", "unix:", "fd://", "a b:1"])
def test_wrong_addresses_are_one_line(text: str) -> None:
    with pytest.raises(ConfigError, match=r"^--bind: must be host:port, unix:path or fd://number, as in "):
        Config("a:b", bind=[text])


@pytest.mark.parametrize(("option", "value"), [("uds", "/run/x"), ("fd", 3)])
def test_bind_is_not_mixed_with_the_single_addresses(option: str, value: object) -> None:
    with pytest.raises(ConfigError, match=f"--{option}: cannot be combined with --bind: write --bind "):
        Config("a:b", bind=["127.0.0.1:1"], **{option: value})


def test_several_addresses_are_served(tmp_path: Path) -> None:
    path = tmp_path / "x.sock"
    with closing(socket.create_server(("127.0.0.1", 0))) as given:
        addresses = ("127.0.0.1:0", f"unix:{path}", f"fd://{given.fileno()}")
        options = [each for address in addresses for each in ("--bind", address)]
        with serve_process("process_apps:app", *options, pass_fds=(given.fileno(),)) as process:
            process.wait_for_line(rf"running on http://127\.0\.0\.1:{given.getsockname()[1]} ")
            assert b"200 OK" in answer(socket.create_connection((process.host, process.port)))
            assert b"200 OK" in answer(socket.create_connection(given.getsockname()))
            unix = socket.socket(socket.AF_UNIX)
            unix.connect(str(path))
            assert b"200 OK" in answer(unix)
            assert process.stop() == 0
    assert not path.exists()


def test_one_address_that_is_taken_ends_the_start_and_leaves_no_file(tmp_path: Path) -> None:
    path = tmp_path / "x.sock"
    with closing(socket.create_server(("127.0.0.1", 0))) as busy:
        port = busy.getsockname()[1]
        with run_process("process_apps:app", "--bind", f"unix:{path}", "--bind", f"127.0.0.1:{port}") as process:
            assert process.wait() == 3
            assert f"cannot listen on 127.0.0.1:{port}: the port is in use" in process.output
    assert not path.exists()


@pytest.mark.parametrize("host", ["::", ""])
def test_all_addresses_are_those_of_both_families(host: str) -> None:
    if not has_ipv6():
        pytest.skip("this system has no IPv6")
    with listeners.bound(Config("a:b", host=host, port=0)) as sockets:
        assert {sock.family for sock in sockets} == {socket.AF_INET, socket.AF_INET6}
        assert len({sock.getsockname()[1] for sock in sockets}) == 1
        for name, family in (("127.0.0.1", socket.AF_INET), ("::1", socket.AF_INET6)):
            listener = next(sock for sock in sockets if sock.family == family)
            listener.listen()
            with closing(socket.create_connection((name, listener.getsockname()[1]), PATIENCE)):
                accepted, peer = listener.accept()
                accepted.close()
                assert peer[0] == name


def test_mode_and_owner_of_a_unix_socket(tmp_path: Path) -> None:
    path = tmp_path / "x.sock"
    user, group = pwd.getpwuid(os.getuid()).pw_name, grp.getgrgid(os.getgid()).gr_name
    with listeners.bound(Config("a:b", uds=path, uds_mode="660", uds_owner=f"{user}:{group}")):  # type: ignore[arg-type]
        found = path.stat()
        assert stat.S_IMODE(found.st_mode) == 0o660
        assert (found.st_uid, found.st_gid) == (os.getuid(), os.getgid())


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files away")
@pytest.mark.parametrize(("owner", "uid", "gid"), [("1", 1, 0), (":2", 0, 2), ("1:2", 1, 2)])
def test_a_unix_socket_is_given_away(tmp_path: Path, owner: str, uid: int, gid: int) -> None:
    path = tmp_path / "x.sock"
    with listeners.bound(Config("a:b", uds=path, uds_owner=owner)):
        assert (path.stat().st_uid, path.stat().st_gid) == (uid, gid)


def test_an_owner_that_is_unknown_is_one_line(tmp_path: Path) -> None:
    with (
        pytest.raises(StartupError, match="--uds-owner: "),
        listeners.bound(Config("a:b", uds=tmp_path / "x", uds_owner="nobody-of-that-name")),
    ):
        pass
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("mode", ["9", "1777", "rw", -1])
def test_a_wrong_mode_is_one_line(mode: object) -> None:
    with pytest.raises(ConfigError, match=r"^--uds-mode: must be permissions in octal, from 000 to 777, not "):
        Config("a:b", uds_mode=mode)  # type: ignore[arg-type]
