"""What `pip install` makes, with and without a compiler: each build is from the source distribution, in a copy, and is
installed into a clean virtual environment and served from there.

The builds use this interpreter's setuptools and Cython (no build isolation), and the environments see its packages, so
nothing is downloaded.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest
from serving import serve_process
from websockets.sync.client import connect

pytestmark = [pytest.mark.build, pytest.mark.timeout(180)]

ROOT = Path(__file__).parents[2]
NO_COMPILER = "/nonexistent/cc"


@dataclass
class Build:
    """How a build ended: what it printed, and its wheel if it made one."""

    status: int
    output: str
    wheel: Path | None

    @property
    def warnings(self) -> list[str]:
        return [line for line in self.output.splitlines() if "fastws: WARNING" in line]

    @property
    def files(self) -> set[str]:
        assert self.wheel is not None, self.output
        return set(zipfile.ZipFile(self.wheel).namelist())

    @property
    def compiled(self) -> set[str]:
        """The compiled modules in the wheel, by the path of their source without its suffix."""
        suffix = sysconfig.get_config_var("EXT_SUFFIX")
        return {name.removesuffix(suffix) for name in self.files if name.endswith(suffix)}


@pytest.fixture(scope="session")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The source distribution, unpacked."""
    folder = tmp_path_factory.mktemp("sdist")
    subprocess.run(
        [sys.executable, "setup.py", "--quiet", "egg_info", "--egg-base", folder, "sdist", "--dist-dir", folder],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    (archive,) = folder.glob("*.tar.gz")
    with tarfile.open(archive) as files:
        # Python 3.11.2, Debian's, has no filters yet; 3.12 warns where none is named.
        files.extractall(folder, **({"filter": "data"} if hasattr(tarfile, "data_filter") else {}))
    return next(folder.glob("fastws_server-*/"))


def build(source: Path, **environment: str) -> Build:
    """Build the wheel of `source` with these variables, through the hook that pip calls."""
    wheels = source.parent / "wheels"
    wheels.mkdir()
    result = subprocess.run(
        [sys.executable, "-c", f"from setuptools import build_meta; build_meta.build_wheel({str(wheels)!r})"],
        cwd=source,
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    return Build(result.returncode, result.stdout, next(wheels.glob("*.whl"), None))


@pytest.fixture
def source(sdist: Path, tmp_path: Path) -> Path:
    """A copy of the unpacked source distribution for one build."""
    return Path(shutil.copytree(sdist, tmp_path / "source"))


@pytest.fixture
def quick_source(source: Path) -> Path:
    """The same with two small extensions, for builds that fail: they need not translate all of ours first."""
    for path in [*source.glob("fastws/**/*.pxd"), *source.glob("fastws/**/*.pyx")]:
        path.unlink()
    (source / "fastws" / "_codec.pyx").write_text("number = 1\n")
    (source / "fastws" / "_other.pyx").write_text("number = 2\n")
    return source


def install(wheel: Path, tmp_path: Path) -> Path:
    """The Python of a clean environment that has the wheel, and of other packages those of this one."""
    home = tmp_path / "venv"
    venv.create(home, with_pip=False, symlinks=True)
    site = next(home.glob("lib/python*/site-packages"))
    zipfile.ZipFile(wheel).extractall(site)
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return home / "bin" / "python"


def check_serves(wheel: Path, tmp_path: Path, engine: str) -> None:
    """Install the wheel into a clean environment and echo a message through its server, which says its engine."""
    with serve_process("echo_app:app", python=install(wheel, tmp_path)) as server:
        server.wait_for_line(rf"\b{engine}\b")
        with connect(f"{server.ws_url}/") as client:
            client.send("hello")
            assert client.recv() == "hello"


def test_source_distribution(sdist: Path) -> None:
    files = {path.relative_to(sdist).as_posix() for path in sdist.rglob("*") if path.is_file()}
    tracked = {
        path.relative_to(ROOT).as_posix()
        for suffix in ("pyx", "pxd", "pyi", "h", "py")
        for path in (ROOT / "fastws").rglob(f"*.{suffix}")
    }
    assert tracked <= files
    assert {"fastws/py.typed", "LICENSE", "README.md", "CHANGELOG.md", "Makefile", "tests/conftest.py"} <= files
    assert not {name for name in files if name.endswith((".so", ".pyc")) or name == "fastws/_codec.c"}
    if (ROOT / ".git").exists():
        known = subprocess.run(["git", "ls-files"], cwd=ROOT, check=True, capture_output=True, text=True).stdout.split()
        # Of a link to a directory it has the files, as a copy.
        wanted = {name for name in known if not name.startswith((".ci/", ".git")) and (ROOT / name).is_file()}
        assert wanted <= files, "see MANIFEST.in"


@pytest.mark.timeout(900)  # all modules, by one process, on a machine that may have other work
def test_compiled_build(source: Path, tmp_path: Path) -> None:
    # As every build, but without optimising, which takes most of the time.
    compiler = tmp_path / "cc"
    compiler.write_text('#!/bin/sh\nexec ${REAL_CC:-cc} "$@" -O0\n')
    compiler.chmod(0o755)
    result = build(source, FASTWS_EXTENSION="yes", CC=str(compiler), REAL_CC=os.environ.get("CC", "cc"))
    assert result.status == 0, result.output
    expected = {
        path.relative_to(source).with_suffix("").as_posix()
        for suffix in ("pyx", "pxd")
        for path in (source / "fastws").rglob(f"*.{suffix}")
    }
    assert result.compiled == expected >= {"fastws/_codec"}
    assert {"fastws/py.typed", "fastws/_codec.pyi", "fastws/demo/__init__.py"} <= result.files
    pages = {path.relative_to(source).as_posix() for path in (source / "fastws/demo").rglob("*") if path.is_file()}
    assert pages <= result.files
    # The .py of a compiled module is there too; sources that only a build needs are not.
    assert not {name for name in result.files if name.endswith((".pyx", ".pxd", ".c", ".h"))}
    assert result.wheel is not None
    paths = {str(tmp_path), f"{Path.home()}/", sys.base_prefix} - {"/usr"}
    with zipfile.ZipFile(result.wheel) as wheel:
        for name in result.files:
            for path in paths:
                assert path.encode() not in wheel.read(name), f"{name} has the path {path}"
            assert b".debug_info" not in wheel.read(name), f"{name} has debug symbols"
    check_serves(result.wheel, tmp_path, "cython")


@pytest.mark.parametrize(
    ("mode", "compiler"), [("", NO_COMPILER), ("auto", "false")], ids=["no compiler", "a compiler that fails"]
)
def test_auto_is_the_default_and_falls_back(quick_source: Path, tmp_path: Path, mode: str, compiler: str) -> None:
    result = build(quick_source, FASTWS_EXTENSION=mode, CC=compiler)
    assert result.status == 0, result.output
    assert result.compiled == set()
    assert len(result.warnings) == 1
    assert "FASTWS_EXTENSION=yes" in result.warnings[0]
    assert result.wheel is not None
    check_serves(result.wheel, tmp_path, "websockets")


def test_one_module_that_fails_leaves_none(quick_source: Path) -> None:
    (quick_source / "fastws" / "_other.pyx").write_text(
        'cdef extern from "no_such_header.h":\n    int number\nprint(number)\n'
    )
    result = build(quick_source, FASTWS_EXTENSION="auto")
    assert (result.status, result.compiled, len(result.warnings)) == (0, set(), 1)


def test_the_same_source_makes_the_same_modules_wherever_it_is_built(quick_source: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    other = Path(shutil.copytree(quick_source, tmp_path / "elsewhere" / "a_longer_name"))
    made = []
    for source in (quick_source, other):
        result = build(source, FASTWS_EXTENSION="yes")
        assert result.wheel is not None, result.output
        with zipfile.ZipFile(result.wheel) as wheel:
            made.append({name: wheel.read(name) for name in sorted(result.files) if name.endswith(".so")})
    assert len(made[0]) == 2
    assert made[0] == made[1]


USERS_PROGRAM = '''
"""What a typed application may use of fastws."""

import asyncio
from collections.abc import Callable
from typing import Any

import fastws
from fastws.config import LOGGING_CONFIG
from fastws.errors import ConfigError, StartupError
from fastws.asgi.request_id import REQUEST_ID
from fastws.testing import LeakError, RunningServer, running, serve


async def app(scope: dict[str, Any], receive: Callable[[], Any], send: Callable[[Any], Any]) -> None:
    request_id: str | None = REQUEST_ID.get()
    print(request_id, fastws.__version__)


def on_error(message: str, error: BaseException | None) -> None:
    print(message, error)


async def main() -> None:
    config: fastws.Config = fastws.Config(app, port=0, ws_max_size=1 << 20, log_config=LOGGING_CONFIG)
    server = fastws.Server(config, on_error=on_error)
    try:
        await server.serve()
    except (ConfigError, StartupError) as problem:
        print(problem)
    started: bool = server.started
    server.should_exit = started
    async with running(app) as inner:
        port: int = inner.port
    print(port)


def test_it() -> None:
    with serve("module:app", lifespan="on", check_leaks=False) as server:
        url: str = server.url + server.ws_url
        errors: list[Exception] = server.errors
    print(url, errors, LeakError)


def test_fixture(fastws_server: Callable[..., RunningServer]) -> None:
    fastws_server(app).url.upper()


if __name__ == "__main__":
    asyncio.run(main())
    fastws.run("module:app", host="::", workers=2)
'''


def test_a_typed_program_passes_mypy_strict_with_the_wheel(source: Path, tmp_path: Path) -> None:
    result = build(source, FASTWS_EXTENSION="no")
    assert result.wheel is not None, result.output
    python = install(result.wheel, tmp_path)
    program = tmp_path / "program.py"
    program.write_text(USERS_PROGRAM)

    def check() -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "mypy", "--strict", "--python-executable", python, program]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)

    checked = check()
    assert checked.returncode == 0, checked.stdout
    # It is not that mypy knows nothing of fastws.
    program.write_text(USERS_PROGRAM.replace("inner.port", "inner.url"))
    assert 'Incompatible types in assignment (expression has type "str", variable has type "int")' in check().stdout


def test_yes_fails_and_says_why(quick_source: Path) -> None:
    result = build(quick_source, FASTWS_EXTENSION="yes", CC=NO_COMPILER)
    assert result.status != 0
    assert "FASTWS_EXTENSION=yes, but the extensions cannot be built" in result.output
    assert NO_COMPILER in result.output


@pytest.fixture
def no_cython(tmp_path: Path) -> str:
    """A PYTHONPATH on which Cython cannot be imported."""
    (tmp_path / "path" / "Cython").mkdir(parents=True)
    (tmp_path / "path" / "Cython" / "__init__.py").write_text("raise ImportError('there is no Cython here')\n")
    return str(tmp_path / "path")


def test_no_builds_none_and_needs_neither_compiler_nor_cython(
    quick_source: Path, tmp_path: Path, no_cython: str
) -> None:
    result = build(quick_source, FASTWS_EXTENSION="no", CC=NO_COMPILER, PYTHONPATH=no_cython)
    assert result.status == 0, result.output
    assert (result.compiled, result.warnings) == (set(), [])
    assert result.wheel is not None
    assert result.wheel.name.endswith("-py3-none-any.whl")
    check_serves(result.wheel, tmp_path, "websockets")


def test_auto_without_cython_falls_back(quick_source: Path, no_cython: str) -> None:
    result = build(quick_source, FASTWS_EXTENSION="auto", PYTHONPATH=no_cython)
    assert (result.status, result.compiled, len(result.warnings)) == (0, set(), 1)
    assert "there is no Cython here" in result.warnings[0]


def test_other_values_are_errors(quick_source: Path) -> None:
    result = build(quick_source, FASTWS_EXTENSION="maybe")
    assert result.status != 0
    assert "Error: FASTWS_EXTENSION: must be one of auto, yes, no, not 'maybe'" in result.output
