"""A start that Redis refuses fails with a line that says what is missing; docs/deployment/topics.md has the rights."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from proxies import Certificates
from redis_server import RedisServer, free_ports
from topics_locals import FakeLocal

from fastws.errors import ConfigError, StartupError
from fastws.topics.redis_bus import RedisBus
from fastws.topics.redis_streams import StreamBus

PAGE = (Path(__file__).parents[2] / "docs" / "deployment" / "topics.md").read_text()
PUBSUB, STREAMS = (match.split() for match in re.findall(r"^    ([&~]fastws:\* .*)$", PAGE, re.MULTILINE))


def start(url: str, streams: bool = False) -> bool:
    """Start a bus, and end it; whether it is connected."""

    async def run() -> bool:
        bus: RedisBus = StreamBus(url, 100) if streams else RedisBus(url)
        await bus.start(FakeLocal())
        connected = bus.connected
        await bus.stop()
        return connected

    return asyncio.run(asyncio.wait_for(run(), 20))


@pytest.mark.usefixtures("redis_or_valkey")
@pytest.mark.parametrize("streams", [False, True])
def test_each_right_of_the_page_is_needed_and_no_more(
    redis: RedisServer, streams: bool, caplog: pytest.LogCaptureFixture
) -> None:
    rights = [*PUBSUB, *STREAMS] if streams else PUBSUB
    url = f"unix://app:secret@{redis.path}"
    redis.do("ACL", "SETUSER", "app", "reset", "on", ">secret", *rights)
    assert start(url, streams)
    for missing in rights:
        redis.do("ACL", "SETUSER", "app", "reset", "on", ">secret", *(each for each in rights if each != missing))
        with pytest.raises(StartupError, match=r"^--topics-url: unix:///\S+: .*(permission|can't run).*$") as error:
            start(url, streams)
        assert "secret" not in str(error.value)
    assert caplog.text == ""


def test_a_database_that_is_not_there(redis: RedisServer) -> None:
    assert start(f"{redis.url}?db=15")
    with pytest.raises(StartupError, match="DB index is out of range"):
        start(f"{redis.url}?db=16")


def test_a_replica_is_not_served_with(redis: RedisServer, caplog: pytest.LogCaptureFixture) -> None:
    """It may become the primary."""
    redis.do("REPLICAOF", "127.0.0.1", "1")
    assert not start(redis.url)
    assert "it is a replica, not the primary; publications wait" in caplog.text


@pytest.fixture
def certificates(tmp_path: Path) -> Certificates:
    return Certificates(tmp_path)


@pytest.fixture(params=["no", "yes"])
def tls(request: pytest.FixtureRequest, certificates: Certificates) -> Iterator[tuple[str, bool]]:
    """The URL of a Redis with TLS, and whether it wants a certificate of its clients."""
    [port] = free_ports(1)
    files = ("cert", certificates.site), ("key", certificates.site), ("ca-cert", certificates.authority)
    options = [word for name, path in files for word in (f"--tls-{name}-file", str(path))]
    with closing(RedisServer("--tls-port", str(port), "--tls-auth-clients", request.param, *options)) as server:
        server.start()
        yield f"rediss://127.0.0.1:{port}", request.param == "yes"


@pytest.mark.slow
def test_certificates_that_are_missing_or_refused(
    tls: tuple[str, bool], certificates: Certificates, tmp_path: Path
) -> None:
    url, wants_one = tls
    ours = f"ssl_certfile={certificates.site}&ssl_keyfile={certificates.site}"
    assert start(f"{url}?ssl_ca_certs={certificates.authority}&{ours}")
    with pytest.raises(StartupError, match=r"(?i)certificate"):  # nobody knows the authority
        start(f"{url}?{ours}")
    if wants_one:
        with pytest.raises(StartupError, match=r": it wants a certificate: ssl_certfile and ssl_keyfile in the URL$"):
            start(f"{url}?ssl_ca_certs={certificates.authority}")
        (tmp_path / "strange").mkdir()
        strange = Certificates(tmp_path / "strange").site
        with pytest.raises(StartupError, match=r": it refuses the certificate in ssl_certfile: .*$"):
            start(f"{url}?ssl_ca_certs={certificates.authority}&ssl_certfile={strange}&ssl_keyfile={strange}")
    else:
        assert start(f"{url}?ssl_ca_certs={certificates.authority}")
    with pytest.raises(ConfigError, match=r"^--topics-url: cannot read /nowhere/ca.pem$"):
        start(f"{url}?ssl_ca_certs=/nowhere/ca.pem")
