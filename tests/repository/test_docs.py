"""The pages that are written from the source are current, and what they point to is there."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import click
import pytest
import uvicorn
from doc_blocks import PAGES, ROOT
from gunicorn.config import KNOWN_SETTINGS
from peer_options import GRANIAN, HYPERCORN

import fastws
from fastws.cli import main as cli
from fastws.config import OPTIONS

UVICORN = {name for param in uvicorn.main.params if isinstance(param, click.Option) for name in param.opts}
"""The options of the uvicorn that is installed."""

PEERS = {"from-hypercorn.md": HYPERCORN, "from-granian.md": GRANIAN}

ELSEWHERE = {"--against", "--full", "--markdown", "--quick", "--strict", "--timeout", "--ssl"}
ELSEWHERE |= {"--annotate", "--cases", "--only", "--rounds", "--scenarios", "--servers", "--write"}
ELSEWHERE |= {"--write-docs", "--websocket-max-frame-size", "--websocket-max-message-size"}
ELSEWHERE |= {"--find-links", "--force-reinstall", "--no-deps", "--no-index", "--pid", "--ulimit", "--upgrade"}
"""Options of other programs that the pages name, and the beginning of `--ssl-*`."""


def test_options_page_and_the_limits_of_security_are_current() -> None:
    subprocess.run([sys.executable, ROOT / "docs" / "write_options.py", "--check"], check=True)


def test_each_option_has_an_address_of_its_own() -> None:
    """A heading is one, in lower case; a second one of the same words would get a number."""
    page = (ROOT / "docs" / "options.md").read_text()
    addresses = [each.lower().replace(" ", "-") for each in re.findall(r"(?m)^#+ (.*)$", page)]
    assert len(addresses) == len({*addresses})
    assert {each.cli.removeprefix("--") for each in OPTIONS} <= {*addresses}


@pytest.mark.parametrize("page", [each for each in PAGES if each.parent != ROOT], ids=lambda page: page.name)
def test_links_to_pages_are_words(page: Path) -> None:
    assert re.findall(r"\[[^\]\n]*\.md\]\(", page.read_text()) == []


@pytest.mark.parametrize("script", ["write_api.py", "draw_architecture.py"])
def test_api_page_and_pictures_are_current(script: str) -> None:
    subprocess.run([sys.executable, ROOT / "docs" / script, "--check"], check=True)


def test_api_page_has_every_public_name() -> None:
    page = (ROOT / "docs" / "api.md").read_text()
    assert {f"fastws.{name}" for name in fastws.__all__} - {*re.findall(r"(?m)^### (\S+)", page)} == {
        "fastws.__version__"
    }


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    broken = []
    for target, anchor in re.findall(r"\]\((?!https?:)([^)#\s]*)#?([^)\s]*)\)", page.read_text()):
        path = page.parent / target if target else page
        if not path.exists() or (anchor and (path.suffix != ".md" or anchor not in anchors(path))):
            broken.append(f"{target}#{anchor}")
    assert broken == []


def anchors(page: Path) -> set[str]:
    """The headings of a page as links name them; where GitHub and the site differ, none."""
    text = re.sub(r"(?ms)^(`{3,}).*?^\1$", "", page.read_text())
    found = set()
    for heading in re.findall(r"(?m)^#+ (.*)$", text):
        plain = re.sub(r"[^\w\- ]", "", heading.replace("`", "").lower()).strip()
        if "  " not in plain:
            found.add(plain.replace(" ", "-"))
    return found


def test_site_has_every_page() -> None:
    """As `make docs` asks, which needs more than the tests: a page is in the navigation of mkdocs.yml."""
    navigation = (ROOT / "mkdocs.yml").read_text().split("\nnav:\n")[1]
    pages = {path.relative_to(ROOT / "docs").as_posix() for path in (ROOT / "docs").rglob("*.md")}
    named = re.findall(r"- (?:[^:\n]+: )?(\S+\.md)", navigation)
    assert sorted(named) == sorted({*pages, "SECURITY.md", "CHANGELOG.md"}), "the nav of mkdocs.yml"


@pytest.mark.parametrize("name", PEERS)
def test_pages_for_users_of_other_servers_know_each_option_and_name_only_ours(name: str) -> None:
    from fastws.config import OPTIONS

    rows = [line.split("|") for line in (ROOT / "docs" / name).read_text().splitlines() if line.startswith("| `-")]
    theirs = [option for row in rows for option in re.findall(r"--[a-z][a-z0-9-]*", row[1])]
    ours = {option for row in rows for option in re.findall(r"--[a-z][a-z0-9-]*", row[2])}
    assert sorted(theirs) == sorted(PEERS[name])
    assert ours <= {option.cli for option in OPTIONS}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_options_that_pages_name_exist(page: Path) -> None:
    from fastws.config import OPTIONS

    known = {option.cli for option in OPTIONS} | {f"--no-{option.cli.removeprefix('--')}" for option in OPTIONS}
    commands = [cli.main, *map(cli.load_command, cli.COMMANDS)]
    shown = [each for command in commands for each in command.params if not getattr(each, "hidden", False)]
    known |= {name for param in shown for name in param.opts}
    if page.name == "from-uvicorn.md":
        known |= UVICORN
    known |= PEERS.get(page.name, set())
    if page.name == "gunicorn.md":
        known |= {name for setting in KNOWN_SETTINGS for name in setting.cli or ()}
    assert options_named_on(page) - ELSEWHERE <= known | {"--help", "--version"}


def options_named_on(page: Path) -> set[str]:
    return set(re.findall(r"(?<![\w-])--[a-z][a-z0-9-]*[a-z0-9]", page.read_text()))


def test_page_for_users_of_uvicorn_knows_each_of_its_options() -> None:
    assert UVICORN - options_named_on(ROOT / "docs" / "from-uvicorn.md") == set()


def test_page_for_users_of_uvicorn_says_which_of_its_options_are_not_there() -> None:
    from fastws.config import OPTIONS

    page = (ROOT / "docs" / "from-uvicorn.md").read_text()
    rows = [line.split("|") for line in page.splitlines() if line.startswith("| `--")]
    missing = "".join(row[1] for row in rows if "the same" not in row[2])
    ours = {option.cli for option in OPTIONS}
    assert {name for name in re.findall(r"--[a-z0-9-]+", missing) if name not in ours} == UVICORN - ours - {"--version"}


def test_limits_of_security_md_have_all_that_bounds_a_client() -> None:
    """HTTP/2's and those of topics, too: the page says that its table is the whole."""
    from fastws.config import OPTIONS

    rows = set(re.findall(r"^\| `(--[a-z0-9-]+)` \|", (ROOT / "SECURITY.md").read_text(), re.MULTILINE))
    limits = {option.cli for option in OPTIONS if option.group == "Limits"}
    ends = {name for name in limits if name.startswith("--limit-max-requests")}
    bounds = limits - ends | {option.cli for option in OPTIONS if option.name.startswith("http2_")}
    assert sorted((bounds | {"--topics-backlog", "--topics-per-connection"}) - rows) == []


def test_bounds_that_security_md_quotes_beside_the_options() -> None:
    from fastws.asgi.lifetime import MAX_PONGS
    from fastws.asgi.opening import EARLY_BYTES
    from fastws.websocket.engine import INFLATE_BUDGET
    from fastws.websocket.failures import MAX_EMPTY_FRAGMENTS

    text = " ".join((ROOT / "SECURITY.md").read_text().split())
    assert f"{EARLY_BYTES // 1024} KiB of frames that arrive before the application accepted" in text
    assert f"{MAX_EMPTY_FRAGMENTS:,} empty fragments" in text
    assert f"in steps of {INFLATE_BUDGET // 1024} KiB" in text
    assert f"the {MAX_PONGS} newest pings of a read" in text
