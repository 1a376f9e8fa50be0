"""Finds the ASGI application: imports ``module:attribute``, calls a factory, and makes ASGI 2 look like ASGI 3.

Whatever is wrong is a ConfigError, one line that names APP; an AppError where the user's own code raised.
"""

from __future__ import annotations

import contextlib
import importlib
import inspect
import os
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator
from types import TracebackType
from typing import Any, TypeAlias

from fastws.config import Config
from fastws.config.app_names import applications, as_module, modules
from fastws.config.near import did_you_mean
from fastws.errors import ConfigError

Scope: TypeAlias = dict[str, Any]
Message: TypeAlias = dict[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
ASGIApplication: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]

MAX_NAMED = 3
"""How many of a module's applications an error names."""


class AppError(ConfigError):
    """The user's own code raised: its `__cause__` has a traceback that begins there, and is worth showing."""


_under_way: dict[int, str] = {}


@contextlib.contextmanager
def under_way(module: str) -> Iterator[None]:
    """While the block runs, this thread imports the module `module` to serve what is in it."""
    ident = threading.get_ident()
    before = _under_way.get(ident)
    _under_way[ident] = module
    try:
        yield
    finally:
        if before is None:
            del _under_way[ident]
        else:
            _under_way[ident] = before


def module_under_way() -> str | None:
    """The module that this thread is importing to serve what is in it, if it is."""
    return _under_way.get(threading.get_ident())


def load_application(config: Config) -> ASGIApplication:
    """The application of `config` as an ASGI 3 callable. Raises ConfigError."""
    app, name = config.app, "the application"
    if isinstance(app, str):
        name = repr(app)
        app = _import(app, os.path.abspath(config.app_dir))
    if config.factory or _is_factory(app):
        app = _call_factory(app, name)
    return _as_asgi3(app, name)


def _import(text: str, app_dir: str) -> Any:
    if app_dir not in sys.path:
        sys.path.insert(0, app_dir)
    module_name, _, attributes = text.partition(":")
    if attributes.endswith("()"):
        raise ConfigError(f"APP: {text!r} calls a function: write {text.removesuffix('()')!r}, with --factory")
    if module_name.endswith(".py") or not all(part.isidentifier() for part in module_name.split(".")):
        meant = as_module(module_name, attributes)
        raise ConfigError(f"APP: {module_name!r} is not the name of a module: did you mean {meant!r}?")
    try:
        with under_way(module_name):
            module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is not None and (module_name == error.name or module_name.startswith(error.name + ".")):
            where = f"in {app_dir} or on Python's path"
            near = did_you_mean(module_name, modules(app_dir, module_name.rpartition(".")[0]))
            hint = near or "; --app-dir names another directory"
            raise ConfigError(f"APP: there is no module {module_name!r} {where}{hint}") from None
        raise _users_error(f"APP: importing {module_name!r} failed", error) from _trimmed(error)
    except Exception as error:  # whatever the user's module raises is theirs, and shown with its traceback
        raise _users_error(f"APP: importing {module_name!r} failed", error) from _trimmed(error)
    found: Any = module
    for attribute in attributes.split("."):
        try:
            found = getattr(found, attribute)
        except AttributeError:
            hint = _meant(found, attribute, app_dir, module_name)
            raise ConfigError(f"APP: module {module_name!r} has no attribute {attributes!r}{hint}") from None
    return found


def _meant(found: Any, attribute: str, app_dir: str, module_name: str) -> str:
    """The end of the error for an attribute that is not there: what can be called, before what cannot."""
    callables = [name for name in dir(found) if not name.startswith("_") and callable(getattr(found, name, None))]
    hint = did_you_mean(attribute, callables) or did_you_mean(attribute, dir(found))
    there = [] if hint or not inspect.ismodule(found) else applications(app_dir, module_name)
    return f"; it has {', '.join(map(repr, there[:MAX_NAMED]))}" if there else hint


def _is_factory(app: Any) -> bool:
    """Whether it is a plain function without parameters, which no application is."""
    return inspect.isfunction(app) and not inspect.signature(app).parameters


def _call_factory(factory: Any, name: str) -> Any:
    if not callable(factory):
        raise ConfigError(f"APP: --factory is given, but {name} cannot be called: its type is {type(factory).__name__}")
    try:
        inspect.signature(factory).bind()
    except TypeError:
        raise ConfigError(f"APP: --factory is given, but {name} cannot be called without arguments") from None
    except ValueError:  # a builtin has no signature: calling it will tell
        pass
    try:
        app = factory()
    except Exception as error:  # the user's code, as above
        raise _users_error(f"APP: the factory {name} failed", error) from _trimmed(error)
    if inspect.iscoroutine(app):
        app.close()
        raise ConfigError(f"APP: the factory {name} is a coroutine function: it must return the application itself")
    return app


def _as_asgi3(app: Any, name: str) -> ASGIApplication:
    if not callable(app):
        raise ConfigError(
            f"APP: {name} is not an ASGI application: it cannot be called, its type is {type(app).__name__}"
        )
    if _accepts(app, 3) and not (inspect.isclass(app) and not hasattr(app, "__await__")):
        application: ASGIApplication = app
        return application
    if _accepts(app, 1):
        return _Asgi2(app)
    if _accepts(app, 2):
        raise ConfigError(f"APP: {name} looks like WSGI, not ASGI: wrap it, for example in a2wsgi.WSGIMiddleware")
    raise ConfigError(f"APP: {name} is not an ASGI application: it must accept (scope, receive, send)")


def _accepts(function: Callable[..., Any], count: int) -> bool:
    """Whether it can be called with so many positional arguments; where nobody can know, ASGI 3 it is."""
    try:
        inspect.signature(function).bind(*range(count))
    except TypeError:
        return False
    except ValueError:
        return count == 3
    return True


class _Asgi2:
    """An ASGI 2 application, ``app(scope)(receive, send)``, called as ASGI 3."""

    def __init__(self, app: Callable[[Scope], Callable[[Receive, Send], Awaitable[None]]]) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope["asgi"] = {**scope["asgi"], "version": "2.0"}
        await self._app(scope)(receive, send)


def _users_error(message: str, error: BaseException) -> AppError:
    return AppError(f"{message}: {type(error).__name__}: {' '.join(str(error).split())}")


def _trimmed(error: BaseException) -> BaseException:
    """The error with a traceback that begins in the user's code, not in ours or in the import system."""
    traceback: TracebackType | None = error.__traceback__
    while traceback is not None:
        file = traceback.tb_frame.f_code.co_filename
        if file != __file__ and not file.startswith("<frozen importlib") and file != importlib.__file__:
            break
        traceback = traceback.tb_next
    return error.with_traceback(traceback)
