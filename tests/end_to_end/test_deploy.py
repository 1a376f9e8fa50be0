"""No message is lost and nobody is cut however a server ends: numbered messages, from clients that come back."""

from __future__ import annotations

import asyncio
import re
import signal
from pathlib import Path
from typing import Any

import pytest
from deploy_load import Load, Report
from proxies import free_port
from rolling_deploy import CONFIGURATIONS, deploy, is_ready
from serving import serve_process

pytestmark = [pytest.mark.deploy, pytest.mark.timeout(180)]  # several processes start, one after the other


def check(report: Report, record: Path) -> None:
    assert report.clean(record), "\n".join(report.lines(record))
    assert report.sent


@pytest.mark.parametrize("configuration", CONFIGURATIONS)
def test_a_rolling_deploy_behind_a_proxy(configuration: str, tmp_path: Path) -> None:
    """Which speaks HTTP/1.1 with the servers, or HTTP/2."""
    record = tmp_path / "record"
    load: dict[str, Any] = {"websockets": 30, "requesters": 4, "rounds": 1}
    times = {"interval": 0.1, "drain_delay": 0.5}
    report = asyncio.run(deploy(tmp_path, record, configuration=configuration, **load, **times))
    check(report, record)
    assert report.closes >= 2 * 30
    assert report.requests > 50


def test_a_server_that_is_told_to_end(tmp_path: Path) -> None:
    """Clients find nobody for a moment; what they had sent is there."""
    record = tmp_path / "record"
    port = free_port()
    arguments = ("deploy_app:app", "--port", str(port), "--drain-window", "0.5", "--no-access-log")
    environment = {"DEPLOY_RECORD": str(record)}

    async def run() -> Report:
        with serve_process(*arguments, env=environment) as first:
            async with Load("127.0.0.1", port, websockets=20) as load:
                assert await asyncio.to_thread(first.stop) == 0
                with serve_process(*arguments, env=environment):
                    await load.until(lambda: load.report.closes >= 20)
                    before = len(load.report.sent)
                    await load.until(lambda: len(load.report.sent) > before + 100)
                    await load.stop()
            return load.report

    report = asyncio.run(run())
    report.refused.clear()  # while nobody listened
    check(report, record)
    assert report.closes >= 2 * 20


@pytest.mark.parametrize("how", ["SIGHUP", "--limit-max-requests"])
def test_workers_that_are_replaced(how: str, tmp_path: Path) -> None:
    """Nobody is refused, and readiness never turns, although there is a drain delay."""
    record = tmp_path / "record"
    arguments = ["deploy_app:app", "--workers", "2", "--drain-delay", "30", "--no-access-log"]
    if how != "SIGHUP":
        arguments += [how, "60"]

    async def run() -> Report:
        with serve_process(*arguments, env={"DEPLOY_RECORD": str(record)}) as process:
            process.wait_for_line("2 workers serve")
            async with Load(process.host, process.port, websockets=10, requesters=1) as load:
                if how == "SIGHUP":
                    process.signal(signal.SIGHUP)
                    await asyncio.to_thread(process.wait_for_line, "All workers were replaced", 90.0)
                else:
                    await load.until(lambda: load.report.closes >= 10)
                assert await asyncio.to_thread(is_ready, process.port)
                await load.stop()
            assert "Not ready any more" not in process.output
            await load.until(lambda: process.output.count("takes over") == process.output.count("has ended"))
            process.signal(signal.SIGTERM)
            await load.until(lambda: process.output.count("Not ready any more") == 2)
            process.signal(signal.SIGTERM)
            assert process.wait() == 0, process.output
            return load.report

    report = asyncio.run(run())
    check(report, record)
    assert report.closes >= 10  # each was on an old worker; some met the other one, too, when they came back


def test_websockets_that_reach_their_age(tmp_path: Path) -> None:
    record = tmp_path / "record"

    async def run() -> Report:
        arguments = ("deploy_app:app", "--ws-max-age", "0.4", "--no-access-log")
        with serve_process(*arguments, env={"DEPLOY_RECORD": str(record)}) as process:
            async with Load(process.host, process.port, websockets=20) as load:
                await load.until(lambda: load.report.closes >= 60)
                await load.stop()
            return load.report

    report = asyncio.run(run())
    check(report, record)


def test_readiness_turns_before_listening_ends() -> None:
    with serve_process("deploy_app:app", "--drain-delay", "30") as process:
        assert is_ready(process.port)
        process.signal(signal.SIGTERM)
        process.wait_for_line(re.escape("Not ready any more; listening for 30 s more (--drain-delay)"))
        assert not is_ready(process.port)
        process.signal(signal.SIGTERM)  # hurries
        assert process.wait() == 0


def test_a_ping_interval_that_balancers_would_not_like_is_a_warning() -> None:
    for interval, warned in (("55", True), ("none", True), ("54", False)):
        with serve_process("deploy_app:app", "--ws-ping-interval", interval) as process:
            assert ("WARNING" in process.output and "--ws-ping-interval is" in process.output) is warned
