"""One name by which fastws is installed, the same wherever it is said, and nothing in its folder but its own.

PyPI's `fastws` is another project: whoever follows a line with that name gets a stranger's code.
"""

from __future__ import annotations

import importlib.metadata
import os
import re
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import pytest

import fastws
from fastws.distribution import DISTRIBUTION, check_own_folder, install_line, requirement
from fastws.errors import ConfigError

ROOT = Path(__file__).parents[2]
KINDS = {".md", ".py", ".pyx", ".txt", ".toml", ".yml", ".yaml", ".sh", ".cfg", ".conf", ""}
STRANGER = "application.py"


def written() -> Iterator[Path]:
    """The texts of this tree, without what was installed, built or measured here."""
    for folder, folders, files in os.walk(ROOT):
        made = {"build", "dist", "node_modules", "results", "__pycache__"}
        folders[:] = [
            each for each in folders if each not in made and not each.endswith(".egg-info") and each[0] != "."
        ] + ([".github"] if ".github" in folders else [])
        files = [each for each in files if each not in ("PKG-INFO", Path(__file__).name)]
        yield from (Path(folder, name) for name in files if Path(name).suffix in KINDS)


def test_the_package_is_installed_by_that_name() -> None:
    assert importlib.metadata.version(DISTRIBUTION) == fastws.__version__
    assert re.search(r'(?m)^name = "([\w-]+)"', (ROOT / "pyproject.toml").read_text())[1] == DISTRIBUTION  # type: ignore[index]
    assert re.search(r"(?m)^DISTRIBUTION := ([\w-]+)", (ROOT / "Makefile").read_text())[1] == DISTRIBUTION  # type: ignore[index]


def test_no_line_installs_another_project() -> None:
    """Neither an extra of `fastws`, nor `pip install fastws`; the folder of a checkout, ./fastws, is ours."""
    wrong = []
    for path in written():
        for line in path.read_text().splitlines():
            commands = re.findall(r"pip3? install ([^`|#;&]*)", line)
            plain = any("fastws" in re.sub("[\"']", "", command).split() for command in commands)
            if re.search(r"(?<![\w./-])fastws\[[a-z0-9.,]+\]", line) or (plain and "not the same" not in line):
                wrong.append(f"{path.relative_to(ROOT)}: {line}")
    assert not wrong


def test_the_address_of_the_project_is_in_one_place() -> None:
    """Whoever publishes it changes four lines, as CONTRIBUTING.md says; no page and no workflow has it."""
    urls = (ROOT / "pyproject.toml").read_text().partition("\n[project.urls]\n")[2].partition("\n[")[0]
    [address] = set(re.findall(r"https://[^/\"]+/[^/\"]+/[^/\"]+", urls))
    places = [path.relative_to(ROOT).as_posix() for path in written() if address in path.read_text()]
    assert places == ["pyproject.toml"]


@pytest.mark.parametrize("path", sorted(ROOT.glob("examples/*/requirements.txt")), ids=lambda path: path.parent.name)
def test_examples_require_it(path: Path) -> None:
    names = [re.split(r"[\[<>=~ ]", line)[0] for line in path.read_text().splitlines()]
    assert DISTRIBUTION in names
    assert "fastws" not in names


def test_every_extra_that_a_hint_names_exists() -> None:
    extras = set(importlib.metadata.metadata(DISTRIBUTION).get_all("Provides-Extra") or ())
    named = {
        extra
        for path in (ROOT / "fastws").rglob("*.py")
        for extra in re.findall(r"(?:requirement|install_line)\(['\"](\w+)['\"]\)", path.read_text())
    }
    assert {"reload", "http2", "redis"} <= named <= extras
    assert install_line("reload") == f"pip install '{requirement('reload')}'" == f"pip install '{DISTRIBUTION}[reload]'"


def test_what_another_project_installs_is_none_of_our_files() -> None:
    check_own_folder()


@pytest.fixture
def mixed(tmp_path: Path) -> Path:
    """A folder of packages in which a fastws of ours lies, interpreted, to be damaged."""
    folder = tmp_path / "fastws"
    for path in (ROOT / "fastws").rglob("*.py"):
        copy = folder / path.relative_to(ROOT / "fastws")
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(path.read_bytes())
    (tmp_path / "others").mkdir()
    for path in Path(sysconfig.get_path("purelib")).iterdir():
        if not path.name.startswith("fastws"):  # one that is whole, installed beside it, would be taken instead
            (tmp_path / "others" / path.name).symlink_to(path)
    return tmp_path


def says(where: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run Python there, with the environment's packages but for the fastws that is installed, editable or not."""
    code = f"import sys; sys.path += [{str(where)!r}, {str(where / 'others')!r}]; sys.argv[0] = 'fastws'; "
    command = [sys.executable, "-I", "-S", "-c", code + arguments[0], *arguments[1:]]
    return subprocess.run(command, cwd=where, capture_output=True, text=True, check=False)


COMMAND = "from fastws.__main__ import main; main()"  # as pip writes it into bin/fastws


def test_it_starts_alone(mixed: Path) -> None:
    result = says(mixed, COMMAND, "--version")
    assert (result.returncode, result.stdout.splitlines()[0]) == (0, f"fastws {fastws.__version__}"), result.stderr


@pytest.mark.parametrize("last", ["ours", "theirs", "theirs, uninstalled"])
@pytest.mark.slow
def test_the_command_refuses_a_mixed_folder(mixed: Path, last: str) -> None:
    folder = mixed / "fastws"
    if last == "theirs, uninstalled":
        (folder / "__init__.py").unlink()
    else:
        (folder / STRANGER).write_text("")
    if last == "theirs":
        (folder / "__init__.py").write_text('__version__ = "0.1.7"\nfrom . import application\n')
    result = says(mixed, COMMAND, "app:app")
    assert (result.returncode, result.stdout) == (2, "")
    [line] = result.stderr.splitlines()
    assert re.fullmatch(rf"Error: {folder} has .* another project.*`pip uninstall fastws {DISTRIBUTION}`.*", line)


def test_other_doors_refuse_it_too(mixed: Path) -> None:
    (mixed / "fastws" / STRANGER).write_text("")
    result = says(mixed, "import fastws; fastws.run('app:app')")
    assert (result.returncode, result.stdout) == (2, "")
    assert STRANGER in result.stderr
    assert "from fastws.config import Config" not in result.stderr
    with pytest.raises(ConfigError, match=STRANGER):
        check_own_folder(str(mixed / "fastws"))
