"""TLS: which certificate a client is shown, reloading in place, what applications learn, and who is refused."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import http.client
import os
import pty
import signal
import socket
import ssl
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import echo_app
import pytest
import trustme
import wire
from browser import chromium
from serving import PATIENCE, SUPPORT, Serving, run_process, serve, serve_process
from taking_turns import for_threads
from websockets.sync.client import connect

import fastws
from fastws.asgi.tls_extension import distinguished_name
from fastws.errors import ConfigError
from fastws.net.tls import ReloadableContext, server_context

LOOPS = pytest.mark.parametrize("loop", ["uvloop", "asyncio"])


class Authority(trustme.CA):
    """A certificate authority that writes what the options ssl_* take."""

    def write(self, path: Path, *names: str, key: Path | None = None) -> bytes:
        """Put a new certificate for `names` there, with its key behind it or in a file of its own; returns its DER."""
        leaf = self.issue_cert(*names)
        text = leaf.cert_chain_pems[0].bytes()
        if key is None:
            text = leaf.private_key_pem.bytes() + text
        else:
            key.write_bytes(leaf.private_key_pem.bytes())
        path.write_bytes(text)
        return ssl.PEM_cert_to_DER_cert(leaf.cert_chain_pems[0].bytes().decode())

    def client(self) -> ssl.SSLContext:
        """A client that trusts it."""
        context = for_threads(ssl.create_default_context())
        self.configure_trust(context)
        return context


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


def shown(serving: Any, client: ssl.SSLContext, name: str = "127.0.0.1") -> bytes | None:
    """The certificate, as DER, that the server shows to who asks for `name`."""
    client.check_hostname = False
    plain = socket.create_connection((serving.host, serving.port), PATIENCE)
    with plain, client.wrap_socket(plain, server_hostname=name) as connection:
        return connection.getpeercert(True)


def eventually(condition: Callable[[], bool]) -> None:
    """Return when `condition()` holds."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "it has not happened"
        time.sleep(0.01)


# Reloading


@LOOPS
def test_reload_for_new_connections_only(authority: Authority, tmp_path: Path, loop: str) -> None:
    certificate = tmp_path / "both.pem"
    before = authority.write(certificate, "127.0.0.1")
    with serve(echo_app.app, ssl_certfile=certificate, loop=loop) as serving:
        assert shown(serving, authority.client()) == before
        with connect(serving.ws_url, ssl=authority.client()) as websocket:
            after = authority.write(certificate, "127.0.0.1")
            serving.server.reload_tls()
            eventually(lambda: shown(serving, authority.client()) == after)
            websocket.send("still here")
            assert websocket.recv() == "still here"
            assert websocket.socket.getpeercert(True) == before


def test_reload_when_a_file_has_changed(
    authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("fastws.process.server.TICK_SECONDS", 0.05)
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    authority.write(certificate, "127.0.0.1", key=key)
    with serve(echo_app.app, ssl_certfile=certificate, ssl_keyfile=key) as serving:
        after = authority.write(certificate, "127.0.0.1", key=key)
        eventually(lambda: shown(serving, authority.client()) == after)
        key.write_text("rubbish")
        eventually(lambda: "The TLS certificates in use stay" in caplog.text)
        assert shown(serving, authority.client()) == after
        after = authority.write(certificate, "127.0.0.1", key=key)
        eventually(lambda: shown(serving, authority.client()) == after)
    assert caplog.text.count("in use stay") == 1


def test_change_is_told_once_and_not_while_it_lasts(authority: Authority, tmp_path: Path) -> None:
    certificate, key, named = tmp_path / "cert.pem", tmp_path / "key.pem", tmp_path / "named.pem"
    authority.write(certificate, "127.0.0.1", key=key)
    authority.write(named, "example.com")
    context = ReloadableContext(
        fastws.Config(
            echo_app.app, ssl_certfile=certificate, ssl_keyfile=key, ssl_sni=[("example.com", str(named), None)]
        )
    )
    assert [context.changed(), context.changed()] == [False, False]
    certificate.write_text("half of")
    assert not context.changed()
    authority.write(certificate, "127.0.0.1", key=key)
    assert [context.changed(), context.changed(), context.changed()] == [False, True, False]
    named.unlink()
    assert [context.changed(), context.changed(), context.changed()] == [False, True, False]
    current = context.current
    with pytest.raises(ConfigError, match=r"^--ssl-sni: cannot read .*named\.pem: No such file"):
        context.reload()
    assert context.current is current
    authority.write(named, "example.com")
    context.reload()
    assert context.current is not current
    assert [context.changed(), context.changed()] == [False, False]


def test_reload_on_sighup(authority: Authority, tmp_path: Path) -> None:
    certificate = tmp_path / "both.pem"
    before = authority.write(certificate, "127.0.0.1")
    with serve_process("echo_app:app", "--ssl-certfile", str(certificate)) as process:
        certificate.write_text("rubbish")
        process.signal(signal.SIGHUP)
        process.wait_for_line(r"The TLS certificates in use stay: --ssl-certfile: cannot use .*both\.pem")
        assert shown(process, authority.client()) == before
        after = authority.write(certificate, "127.0.0.1")
        process.signal(signal.SIGHUP)
        process.wait_for_line("Reloaded the TLS certificates")
        assert shown(process, authority.client()) == after
        assert process.stop() == 0


def test_hangup_of_the_terminal_ends_the_server(authority: Authority, tmp_path: Path) -> None:
    authority.write(tmp_path / "both.pem", "127.0.0.1")
    arguments = [sys.executable, "-m", "fastws", "--port", "0", "--ssl-certfile", str(tmp_path / "both.pem")]
    child, terminal = pty.fork()
    if child == 0:  # pragma: no cover
        os.chdir(SUPPORT)
        os.execv(sys.executable, [*arguments, "echo_app:app"])
    output = b""
    while b"running on" not in output:
        output += os.read(terminal, 65536)
    os.close(terminal)
    _, status = os.waitpid(child, 0)
    assert os.WIFEXITED(status)


def test_reload_without_tls_changes_nothing() -> None:
    with serve(echo_app.app) as serving:
        serving.server.reload_tls()
        with connect(serving.ws_url) as websocket:
            websocket.send("plain")
            assert websocket.recv() == "plain"


# Names


@contextlib.contextmanager
def named(authority: Authority, tmp_path: Path) -> Iterator[tuple[Serving, dict[str, bytes]]]:
    """A server with several certificates, and what they are."""
    certificates = {name: authority.write(tmp_path / f"{name}.pem", name) for name in ("default", "one", "wild")}
    certificates["apart"] = authority.write(tmp_path / "apart.pem", "apart.example", key=tmp_path / "apart.key")
    sni = [f"One.example.={tmp_path}/one.pem", ("*.wild.example", tmp_path / "wild.pem")]
    sni.append(f"apart.example={tmp_path}/apart.pem:{tmp_path}/apart.key")
    with serve(echo_app.app, ssl_certfile=tmp_path / "default.pem", ssl_sni=sni) as serving:
        yield serving, certificates


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("one.example", "one"),
        ("ONE.Example", "one"),
        ("apart.example", "apart"),
        ("a.wild.example", "wild"),
        ("wild.example", "default"),
        ("a.b.wild.example", "default"),
        ("nobody.example", "default"),
        ("127.0.0.1", "default"),
        ("x" * 63 + ".example", "default"),
    ],
)
def test_certificate_by_name(authority: Authority, tmp_path: Path, name: str, expected: str) -> None:
    with named(authority, tmp_path) as (serving, certificates):
        assert shown(serving, authority.client(), name) == certificates[expected]


def test_names_that_are_none_are_one_line(
    authority: Authority, tmp_path: Path, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    outgoing = ssl.MemoryBIO()
    client = authority.client().wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname="xxxx.example")
    with contextlib.suppress(ssl.SSLWantReadError):
        client.do_handshake()
    hello = outgoing.read().replace(b"xxxx.example", b"\xff\xfe..\x01example")
    with named(authority, tmp_path) as (serving, _):
        for _ in range(5):
            with socket.create_connection((serving.host, serving.port), PATIENCE) as connection:
                connection.sendall(hello)
                with contextlib.suppress(ConnectionError):
                    while connection.recv(100):
                        pass
        assert shown(serving, authority.client())
    assert caplog.text.count("asked for a server by a name that is none") == 1
    assert "Traceback" not in capsys.readouterr().err


# What the application learns


def learned(authority: Authority, tmp_path: Path, client: ssl.SSLContext, **options: Any) -> list[dict[str, Any]]:
    """The extension `tls` of a request and of a WebSocket."""
    extensions: list[dict[str, Any]] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "lifespan":
            extensions.append(scope["extensions"])
        await echo_app.app(scope, receive, send)

    with serve(app, ssl_certfile=tmp_path / "both.pem", **options) as serving:
        connection = http.client.HTTPSConnection(serving.host, serving.port, context=client)
        connection.request("GET", "/")
        assert connection.getresponse().read() == b"/"
        connection.close()
        with connect(serving.ws_url, ssl=client):
            pass
    assert "http.response.trailers" in extensions[0]
    assert "websocket.http.response" in extensions[1]
    return [each["tls"] for each in extensions]


@LOOPS
def test_extension(authority: Authority, tmp_path: Path, loop: str) -> None:
    der = authority.write(tmp_path / "both.pem", "127.0.0.1")
    client = authority.client()
    client.maximum_version = ssl.TLSVersion.TLSv1_2
    client.set_ciphers("ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256")
    for extension in learned(authority, tmp_path, client, loop=loop):
        assert ssl.PEM_cert_to_DER_cert(extension.pop("server_cert")) == der
        assert extension.pop("cipher_suite") in (0xC02B, 0xC02F)
        assert extension == {
            "client_cert_chain": (),
            "client_cert_name": None,
            "client_cert_error": None,
            "tls_version": 0x0303,
        }


def test_extension_with_a_certificate_of_the_client(authority: Authority, tmp_path: Path) -> None:
    authority.write(tmp_path / "both.pem", "127.0.0.1")
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    leaf = authority.issue_cert("client@example.org", common_name="A, B", organization_name="Example")
    client = authority.client()
    leaf.configure_cert(client)
    for extension in learned(
        authority, tmp_path, client, ssl_ca_certs=tmp_path / "ca.pem", ssl_cert_reqs=ssl.CERT_REQUIRED
    ):
        assert extension["tls_version"] == 0x0304
        assert extension["cipher_suite"] in (0x1301, 0x1302, 0x1303)
        assert extension["client_cert_chain"][0].split() == leaf.cert_chain_pems[0].bytes().decode().split()
        assert r"CN=A\, B" in extension["client_cert_name"].split(",O")[0]
        assert extension["client_cert_name"].endswith("O=Example")
        assert extension["client_cert_error"] is None


def test_each_client_has_an_extension_of_its_own(authority: Authority, tmp_path: Path) -> None:
    """However often the same head comes, from whomever."""
    authority.write(tmp_path / "both.pem", "127.0.0.1")
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    clients = []
    for name in ("alice", "bob"):
        client = authority.client()
        authority.issue_cert(f"{name}@example.org", common_name=name).configure_cert(client)
        clients.append(client)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        name = scope["extensions"]["tls"]["client_cert_name"]
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.body", "body": name.split(",")[0].encode()})

    options = {"ssl_ca_certs": tmp_path / "ca.pem", "ssl_cert_reqs": ssl.CERT_REQUIRED, "lifespan": "off"}
    with serve(app, ssl_certfile=tmp_path / "both.pem", **options) as serving:
        names = []
        for _ in range(4):
            for client in clients:
                connection = http.client.HTTPSConnection(serving.host, serving.port, context=client)
                connection.request("GET", "/")
                names.append(connection.getresponse().read())
                connection.close()
    assert names == [b"CN=alice", b"CN=bob"] * 4


def test_plain_connections_have_no_extension() -> None:
    seen = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append(scope.get("extensions", {}))
        await echo_app.app(scope, receive, send)

    with serve(app, lifespan="off") as serving, connect(serving.ws_url):
        pass
    assert "tls" not in seen[0]


@pytest.mark.parametrize(
    ("subject", "expected"),
    [
        ((), ""),
        (((("countryName", "DE"),), (("commonName", "x"),)), "CN=x,C=DE"),
        (((("organizationName", "a"), ("commonName", "b")),), "O=a+CN=b"),
        (((("commonName", '#"+,;<>\\'),),), r"CN=\#\"\+\,\;\<\>\\"),
        (((("commonName", " a "),),), r"CN=\ a\ "),
        (((("commonName", " "),),), r"CN=\ "),
        (((("emailAddress", "a\0b"),),), r"emailAddress=a\00b"),
    ],
)
def test_distinguished_names_are_those_of_rfc_4514(subject: Any, expected: str) -> None:
    assert distinguished_name(subject) == expected


# Who is served


@pytest.mark.parametrize(("minimum", "newest"), [("1.2", "TLSv1_1"), ("1.3", "TLSv1_2")])
@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1:DeprecationWarning")
def test_older_versions_are_refused(authority: Authority, tmp_path: Path, minimum: str, newest: str) -> None:
    authority.write(tmp_path / "both.pem", "127.0.0.1")
    options = {
        "ssl_certfile": tmp_path / "both.pem",
        "ssl_ciphers": "DEFAULT@SECLEVEL=0",  # else OpenSSL itself refuses TLS 1.1
        "ssl_min_version": minimum,
    }
    client = authority.client()
    client.set_ciphers("DEFAULT@SECLEVEL=0")
    client.minimum_version = ssl.TLSVersion.TLSv1
    client.maximum_version = ssl.TLSVersion[newest]
    with serve(echo_app.app, **options) as serving:
        with pytest.raises((ssl.SSLError, ConnectionError)):
            shown(serving, client)
        shown(serving, authority.client())
    # An event loop does not send the alert that would say why: ask the context itself.
    upwards, downwards = ssl.MemoryBIO(), ssl.MemoryBIO()
    with contextlib.suppress(ssl.SSLWantReadError):
        client.wrap_bio(downwards, upwards, server_hostname="127.0.0.1").do_handshake()
    server = server_context(fastws.Config(echo_app.app, **options)).wrap_bio(upwards, downwards, server_side=True)
    with pytest.raises(ssl.SSLError, match="UNSUPPORTED_PROTOCOL"):
        server.do_handshake()


@LOOPS
def test_large_messages(authority: Authority, tmp_path: Path, loop: str) -> None:
    authority.write(tmp_path / "both.pem", "127.0.0.1")
    message = os.urandom(3_000_000)
    with (
        serve(echo_app.app, ssl_certfile=tmp_path / "both.pem", loop=loop) as serving,
        connect(serving.ws_url, ssl=authority.client(), compression=None, max_size=None) as websocket,
    ):
        for size in (1, 16384, 65536, 65537, len(message)):
            websocket.send(message[:size])
            assert websocket.recv() == message[:size]


def test_new_keys_in_the_middle_of_a_message_disturb_nobody(authority: Authority, tmp_path: Path) -> None:
    """A client asks for new keys while its message comes in, and other connections write before it does."""
    certificate = tmp_path / "both.pem"
    authority.write(certificate, "127.0.0.1")
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with serve(echo_app.app, ssl_certfile=certificate) as serving:
        command = ["openssl", "s_client", "-connect", f"127.0.0.1:{serving.port}", "-quiet", "-no_ign_eof"]
        with (
            subprocess.Popen(command, **pipes) as process,  # type: ignore[call-overload]
            connect(serving.ws_url, ssl=authority.client()) as other,
        ):
            process.stdin.write(wire.handshake())
            process.stdin.flush()
            while process.stdout.readline() != b"\r\n":
                pass
            message = wire.frame(wire.BINARY, bytes(300_000), mask=bytes(4))
            process.stdin.write(message[:100_000])
            process.stdin.flush()
            eventually(lambda: fcntl.ioctl(process.stdin, termios.FIONREAD, bytes(4)) == bytes(4))  # it has read it
            process.stdin.write(b"K\n")
            process.stdin.flush()
            while b"KEYUPDATE" not in process.stderr.readline():
                pass
            for number in range(200):
                other.send(str(number))
                assert other.recv() == str(number)
            process.stdin.write(message[100_000:])
            process.stdin.flush()
            assert process.stdout.read(10 + 300_000)[10:] == bytes(300_000)
            process.kill()


def test_openssl_s_client(authority: Authority, tmp_path: Path) -> None:
    authority.write(tmp_path / "both.pem", "127.0.0.1")
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    opening = (
        b"GET / HTTP/1.1\r\nHost: t\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
    )
    with serve(echo_app.app, ssl_certfile=tmp_path / "both.pem") as serving:
        command = ["openssl", "s_client", "-connect", f"127.0.0.1:{serving.port}", "-verify_return_error", "-ign_eof"]
        command += ["-CAfile", str(tmp_path / "ca.pem"), "-verify_ip", "127.0.0.1", "-alpn", "http/1.1"]
        done = subprocess.run(
            command,
            input=opening + wire.text("through openssl") + wire.close(1000),
            capture_output=True,
            timeout=PATIENCE,
        )
    assert b"ALPN protocol: http/1.1" in done.stdout
    assert b"Verify return code: 0 (ok)" in done.stdout
    assert b"HTTP/1.1 101 Switching Protocols" in done.stdout
    assert b"\x81\x0fthrough openssl" in done.stdout
    assert b"\x88\x02\x03\xe8" in done.stdout


@pytest.mark.slow
def test_chromium(authority: Authority, tmp_path: Path) -> None:
    authority.write(tmp_path / "both.pem", "localhost", "127.0.0.1")
    script = """
        const done = arguments[arguments.length - 1];
        const socket = new WebSocket(`wss://${location.host}/`);
        socket.onopen = () => socket.send("from a browser");
        socket.onerror = () => done("error");
        socket.onmessage = (event) => { socket.close(1000); socket.onclose = (end) => done(event.data + end.code); };
    """
    certificate = tmp_path / "both.pem"
    with serve(echo_app.app, ssl_certfile=certificate) as serving, chromium("--ignore-certificate-errors") as browser:
        browser.open(serving.http_url)
        assert browser.driver.execute_async_script(script) == "from a browser1000"


# Mistakes


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"ssl_certfile": "cert", "ssl_keyfile": "other"}, r"^--ssl-keyfile: the key in \S+ is not that of the certi"),
        ({"ssl_certfile": "mixed"}, r"^--ssl-keyfile: the key that is in the same file is not that of the certificate"),
        (
            {"ssl_certfile": "cert", "ssl_keyfile": "locked", "ssl_keyfile_password": "wrong"},
            r"^--ssl-keyfile-password: cannot decrypt \S+locked: ",
        ),
        ({"ssl_certfile": "both", "ssl_version": 16}, r"^--ssl-version: 16 is for clients; 17 is right$"),
        ({"ssl_certfile": "both", "ssl_version": 4}, r"^--ssl-version: TLS 1\.1 is below --ssl-min-version, 1\.2$"),
        ({"ssl_certfile": "both", "ssl_sni": "a=nowhere.pem"}, r"^--ssl-sni: cannot read nowhere\.pem: No such file"),
        ({"ssl_certfile": "both", "ssl_sni": "a=/dev/null"}, r"^--ssl-sni: cannot use /dev/null, which must hold"),
    ],
)
@pytest.mark.filterwarnings("ignore:ssl.PROTOCOL_TLS:DeprecationWarning")
def test_mistakes_name_the_option(authority: Authority, tmp_path: Path, options: dict[str, Any], message: str) -> None:
    files = {name: tmp_path / name for name in ("both", "cert", "key", "other", "mixed", "locked")}
    authority.write(files["both"], "127.0.0.1")
    authority.write(files["cert"], "127.0.0.1", key=files["key"])
    authority.write(files["mixed"], "127.0.0.1", key=files["other"])
    files["mixed"].write_bytes(files["key"].read_bytes() + files["mixed"].read_bytes())
    lock = ["openssl", "pkey", "-aes128", "-passout", "pass:right", "-in", "key", "-out", "locked"]
    subprocess.run(lock, cwd=tmp_path, check=True, capture_output=True)
    options = {name: files.get(value, value) for name, value in options.items()}
    with pytest.raises(ConfigError, match=message):
        server_context(fastws.Config(echo_app.app, **options))


@pytest.mark.parametrize("value", ["a", "a=", "=c.pem", "a=c.pem:", "a b=c.pem", "*=c.pem", "a.*.b=c.pem", [("a",)]])
def test_maps_of_certificates_that_are_none(value: Any) -> None:
    with pytest.raises(ConfigError, match=r"^--ssl-sni: must be name=certificate\.pem or name=certificate\.pem:key"):
        fastws.Config("a:b", ssl_certfile="c.pem", ssl_sni=value)


def test_a_context_of_ones_own(authority: Authority, tmp_path: Path) -> None:
    authority.write(tmp_path / "both.pem", "127.0.0.1")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "both.pem")
    extensions: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        extensions.append(scope["extensions"]["tls"])
        await echo_app.app(scope, receive, send)

    async def main() -> None:
        config = fastws.Config(app, lifespan="off", log_config=None, access_log=False)
        server = fastws.Server(config, ssl_context=context)
        with socket.create_server(("127.0.0.1", 0)) as listening:
            serving = asyncio.ensure_future(server.serve([listening]))
            reader, writer = await asyncio.open_connection(*listening.getsockname(), ssl=authority.client())
            writer.write(b"GET /mine HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n")
            assert (await reader.read()).endswith(b"\r\n\r\n/mine")
            writer.close()
            server.reload_tls()
            server.should_exit = True
            await serving

    asyncio.run(main())
    assert extensions[0]["tls_version"] == 0x0304
    assert extensions[0]["server_cert"] is None


@pytest.mark.slow
def test_command_line_takes_several_names(authority: Authority, tmp_path: Path) -> None:
    certificates = {name: authority.write(tmp_path / f"{name}.pem", name) for name in ("a", "b", "c")}
    sni = [each for name in ("a", "b") for each in ("--ssl-sni", f"{name}.example={tmp_path}/{name}.pem")]
    with serve_process("echo_app:app", "--ssl-certfile", str(tmp_path / "c.pem"), *sni) as process:
        for name, der in certificates.items():
            assert shown(process, authority.client(), f"{name}.example") == der


def test_broken_certificates_end_the_start_with_3(tmp_path: Path) -> None:
    (tmp_path / "rubbish.pem").write_text("rubbish")
    with run_process("echo_app:app", "--port", "0", "--ssl-certfile", str(tmp_path / "rubbish.pem")) as process:
        assert process.wait() == 3
        assert "--ssl-certfile: cannot use" in process.output
        assert "running on" not in process.output
