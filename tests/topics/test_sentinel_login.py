"""Sentinels that want TLS, a certificate, a user and a password; what is missing is said in a line."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import pytest
from proxies import Certificates
from redis_server import PROGRAM, RedisServer, Sentinel, free_ports, until
from topics_locals import FakeLocal

from fastws.errors import StartupError
from fastws.topics.redis_bus import RedisBus
from fastws.topics.redis_streams import StreamBus

pytestmark = [
    pytest.mark.deploy,
    pytest.mark.skipif(PROGRAM != "redis-server", reason="valkey-server is there without TLS"),
]
USER = "user asks on >secret &* -@all +sentinel|masters"
"""Who may do what docs/deployment/topics.md says, and no more."""


class Place(NamedTuple):
    url: str
    certificates: Certificates
    strangers: Certificates
    """Of an authority that nobody of the others knows."""


@pytest.fixture(params=["no", "yes"])
def wants_certificate(request: pytest.FixtureRequest) -> str:
    """What Redis and its Sentinel do."""
    found: str = request.param
    return found


@pytest.fixture
def place(tmp_path: Path, wants_certificate: str) -> Iterator[Place]:
    """A Redis and a Sentinel of it, over TLS."""
    certificates = []
    for name in ("known", "strange"):
        (tmp_path / name).mkdir()
        certificates.append(Certificates(tmp_path / name))
    known = certificates[0]
    files = {"cert": known.site, "key": known.site, "ca-cert": known.authority}
    options = {f"tls-{name}-file": str(path) for name, path in files.items()}
    options |= {"tls-auth-clients": wants_certificate, "tls-replication": "yes"}
    words = [word for name, value in options.items() for word in (f"--{name}", value)]
    lines = [f"{name} {value}" for name, value in options.items()]
    redis_port, sentinel_port = free_ports(2)
    with ExitStack() as stack:
        redis = RedisServer("--tls-port", str(redis_port), *words)
        sentinel = Sentinel(redis, f"tls-port {sentinel_port}", *lines, USER, "user default off", port=redis_port)
        for each in (redis, sentinel):
            stack.callback(each.close)
            each.start()
        yield Place(f"rediss+sentinel://127.0.0.1:{sentinel_port}/chat", *certificates)


def start(url: str, streams: bool = False) -> None:
    """Start a bus, let a publication go round, and end it."""

    async def run() -> None:
        bus: RedisBus = StreamBus(url, 100) if streams else RedisBus(url)
        await bus.start(FakeLocal())
        await until(lambda: bus.connected)  # a busy machine takes longer than a start waits
        await bus.stop()

    asyncio.run(asyncio.wait_for(run(), 40))


def test_what_they_want_is_in_the_url(place: Place, wants_certificate: str, caplog: pytest.LogCaptureFixture) -> None:
    known, strange = place.certificates, place.strangers
    login = "sentinel_username=asks&sentinel_password=secret"
    trust, distrust = (f"ssl_ca_certs={each.authority}" for each in (known, strange))
    ours, theirs = (f"ssl_certfile={each.site}&ssl_keyfile={each.site}" for each in (known, strange))
    for streams in (False, True):
        start(f"{place.url}?{trust}&{ours}&{login}", streams)
    wrong = {
        f"{trust}&{ours}": r"a Sentinel wants another sentinel_password$",
        f"{trust}&{ours}&{login}-not": r"a Sentinel wants another sentinel_password$",
        f"{distrust}&{ours}&{login}": r"CERTIFICATE_VERIFY_FAILED.*$",
        f"{ours}&{login}": r"CERTIFICATE_VERIFY_FAILED.*$",
    }
    if wants_certificate == "yes":
        wrong[f"{trust}&{login}"] = r": it wants a certificate: ssl_certfile and ssl_keyfile in the URL$"
        wrong[f"{trust}&{login}&{theirs}"] = r": it refuses the certificate in ssl_certfile: .*$"
    else:
        start(f"{place.url}?{trust}&{login}")
    for query, line in wrong.items():
        with pytest.raises(StartupError, match=r"^--topics-url: rediss\+sentinel://127.0.0.1.*" + line) as error:
            start(f"{place.url}?{query}")
        assert "\n" not in str(error.value)
        assert "secret" not in str(error.value)
    assert caplog.text == ""
