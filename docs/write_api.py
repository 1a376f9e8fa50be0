"""Writes docs/api.md, the names of Python that fastws promises, from their signatures and docstrings.

It reads the sources and imports nothing of fastws, so it needs no build. `make options` runs it, a test compares.

python docs/write_api.py [--check]
"""

from __future__ import annotations

import ast
import inspect
import re
import sys
from collections.abc import Iterator
from pathlib import Path

PAGE = Path(__file__).with_name("api.md")
PACKAGE = Path(__file__).parents[1] / "fastws"

PUBLIC: dict[str, list[str]] = {
    "fastws": ["run", "Config", "Server"],
    "fastws.config": ["LOGGING_CONFIG"],
    "fastws.errors": ["ConfigError", "StartupError"],
    "fastws.observe": ["DefaultFormatter", "AccessFormatter", "JsonFormatter", "REQUEST_ID"],
    "fastws.testing": [],
    "fastws.topics": [],
    "fastws.workers": ["FastWSWorker"],
}
"""The modules that applications and configurations may import, and what of each; an empty list is its `__all__`."""

HOME = {
    "run": "fastws.process.launch",
    "Config": "fastws.config.config",
    "Server": "fastws.process.server",
    "FastWSWorker": "fastws.gunicorn.worker",
    "REQUEST_ID": "fastws.asgi.request_id",
    **dict.fromkeys(("DefaultFormatter", "AccessFormatter", "JsonFormatter"), "fastws.observe.log_format"),
    **dict.fromkeys(("LeakError", "RunningServer", "running", "serve"), "fastws.testing.server"),
    "connect": "fastws.topics.remote",
    "presence_topic": "fastws.topics.events",
    "LOGGING_CONFIG": "fastws.config.log_defaults",
    **dict.fromkeys(("subscribe", "subscribed", "unsubscribe", "publish_from"), "fastws.topics.helpers"),
}
"""The module that defines a name which another one promises."""

ONLY = {
    "Config": {"is_ssl", "default_headers"},
    "FastWSWorker": {"CONFIG"},
    "Server": {"started", "should_exit", "force_exit", "handle_exit", "reload_tls", "run", "serve", "shutdown"},
}
"""Members of classes to show, where the others are options, or what gunicorn and the processes of fastws call."""

HEAD = """\
# API

<!-- written by `make options` from the sources -->

What is not on this page is fastws's own business and may change in any release. Times are seconds and sizes are bytes.
"""

CONFIG = """\
class Config:
    def __init__(self, app: str | Callable[..., Any], **options: Any) -> None: ...\
"""
FIELDS = """
Its fields are `app` and the [options](options.md), by their environment variables in lower case and without the prefix:
`FASTWS_WS_MAX_SIZE` is `ws_max_size`. It is a frozen dataclass.
"""

Definition = ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef | ast.Assign | ast.AnnAssign


def page() -> str:
    """The whole of docs/api.md."""
    parts = [HEAD]
    for module, names in PUBLIC.items():
        tree = _parse(module)
        about = _docstring(tree).partition("\n\nKnows ")[0]  # what a room may know is for who changes it
        parts.append(f"\n## {module}\n\n{about}\n")
        for name in names or _all(tree):
            home = _parse(HOME[name]) if name in HOME else tree
            definition, text = next((d, t) for found, d, t in _definitions(home.body) if found == name)
            parts.append(f"\n### {module}.{name}\n\n" + _entry(name, definition, text))
    return "".join(parts)


def _entry(name: str, definition: Definition, text: str) -> str:
    """The signature and the docstring of a name; of a class, those of its public members too."""
    if isinstance(definition, ast.Assign | ast.AnnAssign):
        annotation = f": {ast.unparse(definition.annotation)}" if isinstance(definition, ast.AnnAssign) else ""
        return (f"```python\n{name}{annotation}\n```\n\n" if annotation else "") + f"{text}\n"
    parts = [f"```python\n{CONFIG if name == 'Config' else _signature(definition)}\n```\n\n{text}\n"]
    if name == "Config":
        parts.append(FIELDS)
    if isinstance(definition, ast.ClassDef):
        for member, at, about in _members(definition):
            if about and not member.startswith("_") and member in ONLY.get(name, {member}):
                what = _signature(at) if not isinstance(at, ast.Assign | ast.AnnAssign) else member
                if isinstance(at, ast.AnnAssign):
                    what += f": {ast.unparse(at.annotation)}"
                parts.append(f"\n#### {name}.{member}\n\n```python\n{what}\n```\n\n{about}\n")
    return "".join(parts)


def _signature(node: Definition) -> str:
    """How it is called, as a stub that Python can read."""
    if isinstance(node, ast.ClassDef):
        bases = f"({', '.join(map(ast.unparse, node.bases))})" if node.bases else ""
        made = next((each for each in node.body if getattr(each, "name", "") == "__init__"), None)
        body = "..." if made is None else "\n" + inspect.cleandoc(_signature(made))  # type: ignore[arg-type]
        return f"class {node.name}{bases}:" + (" ..." if made is None else body.replace("\n", "\n    "))
    assert isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    kept = [ast.unparse(each) for each in node.decorator_list if not isinstance(each, ast.Call)]
    decorators = "".join(f"@{each}\n" for each in kept if each.endswith(("property", "classmethod", "contextmanager")))
    word = "async def" if isinstance(node, ast.AsyncFunctionDef) else "def"
    arguments = _arguments(node.args)
    returns = f" -> {ast.unparse(node.returns)}" if node.returns is not None else ""
    line = f"{word} {node.name}({', '.join(arguments)}){returns}: ..."
    if len(line) > 100:
        line = f"{word} {node.name}(\n    " + ",\n    ".join(arguments) + f",\n){returns}: ..."
    return decorators + line.replace("'", '"')  # as `ruff format`, which looks into Markdown, has it


def _arguments(given: ast.arguments) -> list[str]:
    """Each argument with its annotation and its default, and the marks / and * between them."""

    def shown(argument: ast.arg, default: ast.expr | None = None) -> str:
        annotation = f": {ast.unparse(argument.annotation)}" if argument.annotation is not None else ""
        equals = " = " if annotation else "="
        return f"{argument.arg}{annotation}" + (equals + ast.unparse(default) if default is not None else "")

    positional = [*given.posonlyargs, *given.args]
    defaults = [None] * (len(positional) - len(given.defaults)) + [*given.defaults]
    parts = [shown(*each) for each in zip(positional, defaults, strict=True)]
    if given.posonlyargs:
        parts.insert(len(given.posonlyargs), "/")
    if given.vararg is not None:
        parts.append(f"*{shown(given.vararg)}")
    elif given.kwonlyargs:
        parts.append("*")
    parts += [shown(*each) for each in zip(given.kwonlyargs, given.kw_defaults, strict=True)]
    return [*parts, f"**{shown(given.kwarg)}"] if given.kwarg is not None else parts


def _members(node: ast.ClassDef) -> Iterator[tuple[str, Definition, str]]:
    """What a class defines, and the attributes that its `__init__` describes."""
    for name, definition, text in _definitions(node.body):
        setter = any(ast.unparse(each).endswith(".setter") for each in getattr(definition, "decorator_list", ()))
        if name == "__init__" and isinstance(definition, ast.FunctionDef):
            yield from _definitions(definition.body)
        elif not setter:
            yield name, definition, text


def _definitions(body: list[ast.stmt]) -> Iterator[tuple[str, Definition, str]]:
    """The names that statements define, each with its docstring; that of a variable is the string behind it."""
    for place, node in enumerate(body):
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.name, node, _docstring(node)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            target = node.targets[0] if isinstance(node, ast.Assign) else node.target
            name = target.id if isinstance(target, ast.Name) else getattr(target, "attr", "")
            behind = body[place + 1] if place + 1 < len(body) else None
            value = behind.value if isinstance(behind, ast.Expr) else None
            text = value.value if isinstance(value, ast.Constant) and isinstance(value.value, str) else ""
            yield name, node, _markdown(text)


def _docstring(node: ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) -> str:
    return _markdown(ast.get_docstring(node) or "")


def _markdown(text: str) -> str:
    """A docstring as Markdown: with the names of Python in single backquotes, and a blank line before a list."""
    text = inspect.cleandoc(text).replace("``", "`").replace("::\n", ":\n")
    return re.sub(r"(?m)^((?!- |  ).+)\n(?=- )", r"\1\n\n", text)


def _parse(module: str) -> ast.Module:
    path = PACKAGE.joinpath(*module.split(".")[1:])
    file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    return ast.parse(file.read_text())


def _all(tree: ast.Module) -> list[str]:
    names = next(node.value for name, node, _ in _definitions(tree.body) if name == "__all__")  # type: ignore[union-attr]
    assert names is not None
    found: list[str] = ast.literal_eval(names)
    return found


if __name__ == "__main__":
    if "--check" not in sys.argv[1:]:
        PAGE.write_text(page())
    elif PAGE.read_text() != page():
        sys.exit("api.md is out of date: run `make options`")
