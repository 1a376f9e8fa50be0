"""Why a server does not start with TLS, in words; and names of servers that are none, on each version of Python."""

from __future__ import annotations

import re
import ssl
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import trustme
from cryptography.hazmat.primitives import serialization

from fastws import Config
from fastws.errors import ConfigError
from fastws.net.tls import ReloadableContext, quiet_names
from fastws.net.tls_reason import reason_of

CERTIFICATE = re.compile(rb"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----\n", re.DOTALL)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files that are right, and files that are not."""
    folder = tmp_path_factory.mktemp("tls")
    one = trustme.CA().issue_cert("one.example")
    certificate, key = one.cert_chain_pems[0].bytes(), one.private_key_pem.bytes()
    loaded = serialization.load_pem_private_key(key, None)
    encrypted = loaded.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"right"),
    )
    files = {
        "both": key + certificate,
        "certificate": certificate,
        "key": key,
        "encrypted": encrypted,
        "binary": ssl.PEM_cert_to_DER_cert(certificate.decode()),
        "cut": certificate[:200],
        "damaged": certificate[:100] + b"!!!!" + certificate[104:],
        "empty": b"",
        "key_cut": key[:100],
    }
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return folder


def problem(folder: Path, certfile: str, keyfile: str | None = None, ca_certs: str | None = None, **more: Any) -> str:
    options = {"ssl_certfile": certfile, "ssl_keyfile": keyfile, "ssl_ca_certs": ca_certs}
    paths = {name: str(folder / each) for name, each in options.items() if each is not None}
    with pytest.raises(ConfigError) as caught:
        ReloadableContext(Config("a:b", **paths, **more))
    return str(caught.value).replace(f"{folder}/", "")


@pytest.mark.parametrize(
    ("files", "said"),
    [
        (("certificate",), "there is no PRIVATE KEY in it in the form of PEM, but CERTIFICATE"),
        (("key",), r"there is no CERTIFICATE in it in the form of PEM, but [A-Z ]*PRIVATE KEY"),
        (("binary",), "there is no CERTIFICATE in it in the form of PEM"),
        (("empty",), "it is empty"),
        (("cut",), "the CERTIFICATE in it is damaged"),
        (("damaged",), "the CERTIFICATE in it is damaged"),
        (
            ("certificate", "certificate"),
            "certificate: there is no PRIVATE KEY in it in the form of PEM, but CERTIFICATE",
        ),
        (("certificate", "empty"), "empty: it is empty"),
        (("certificate", "key_cut"), "key_cut: the PRIVATE KEY in it is damaged"),
        (("damaged", "key"), "damaged: the CERTIFICATE in it is damaged"),
        (("certificate", "encrypted"), "the key is encrypted: give --ssl-keyfile-password"),
    ],
)
def test_what_is_wrong_with_a_file(folder: Path, files: tuple[str, ...], said: str) -> None:
    assert re.fullmatch(rf"--ssl-certfile: cannot use .*: {said}", problem(folder, *files))


def test_what_is_wrong_with_a_password(folder: Path) -> None:
    assert problem(folder, "certificate", "encrypted", ssl_keyfile_password="wrong") == (
        "--ssl-keyfile-password: cannot decrypt encrypted: the password is wrong, or the key is damaged"
    )


@pytest.mark.parametrize("name", ["cut", "damaged", "empty", "binary", "key"])
def test_what_is_wrong_with_authorities(folder: Path, name: str) -> None:
    said = problem(folder, "both", ca_certs=name, ssl_cert_reqs=2)
    assert said.startswith(f"--ssl-ca-certs: cannot use {name}: ")
    assert not re.search(r"\d{3}", said)
    assert re.search("damaged|no certificate or crl found|is empty|no CERTIFICATE", said)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ssl.SSLError(524297, "[SSL] PEM lib (_ssl.c:3926)"), "PEM lib"),
        (ssl.SSLError(524297), "OpenSSL gives no reason"),
        (ssl.SSLError("No cipher can be selected."), "No cipher can be selected"),
        (ValueError("password cannot be longer than 1024 bytes"), "password cannot be longer than 1024 bytes"),
    ],
)
def test_no_reason_is_a_number(error: Exception, said: str) -> None:
    assert reason_of(error) == said


NAME = b"\xff.example"


def undecodable() -> UnicodeDecodeError:
    with pytest.raises(UnicodeDecodeError) as caught:
        NAME.decode("ascii")
    return caught.value


@pytest.mark.parametrize(
    ("error", "about", "text", "ours"),
    [
        (undecodable(), NAME, None, True),  # until 3.13
        (undecodable(), None, f"Exception ignored in ssl servername callback while decoding name {NAME!r}", True),
        (undecodable(), None, None, False),
        (undecodable(), print, "Exception ignored in", False),
        (ValueError("x"), NAME, f"{NAME!r}", False),
    ],
)
def test_a_name_that_is_none_is_one_line(
    error: Exception, about: Any, text: str | None, ours: bool, monkeypatch: pytest.MonkeyPatch, folder: Path
) -> None:
    said: list[str] = []
    others: list[Any] = []
    monkeypatch.setattr(sys, "unraisablehook", others.append)
    config = Config("a:b", ssl_certfile=folder / "both", ssl_sni=[("a.example", str(folder / "both"), None)])
    with quiet_names(config, said.append):
        sys.unraisablehook(SimpleNamespace(exc_value=error, object=about, err_msg=text))  # type: ignore[arg-type]
    assert said == (["A TLS client asked for a server by a name that is none."] if ours else [])
    assert len(others) == (0 if ours else 1)
