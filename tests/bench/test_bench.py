"""What `make bench` does with what it measured, and that its load client talks to a server. No time is asserted."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from loose_modules import modules_of
from serving import serve

import fastws

ROOT = Path(__file__).parents[2]
BENCH = ROOT / "bench"
NAMES = (
    *("cases", "client.load", "rounds", "scale"),
    *("reports.report", "reports.write_docs", "servers.apps", "servers.contenders"),
)


@pytest.fixture(scope="module")
def bench() -> Iterator[dict[str, ModuleType]]:
    """Modules of bench/ by the last part of their names."""
    with modules_of(BENCH, *NAMES) as found:
        yield {module.__name__.rpartition(".")[2]: module for module in found}


def sample(case: str, server: str, number: int, cost: float, **more: float) -> dict[str, Any]:
    latency = {"p50_us": 10 * cost, "p99_us": 20 * cost, "p999_us": 30 * cost}
    used = {"server_utilisation": 0.9, "client_utilisation": 0.5, "server_waited": 0.0, "client_waited": 0.0}
    mine = {"cost": cost, "server_us": cost, "client_us": 1.0, "per_second": 1e6 / cost}
    return {"case": case, "server": server, "round": number} | mine | latency | used | more


ROUNDS = [
    sample("64x1", "fastws", 0, 5.0),
    sample("64x1", "uvicorn", 0, 20.0),
    sample("64x1", "fastws", 1, 10.0),
    sample("64x1", "uvicorn", 1, 30.0),
    sample("64x1", "fastws", 2, 5.0),
    sample("64x1", "uvicorn", 2, 25.0),
]


def test_ratio_is_the_median_of_the_ratios_in_the_rounds(bench: dict[str, ModuleType]) -> None:
    ours, theirs = bench["report"].summarise(ROUNDS, "uvicorn")
    assert (ours["ratio"], ours["ratio_low"], ours["ratio_high"]) == (4.0, 3.0, 5.0)
    assert (ours["cost"], theirs["cost"], theirs["ratio"]) == (5.0, 25.0, 1.0)


def test_round_in_which_one_of_both_is_missing_has_no_ratio(bench: dict[str, ModuleType]) -> None:
    ours, _ = bench["report"].summarise(ROUNDS[:4] + ROUNDS[4:5], "uvicorn")
    assert (ours["rounds"], ours["ratio"]) == (3, 3.5)


def test_server_without_the_baseline_has_no_ratio_and_no_verdict(bench: dict[str, ModuleType]) -> None:
    report, case = bench["report"], bench["cases"].CASES["64x1"]
    (row,) = report.summarise(ROUNDS[:1], "uvicorn")
    assert "ratio" not in row
    assert report.met(row, case) is None
    assert report.cells(row, case, "uvicorn")[2:6] == ["", "", "2.8", ""]


@pytest.mark.parametrize(
    ("name", "row", "reached"),
    [
        ("64x1", {"cost": 1, "ratio": 2.8}, True),
        ("64x1", {"cost": 1, "ratio": 2.79}, False),
        ("memory", {"cost": 4.5, "ratio": 1}, True),
        ("memory", {"cost": 4.6, "ratio": 9}, False),
    ],
)
def test_goal_is_a_ratio_or_a_size(bench: dict[str, ModuleType], name: str, row: dict[str, Any], reached: bool) -> None:
    assert bench["report"].met(row, bench["cases"].CASES[name]) is reached


def test_client_that_costs_more_than_the_server_is_said(bench: dict[str, ModuleType]) -> None:
    report, case = bench["report"], bench["cases"].CASES["64x1"]
    free, bound = report.summarise([*ROUNDS[:1], sample("64x1", "floor", 0, 2.0, client_us=2.5)], "uvicorn")
    assert report.cells(free, case, "uvicorn")[-1] == ""
    assert report.cells(bound, case, "uvicorn")[-1] == "client-bound"


def test_time_that_others_took_is_said(bench: dict[str, ModuleType]) -> None:
    waiting = sample("64x1", "fastws", 0, 5.0, client_waited=0.4)
    assert bench["report"].disturbed([waiting]) == 0.4
    assert bench["report"].disturbed([{"case": "memory", "cost": 5.0}]) == 0.0


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.01234, "0.0123"), (3, "3.00"), (9.996, "10.0"), (99.6, "99.6"), (1234.5, "1,234"), (None, "-")],
)
def test_numbers_have_three_digits(bench: dict[str, ModuleType], value: float | None, text: str) -> None:
    assert bench["report"].number(value) == text


def test_deflated_messages_differ_and_need_no_earlier_one(bench: dict[str, ModuleType]) -> None:
    data = bench["cases"].deflated_payloads()
    texts = []
    while data:
        length, data = int.from_bytes(data[:4], "big"), data[4:]
        texts.append(zlib.decompress(data[:length] + b"\x00\x00\xff\xff\x03\x00", -12))
        data = data[length:]
    assert len(set(texts)) == 8
    for text in texts:
        assert len(json.loads(text)) == 18
        assert 900 < len(text) < 1200


def test_figures_of_a_pair_are_medians_of_their_rounds(bench: dict[str, ModuleType]) -> None:
    pair = bench["scale"].paired([(10.0, 11.0), (20.0, 30.0), (10.0, 12.0)])
    assert pair == {"first": 10.0, "second": 12.0, "ratio": 1.2, "ratio_low": 1.1, "ratio_high": 1.5}


def test_check_is_met_up_to_its_target(bench: dict[str, ModuleType]) -> None:
    check = bench["scale"].check
    assert check("idle", "", 2.0, 2.0, "%")["met"]
    assert not check("idle", "", 2.1, 2.0, "%")["met"]


def test_table_of_a_page_is_written_between_its_comments(bench: dict[str, ModuleType]) -> None:
    rows = bench["report"].summarise(ROUNDS, "uvicorn")
    document = {"baseline": "uvicorn", "table": {"rows": rows}}
    page = "before\n<!-- bench: readme -->\nold\n<!-- end -->\nafter\n"
    written = bench["write_docs"].filled(page, document)
    assert written.startswith("before\n<!-- bench: readme -->\n\n| work | fastws | uvicorn | times better |\n")
    assert "\n| echo 64 B, 1 in flight, 64 connections | 5.00 µs | 25.0 µs | 4.0 |\n\n<!-- end -->\nafter\n" in written
    assert bench["write_docs"].filled(written, document) == written


def test_scale_has_a_line_for_each_server(bench: dict[str, ModuleType]) -> None:
    check = bench["scale"].check
    found = [{"server": name} | check("idle", "idle cost", 1.5, 2.0, "%", "all open") for name in ("fastws", "uvicorn")]
    written = bench["write_docs"].scale({"scale": found})
    assert written.splitlines()[2:] == [
        "| idle cost | fastws | 1.50 % | all open |",
        "|  | uvicorn | 1.50 % | all open |",
    ]


def test_fallback_is_shown_at_its_least_and_its_most_but_for_memory(bench: dict[str, ModuleType]) -> None:
    rows = [
        {"case": "64x1", "server": "fastws-pure", "cost": 1.0, "ratio": 1.0},
        {"case": "1m", "server": "fastws-pure", "cost": 1.0, "ratio": 0.9},
        {"case": "memory", "server": "fastws-pure", "cost": 1.0, "ratio": 0.1},
    ]
    written = bench["write_docs"].fallbacks({"peers": {"rows": rows}})
    least, most = "0.90 (echo 1 MiB binary, 4 connections)", "1.0 (echo 64 B, 1 in flight, 64 connections)"
    assert written.splitlines()[2:] == [f"| without a C compiler | {least} | {most} |"]


def test_result_that_lacks_a_part_is_not_taken_for_the_pages(bench: dict[str, ModuleType], tmp_path: Path) -> None:
    result = tmp_path / "result.json"
    result.write_text(json.dumps({"table": {}, "peers": {}, "connections": {}, "sizes": {}}))
    with pytest.raises(ValueError, match="has no scale"):
        bench["write_docs"].write(result)


def test_result_of_another_python_is_kept_for_a_table_of_its_own(
    bench: dict[str, ModuleType], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = bench["write_docs"]
    page, kept, newest = tmp_path / "page.md", tmp_path / "kept.json", tmp_path / "newest.json"
    monkeypatch.setattr(module, "PAGES", (page,))
    monkeypatch.setattr(module, "KEPT", kept)
    monkeypatch.setattr(module, "NEWEST", newest)
    page.write_text("<!-- bench: newest -->\n<!-- end -->\n")
    machine = {"cpu": "a", "cores": 2, "system": "b", "libraries": {}, "time": "2026-01-01T"}
    rows = bench["report"].summarise(ROUNDS, "uvicorn")
    document: dict[str, Any] = {"baseline": "uvicorn", "table": {"rows": rows}}
    document["servers"] = {name: {"version": "1"} for name in ("fastws", "uvicorn")}
    for python, path in (("3.11.7", kept), ("3.14.1", tmp_path / "result.json")):
        path.write_text(json.dumps(document | {"machine": machine | {"python": python}}))
    module.write(tmp_path / "result.json")
    assert (
        "| echo 64 B, 1 in flight, 64 connections | 5.00 µs | 4.0 |\n\na, 2 cores, b, Python 3.14.1;"
        in page.read_text()
    )
    assert json.loads(newest.read_text())["machine"]["python"] == "3.14.1"
    assert json.loads(kept.read_text())["machine"]["python"] == "3.11.7"


def test_table_shows_the_loops_transports_beside_our_sockets(bench: dict[str, ModuleType]) -> None:
    rows = bench["report"].summarise(ROUNDS, "uvicorn")
    on_loop = next(row for row in rows if row["server"] == "fastws") | {"server": "fastws-loop", "ratio": 3.2}
    written = bench["write_docs"].table({"baseline": "uvicorn", "table": {"rows": [*rows, on_loop]}})
    assert written.splitlines()[2].split(" | ")[4] == "3.2"


def test_figures_of_the_pages_are_those_of_the_result_that_is_kept() -> None:
    subprocess.run([sys.executable, BENCH / "reports" / "write_docs.py", "--check"], check=True)
    subprocess.run([sys.executable, BENCH / "topics.py", "--check"], check=True)


class Quiet:
    """A progress that is not shown; it keeps what was done."""

    def __init__(self) -> None:
        self.steps: list[str] = []
        self.said: list[str] = []

    def begin(self, what: str, steps: int) -> None:
        pass

    def step(self, what: str) -> None:
        self.steps.append(what)

    def say(self, text: str) -> None:
        self.said.append(text)


@pytest.fixture(scope="module")
def programs(bench: dict[str, ModuleType], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    if shutil.which(os.environ.get("CC", "cc")) is None:
        pytest.fail("the load client needs a C compiler: install gcc")
    folder = tmp_path_factory.mktemp("programs")
    return {name: bench["load"].build_program(name, folder) for name in ("load", "floor")}


@pytest.fixture
def payload(bench: dict[str, ModuleType], tmp_path: Path) -> Path:
    path = tmp_path / "payload"
    path.write_bytes(bench["cases"].deflated_payloads())
    return path


@pytest.mark.parametrize(
    "arguments",
    [
        ("--connections", "4", "--window", "8", "--size", "1000"),
        ("--connections", "2", "--size", "200000", "--binary"),
        ("--connections", "4", "--mode", "http"),
        ("--connections", "4", "--mode", "http", "--browser"),
        ("--connections", "4", "--mode", "http", "--browser", "--post", "--size", "1024", "--path", "/echo"),
        ("--connections", "4", "--mode", "connect"),
        ("--connections", "4", "--mode", "fanout", "--path", "/fanout"),
        ("--connections", "4", "--deflate"),
    ],
    ids=lambda arguments: " ".join(arguments),
)
@pytest.mark.slow
def test_load_client_counts_what_a_server_answers(
    bench: dict[str, ModuleType], programs: dict[str, Path], payload: Path, arguments: tuple[str, ...]
) -> None:
    with serve(bench["apps"].app, lifespan="off") as server:
        command = [str(programs["load"]), "--port", str(server.port), "--messages", "64", "--warmup", "0.01"]
        command += [*arguments, *(("--payload", str(payload)) if "--deflate" in arguments else ())]
        done = subprocess.run(command, capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["messages"] >= 64
    assert found["p50_us"] <= found["p99_us"] <= found["p999_us"] <= found["max_us"]


def test_load_client_has_a_window_answered_to_all_and_then_another(
    bench: dict[str, ModuleType], programs: dict[str, Path]
) -> None:
    with serve(bench["apps"].app, lifespan="off") as server:
        command = [str(programs["load"]), "--port", str(server.port), "--messages", "64", "--warmup", "0.01"]
        command += [
            "--connections",
            "4",
            "--mode",
            "fanout",
            "--path",
            "/topics",
            "--window",
            "1",
            "--second-window",
            "16",
        ]
        done = subprocess.run(command, capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stderr
    one, many = map(json.loads, done.stdout.splitlines())
    assert (one["window"], many["window"]) == (1, 16)
    assert one["messages"] % 4 == many["messages"] % (4 * 16) == 0
    assert min(one["messages"], many["messages"]) >= 64


def test_rounds_are_interleaved_and_what_fails_is_left_out(
    bench: dict[str, ModuleType], programs: dict[str, Path], payload: Path
) -> None:
    contender = bench["contenders"].Contender
    floor = (str(programs["floor"]),)
    there = [
        contender(name, name, (), "", common=(), place=("{port}",), program=program)
        for name, program in (("one", floor), ("absent", (sys.executable, "-c", "exit('not today')")), ("two", floor))
    ]
    cases = bench["cases"].CASES
    quiet = Quiet()
    client = bench["load"].Client(programs["load"], None, payload)
    found = bench["rounds"].Bench(client, None, quiet).measure([cases["64x1"], cases["deflate"]], there, 2, 0.01, 0)
    order = [step for step in quiet.steps if step.startswith("64x1")]
    assert order == ["64x1 on one", "64x1 on two", "64x1 on two", "64x1 on one"]
    assert [(s["case"], s["server"], s["round"]) for s in found.samples] == [
        ("64x1", "one", 0),
        ("64x1", "two", 0),
        ("64x1", "two", 1),
        ("64x1", "one", 1),
    ]
    assert found.left_out == quiet_lines(quiet)
    assert "absent exited 1: not today" in found.left_out[0]
    assert "permessage-deflate was declined" in found.left_out[1]
    assert len(found.left_out) == 3


def quiet_lines(quiet: Quiet) -> list[str]:
    return [line.removeprefix("left out: ") for line in quiet.said]


@pytest.mark.deploy
def test_websockets_behind_haproxy_are_on_a_few_connections() -> None:
    """The figures of docs/http2.md, with fewer of them; the program fails where connections are many."""
    command = [sys.executable, str(BENCH / "behind_haproxy.py"), "--websockets", "300", "--streams", "100"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=50)
    assert ended.returncode == 0, ended.stderr + ended.stdout
    *_, direct, through = ended.stdout.splitlines()
    assert direct.startswith("| HTTP/1.1, no proxy | 300 | ")
    assert through.startswith("| HTTP/2, HAProxy | 300 | ")


def test_fastws_is_found_in_all_its_forms(bench: dict[str, ModuleType]) -> None:
    contenders = bench["contenders"].CONTENDERS.values()
    ours = [each for each in contenders if each.module == "fastws" and each.python == sys.executable]
    assert {each.version for each in ours} == {fastws.__version__}
