"""What an option is: its help, its kind, its bounds, and how a text or a value is checked against them.

The options themselves are the fields of `fastws.config.Config`. The command line, the environment variables
FASTWS_*, `fastws.run(...)` and the reference page all go through `Option.parse` and `Option.check`, so that a
mistake reads the same wherever it was made. Nothing here reads a file, the environment or the network.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, TypeVar

from fastws.config.bind_address import parse_address
from fastws.config.log_defaults import TRACE
from fastws.config.near import did_you_mean
from fastws.config.uvicorn_options import instead_of_value
from fastws.errors import ConfigError
from fastws.http.origin import ANY, normalise_origin

T = TypeVar("T")

Kind = Literal[
    "integer",
    "size",
    "count",
    "number",
    "text",
    "path",
    "choice",
    "flag",
    "boolean",
    "level",
    "headers",
    "list",
    "origins",
    "logging",
    "certificates",
    "texts",
    "addresses",
    "mode",
]
"""`size` is a number of bytes, ``64KiB`` too; `count` is a number, or `auto`: one for each CPU that can be used.
`flag` is spelled ``--name/--no-name``, `boolean` is ``--name BOOLEAN``: both hold a bool. `list` is comma-separated,
`origins` too. `headers` are ``--header name:value``, repeated; `logging` is a file, or from Python a dictionary.
`certificates` are ``name=certificate[:key]``, repeated or comma-separated, as `texts` and `addresses` are. `mode` is
octal."""

GROUPS: Final = (
    "Application",
    "Address",
    "WebSocket",
    "Topics",
    "HTTP",
    "Limits",
    "Timeouts",
    "TLS",
    "Logging",
    "Operations",
    "Process",
)
"""The concerns, in the order in which --help and the reference page show them."""

LOG_LEVELS: Final[Mapping[str, int]] = {
    "critical": 50,
    "error": 40,
    "warning": 30,
    "info": 20,
    "debug": 10,
    "trace": TRACE,
}
"""Names for --log-level, as uvicorn has them; `trace` is below Python's DEBUG."""

_WORDS = dict.fromkeys(("1", "true", "t", "yes", "y", "on"), True)
_WORDS |= dict.fromkeys(("0", "false", "f", "no", "n", "off"), False)
NUMBERS: Final = ("integer", "size", "count", "number")
"""The kinds that are numbers, for which `none` may be said."""
_SIZE: Final = re.compile(r"(\d[\d_]*(?:\.\d+)?)\s*([kmg]i?)?b?", re.IGNORECASE)
_UNITS: Final = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "ki": 1 << 10, "mi": 1 << 20, "gi": 1 << 30}
TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")  # RFC 9110 section 5.6.2
_SERVER_NAME = re.compile(r"(?:\*\.)?[a-z0-9_-]+(?:\.[a-z0-9_-]+)*")  # as a client sends it, RFC 6066 section 3
_FIELD_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")  # RFC 9110 section 5.5


@dataclass(frozen=True)
class Option:
    """One option. `name` is the field of `Config`; `minimum` and `maximum` are inclusive, in the unit of `help`."""

    name: str
    help: str
    group: str
    kind: Kind
    default: Any
    choices: tuple[str, ...] = ()
    minimum: float | None = None
    maximum: float | None = None
    nullable: bool = False
    zero_is_none: bool = False

    @property
    def cli(self) -> str:
        """The spelling on the command line: ``--ws-max-size``. One that is repeated is in the singular there."""
        singular = self.name.removesuffix("s") if self.repeated else self.name
        return "--" + singular.replace("_", "-")

    @property
    def repeated(self) -> bool:
        """Whether the command line may have it several times."""
        return self.kind in ("headers", "certificates", "texts", "addresses")

    @property
    def env(self) -> str:
        """The environment variable: ``FASTWS_WS_MAX_SIZE``."""
        return "FASTWS_" + self.name.upper()

    @property
    def metavar(self) -> str | None:
        """What --help shows for the value; None for a flag, which takes none."""
        if self.kind == "choice" or self.kind == "level":
            return "[" + "|".join(self.choices or LOG_LEVELS) + "]"
        return _METAVARS[self.kind]

    def parse(self, text: str, source: str | None = None) -> Any:
        """Read the value from a command line or an environment variable, and check it.

        `source` is how an error names the option; by default as on the command line. Raises ConfigError.
        """
        return self.check(self._read(text), source, text)

    def check(self, value: Any, source: str | None = None, shown: object = None) -> Any:
        """Return the value in its one form, or raise ConfigError: one line that names the option and what is right."""
        if value is None and self.nullable:
            return None
        try:
            checked = _CHECKS[self.kind](self, value)
        except (ValueError, TypeError):
            shown = _shorten(value if shown is None else shown)
            hint = self._hint(value)
            raise ConfigError(f"{source or self.cli}: must be {self.expected()}, not {shown}{hint}") from None
        return None if self.zero_is_none and checked == 0 else checked

    def expected(self) -> str:
        """What a right value is, to follow the words "must be"."""
        words = _EXPECTED[self.kind]
        if self.kind in ("choice", "level"):
            words = "one of " + ", ".join(self.choices or LOG_LEVELS)
        elif self.choices:
            words = "a list, separated by commas, of " + ", ".join(self.choices)
        if self.minimum is not None and self.maximum is not None:
            words += f" from {self.minimum:g} to {self.maximum:g}"
        elif self.minimum is not None:
            words += f", {self.minimum:g} or more"
        if self.kind == "count":
            words += ", or auto"
        return words + (", or none" if self.nullable and self.kind in NUMBERS else "")

    def _hint(self, value: Any) -> str:
        """What may have been meant by a wrong value, to end the error with."""
        instead = instead_of_value(self.name, value)
        if instead:
            return f": {instead}"
        choices = self.choices or (tuple(LOG_LEVELS) if self.kind == "level" else ())
        if not isinstance(value, str) or not choices:
            return ""
        wrong = next((item for item in map(str.strip, value.split(",")) if item.lower() not in choices), "")
        return did_you_mean(wrong, choices)

    def _read(self, text: str) -> Any:
        """The value that the text spells, or the text itself where it spells none: `check` then says what is wrong."""
        text = text.strip()
        if self.nullable and text.lower() == "none" and self.kind in (*NUMBERS, "flag"):
            return None
        try:
            if self.kind in ("integer", "count"):
                return int(text)
            if self.kind == "number":
                return float(text)
        except ValueError:
            return text
        if self.kind in ("flag", "boolean"):
            return _WORDS.get(text.lower(), text)
        if self.kind == "headers":
            return [tuple(line.split(":", 1)) for line in text.splitlines() if line.strip()]
        return text


@dataclass(frozen=True)
class Group:
    """Declares fields of `Config` that are of one concern: its name is one of GROUPS."""

    name: str

    def __call__(
        self,
        kind: Kind,
        default: T,
        help: str,
        *,
        choices: tuple[str, ...] = (),
        minimum: float | None = None,
        maximum: float | None = None,
        nullable: bool = False,
        zero_is_none: bool = False,
        secret: bool = False,
        factory: Callable[[], T] | None = None,
    ) -> T:
        """Declare a field.

        It may be None where it is so by default, and where zero is, too; then zero is its minimum. `factory` makes the
        default where it is mutable; `default` is then only what --help shows. A `secret` stays out of the
        configuration's repr.
        """
        assert self.name in GROUPS, self.name
        metadata = {
            "help": help,
            "group": self.name,
            "kind": kind,
            "default": default,
            "choices": choices,
            "minimum": 0 if zero_is_none else minimum,
            "maximum": maximum,
            "nullable": nullable or zero_is_none or default is None,
            "zero_is_none": zero_is_none,
        }
        declared: Any = field(metadata=metadata, repr=not secret, default=default)
        if factory is not None:
            declared = field(metadata=metadata, repr=not secret, default_factory=factory)
        return declared  # type: ignore[no-any-return]  # the dataclass puts a value of T in its place


def _integer(option: Option, value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError
    return int(_number(option, value))


def _size(option: Option, value: Any) -> int:
    if isinstance(value, str):
        match = _SIZE.fullmatch(value.strip())
        if match is None or ("." in match[1] and not match[2]):
            raise ValueError
        value = int(float(match[1]) * _UNITS[(match[2] or "").lower()])
    return _integer(option, value)


def _count(option: Option, value: Any) -> int:
    if isinstance(value, str) and value.strip().lower() == "auto":
        return usable_cpus()
    return _integer(option, value)


def usable_cpus() -> int:
    """How many CPUs this process may use, as far as the system says."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on this system
        return os.cpu_count() or 1


def _number(option: Option, value: Any) -> Any:
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not math.isfinite(value):
        raise TypeError
    if option.minimum is not None and value < option.minimum:
        raise ValueError
    if option.maximum is not None and value > option.maximum:
        raise ValueError
    return value


def _text(option: Option, value: Any) -> str:
    if not isinstance(value, str) or "\0" in value:
        raise TypeError
    return value


def _path(option: Option, value: Any) -> str:
    return _text(option, os.fspath(value))


def _choice(option: Option, value: Any) -> str:
    name = _text(option, value).lower()
    if name not in option.choices:
        raise ValueError
    return name


def _bool(option: Option, value: Any) -> bool:
    if not isinstance(value, bool):
        raise TypeError
    return value


def _level(option: Option, value: Any) -> int:
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    level = LOG_LEVELS.get(_text(option, value).lower())
    if level is None:
        raise ValueError
    return level


def _headers(option: Option, value: Any) -> tuple[tuple[str, str], ...]:
    if isinstance(value, (str, bytes)):
        raise TypeError
    headers = []
    for pair in value:
        name, content = (part.decode("latin-1") if isinstance(part, bytes) else part for part in pair)
        content = content.strip(" \t")
        if not TOKEN.fullmatch(name) or not _FIELD_VALUE.fullmatch(content):
            raise ValueError
        headers.append((name, content))
    return tuple(headers)


def _list(option: Option, value: Any) -> tuple[str, ...]:
    items: Iterable[Any] = value.split(",") if isinstance(value, str) else value
    texts = tuple(item for item in (_text(option, item).strip() for item in items) if item)
    if not option.choices:
        return texts
    texts = tuple(dict.fromkeys(text.lower() for text in texts))
    if not set(texts) <= set(option.choices):
        raise ValueError
    return texts


def _origins(option: Option, value: Any) -> tuple[str, ...]:
    origins = [item if item == ANY else normalise_origin(item) for item in _list(option, value)]
    if None in origins:
        raise ValueError
    return tuple(dict.fromkeys(origin for origin in origins if origin is not None))


def _addresses(option: Option, value: Any) -> tuple[str, ...]:
    addresses = _list(option, value)
    for address in addresses:
        parse_address(address)
    return addresses


def _mode(option: Option, value: Any) -> int:
    mode = int(value, 8) if isinstance(value, str) else _integer(option, value)
    if not 0 <= mode <= 0o777:
        raise ValueError
    return mode


def _logging(option: Option, value: Any) -> dict[str, Any] | str:
    return value if isinstance(value, dict) else _path(option, value)


def _certificates(option: Option, value: Any) -> tuple[tuple[str, str, str | None], ...]:
    """Names in lower case, without the dot of the root, each with its certificate and its key."""
    certificates = {}
    for item in _list(option, value) if isinstance(value, str) else value:
        if isinstance(item, str):
            name, separator, paths = item.partition("=")
            if not separator:
                raise ValueError
            item = (name, *paths.split(":"))
        name, certificate, key = (*item, None) if len(item) == 2 else item
        name = _text(option, name).strip().lower().rstrip(".")
        if not _SERVER_NAME.fullmatch(name) or not certificate or key == "":
            raise ValueError
        certificates[name] = (_path(option, certificate), key if key is None else _path(option, key))
    return tuple((name, *paths) for name, paths in certificates.items())


def _shorten(value: object) -> str:
    """The wrong value, on one line that stays readable."""
    text = repr(value)
    return text if len(text) <= 100 else text[:97] + "..."


_CHECKS: Final[Mapping[Kind, Callable[[Option, Any], Any]]] = {
    "integer": _integer,
    "size": _size,
    "count": _count,
    "number": _number,
    "text": _text,
    "path": _path,
    "choice": _choice,
    "flag": _bool,
    "boolean": _bool,
    "level": _level,
    "headers": _headers,
    "list": _list,
    "origins": _origins,
    "logging": _logging,
    "certificates": _certificates,
    "texts": _list,
    "addresses": _addresses,
    "mode": _mode,
}
_EXPECTED: Final[Mapping[Kind, str]] = {
    "integer": "a whole number",
    "size": "a number of bytes such as 65536, 64KiB or 1MB",
    "count": "a whole number",
    "number": "a number",
    "text": "a text",
    "path": "a path",
    "choice": "",
    "flag": "true or false",
    "boolean": "true or false",
    "level": "",
    "headers": "name:value, a header field without control characters",
    "list": "a list of texts separated by commas",
    "origins": "origins such as https://example.com:8443, separated by commas, or *",
    "logging": "the path of a .json, .yaml or .ini file",
    "certificates": "name=certificate.pem or name=certificate.pem:key.pem, where a name may begin with *.",
    "texts": "a list of texts",
    "addresses": "host:port, unix:path or fd://number, as in [::1]:8000",
    "mode": "permissions in octal, from 000 to 777",
}
_METAVARS: Final[Mapping[Kind, str | None]] = {
    "integer": "INTEGER",
    "size": "BYTES",
    "count": "INTEGER|auto",
    "number": "NUMBER",
    "text": "TEXT",
    "path": "PATH",
    "flag": None,
    "boolean": "BOOLEAN",
    "headers": "NAME:VALUE",
    "list": "LIST",
    "origins": "LIST",
    "logging": "PATH",
    "certificates": "NAME=PATH[:PATH]",
    "texts": "TEXT",
    "addresses": "ADDRESS",
    "mode": "OCTAL",
}
