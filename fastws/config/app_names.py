"""What could be meant by APP: the modules of a directory and the names in them, read without importing anything.

For shell completion, and for the hint in an error. What the names are when they are imported only `fastws.asgi.loading`
knows: here a module is parsed, and a name is likely to be an application by how it is spelled and assigned.
"""

from __future__ import annotations

import ast
import os
from typing import Final

from fastws.config.near import nearest

MAX_MODULES: Final = 200
"""Of how many files of a directory notice is taken."""
MAX_SOURCE: Final = 1 << 20
"""Bytes of a module that is read."""

_NAMES: Final = {"app", "application", "asgi", "asgi_app", "api", "create_app", "make_app", "get_app"}
_MAKERS: Final = {
    *("FastAPI", "Starlette", "Litestar", "Quart", "ASGIApp", "Blacksheep", "Application", "Robyn", "App"),
    *("ProtocolTypeRouter", "get_asgi_application", "get_default_application", "WSGIMiddleware", "WsgiToAsgi"),
}
"""What frameworks call what makes an application."""


def modules(directory: str, package: str = "") -> list[str]:
    """The modules in a directory, or in a package in it, by their dotted names, sorted; none where there is none."""
    found = []
    try:
        with os.scandir(os.path.join(directory, *package.split(".")) if package else directory) as entries:
            for entry in entries:
                name = entry.name.removesuffix(".py")
                if not name.isidentifier() or name == "__init__":
                    continue
                if (entry.name != name and entry.is_file()) or (entry.name == name and _is_package(entry.path)):
                    found.append(f"{package}.{name}" if package else name)
    except OSError:
        return []
    return sorted(found)[:MAX_MODULES]


def names(directory: str, module: str) -> list[str]:
    """What a module has at its top level and may be called, applications first; none where it cannot be read."""
    found = _top_level(directory, module)
    others = [name for name, likely in found.items() if not likely and not name.startswith("_")]
    return [*applications(directory, module), *others]


def applications(directory: str, module: str) -> list[str]:
    """Those of `names` that are likely to be an application, or to return one."""
    return [name for name, likely in _top_level(directory, module).items() if likely]


def as_module(path: str, attribute: str) -> str:
    """How APP is written for a file: ``src/main.py`` and ``app`` make ``src.main:app``.

    A file elsewhere, or one that no dotted name leads to, is named with the --app-dir that it needs.
    """
    parts = os.path.normpath(path.removesuffix(".py")).split(os.sep)
    attribute = attribute or "app"
    if all(part.isidentifier() for part in parts):
        return ".".join(parts) + ":" + attribute
    return f"--app-dir {os.path.dirname(path) or '.'} {parts[-1]}:{attribute}"


def meant(text: str, directory: str) -> str | None:
    """What somebody may have meant who wrote `text` for APP, without a colon; None where nothing suggests itself."""
    if text.endswith(".py") or os.sep in text:
        path = text if text.endswith(".py") else text + ".py"
        name = os.path.basename(path).removesuffix(".py")
        return as_module(path, next(iter(applications(os.path.dirname(path) or ".", name)), "app"))
    there = modules(directory, text.rpartition(".")[0])
    module = text if text in there else nearest(text, there)
    if module is None:
        return None
    found = applications(directory, module)
    return f"{module}:{found[0]}" if found else None


def all_applications(directory: str) -> list[str]:
    """Every ``module:attribute`` of a directory that is likely to be an application."""
    return [f"{module}:{name}" for module in modules(directory) for name in applications(directory, module)]


def _top_level(directory: str, module: str) -> dict[str, bool]:
    """The names that a module assigns, and whether each is likely to be an application."""
    tree = _parsed(directory, module)
    found: dict[str, bool] = {}
    for node in tree.body if tree is not None else ():
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            found[node.name] = node.name in _NAMES or _takes_events(node)
        elif isinstance(node, (ast.Assign, ast.AnnAssign)):
            for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
                if isinstance(target, ast.Name):
                    found[target.id] = target.id in _NAMES or _maker(node.value) in _MAKERS
    return found


def _takes_events(node: ast.stmt) -> bool:
    if not isinstance(node, ast.AsyncFunctionDef):
        return False
    return [argument.arg for argument in node.args.args[:3]] == ["scope", "receive", "send"]


def _maker(value: ast.expr | None) -> str:
    """The name of what is called to make a value: ``FastAPI`` in ``fastapi.FastAPI()``."""
    function = value.func if isinstance(value, ast.Call) else None
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")


def _parsed(directory: str, module: str) -> ast.Module | None:
    base = os.path.join(directory, *module.split("."))
    for path in (base + ".py", os.path.join(base, "__init__.py")):
        try:
            with open(path, "rb") as file:
                return ast.parse(file.read(MAX_SOURCE))
        except (OSError, SyntaxError, ValueError, RecursionError, MemoryError):  # what ast.parse is known to raise
            continue
    return None


def _is_package(path: str) -> bool:
    """Whether a directory has modules."""
    try:
        with os.scandir(path) as entries:
            return any(entry.name.endswith(".py") for entry in entries)
    except OSError:
        return False
