"""Imports point down only: a folder is a layer, and sans-IO folders know no loop.

The order of the folders is all that is written down here. `if TYPE_CHECKING:` counts as an import: what a module has to
know for its types, it knows.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "fastws"

FOLDERS = (
    *("http", "websocket", "config", "net", "asgi", "topics", "observe", "process"),
    *("gunicorn", "cli", "testing", "demo"),
)
"""From the ground up."""
GROUND = -1
TOP = len(FOLDERS)
RANK = {
    **{name: rank for rank, name in enumerate(FOLDERS)},
    "errors": GROUND,
    "distribution": GROUND,
    "counted": GROUND,
    "_codec": FOLDERS.index("websocket"),  # its place is at the top of the tree, and not its layer
    "__init__": TOP,  # who imports `fastws` itself is given its version, see below
    "__main__": TOP,
    "workers": TOP,
}
"""Of a folder, and of what lies beside the folders."""

SANS_IO = ("http", "websocket")
"""Time and input are arguments there. Their imports, and those of `config`, are checked for what acts."""

FORBIDDEN = {
    *("asyncio", "selectors", "signal", "socket", "socketserver", "ssl", "subprocess", "threading", "time", "uvloop"),
}

SOURCES = sorted(path for pattern in ("*.py", "*.pyx", "*.pxd") for path in PACKAGE.rglob(pattern))
MODULES = {
    ".".join(("fastws", *path.relative_to(PACKAGE).with_suffix("").parts)).removesuffix(".__init__") for path in SOURCES
}


def module_of(path: Path) -> str:
    return ".".join(("fastws", *path.relative_to(PACKAGE).with_suffix("").parts)).removesuffix(".__init__")


def room_of(module: str) -> str:
    """The key of `RANK` for a module of fastws, written with dots: ``fastws.net.connection`` is in ``net``."""
    return module.split(".")[1] if "." in module else "__init__"


def imported(path: Path) -> Iterator[str]:
    """Full names of the modules that a source imports; of a package of ours, those of its modules that are named."""
    text = path.read_text()
    if path.suffix != ".py":  # no Python that ast reads: one import a line is enough here
        found = re.findall(r"^[ \t]*(?:from[ \t]+(\S+)[ \t]+)?c?import[ \t]+(.+)$", text, re.MULTILINE)
        for module, names in found:
            for name in names.split(","):
                yield from _named(module, name.split()[0])
        return
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute here"
            assert node.module is not None
            for alias in node.names:
                yield from _named(node.module, alias.name)


def _named(module: str, name: str) -> Iterator[str]:
    """What ``from module import name`` imports."""
    whole = f"{module}.{name}" if module else name
    yield whole if whole in MODULES else module or name


def ours(path: Path) -> set[str]:
    """The modules of fastws that a source imports, but for itself and for the version, which everybody may ask for."""
    found = {module for module in imported(path) if module.partition(".")[0] == "fastws"}
    return found - {module_of(path), "fastws"}


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_imports_point_down(path: Path) -> None:
    room = room_of(module_of(path))
    assert room in RANK, f"fastws/ has no folder {room!r}: find the room of this module"
    assert not [module for module in ours(path) if RANK[room_of(module)] > RANK[room]]


def test_modules_know_each_other_in_no_circle() -> None:
    graph: dict[str, set[str]] = {}
    for path in SOURCES:
        graph.setdefault(module_of(path), set()).update(ours(path))
    # The door of the package imports what it names when it is asked for, and is imported for its version.
    del graph["fastws"]
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


def test_every_folder_is_a_layer() -> None:
    folders = {path.name for path in PACKAGE.iterdir() if path.is_dir() and path.name != "__pycache__"}
    assert folders == set(FOLDERS)


@pytest.mark.parametrize("folder", FOLDERS)
def test_a_folder_says_in_which_order_to_read_it(folder: str) -> None:
    said = ast.get_docstring(ast.parse((PACKAGE / folder / "__init__.py").read_text())) or ""
    modules = {path.stem for pattern in ("*.py", "*.pyx") for path in (PACKAGE / folder).glob(pattern)} - {"__init__"}
    assert not modules - set(re.findall(r"\w+", said))


@pytest.mark.parametrize(
    "path", [path for path in SOURCES if room_of(module_of(path)) in (*SANS_IO, "_codec", "config")], ids=module_of
)
def test_sans_io_knows_no_loop_no_socket_and_no_clock(path: Path) -> None:
    assert not {module.partition(".")[0] for module in imported(path)} & FORBIDDEN


@pytest.mark.parametrize("path", [path for path in SOURCES if room_of(module_of(path)) == "config"], ids=module_of)
def test_values_need_the_standard_library_only(path: Path) -> None:
    assert not {module.partition(".")[0] for module in imported(path)} & {"click", "httptools", "websockets", "wsproto"}


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_click_stays_in_its_room(path: Path) -> None:
    if room_of(module_of(path)) != "cli":
        assert "click" not in {module.partition(".")[0] for module in imported(path)}
