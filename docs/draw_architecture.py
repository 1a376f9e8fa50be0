"""Draws the pictures of docs/architecture.md: the rooms, the flow of data, and processes.

The rooms are read from the folders: their order from test_layers.py, what each is from its docstring, and which of
its modules are compiled from the files. In the other two pictures boxes and arrows are at places that are written down
here. The colours follow the reader's light or dark mode, and text is text. `make options` runs it, a test compares.

python docs/draw_architecture.py [--check]
"""

from __future__ import annotations

import ast
import sys
from html import escape
from pathlib import Path

HERE = Path(__file__).parent
PACKAGE = HERE.parent / "fastws"
DOORS = ("gunicorn", "cli", "testing", "demo")
"""The rooms by which people come in: they stand side by side on everything else."""
STYLE = """\
text { font: 13px system-ui, sans-serif; fill: #1d2433; }
.name { font-weight: 600; }
.small { font-size: 11px; fill: #5a6478; }
.head { font-size: 12px; font-weight: 600; fill: #5a6478; text-anchor: middle; }
.middle { text-anchor: middle; }
.page { fill: #ffffff; } .band { fill: #f3f5fa; } .box { fill: #ffffff; stroke: #8c97ae; }
.fast { fill: #e8eefc; stroke: #3f51b5; } .line { stroke: #3f51b5; fill: none; stroke-width: 1.5; }
.dashed { stroke-dasharray: 5 4; } marker path { fill: #3f51b5; }
@media (prefers-color-scheme: dark) {
  text { fill: #e6e9f0; } .small, .head { fill: #a7b0c2; }
  .page { fill: #1e2129; } .band { fill: #262a35; } .box { fill: #1e2129; stroke: #6b7690; }
  .fast { fill: #2b3354; stroke: #8c9eff; } .line { stroke: #8c9eff; } marker path { fill: #8c9eff; }
}
"""
MARKER = (
    '<marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8" orient="auto-start-reverse">'
    '<path d="M0 0 8 4 0 8z"/></marker>'
)


class Picture:
    """An SVG that grows, in units of a pixel, with y downwards."""

    def __init__(self, width: int, height: int, title: str) -> None:
        size = f'viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
        self.parts = [
            f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img" aria-label="{escape(title)}">',
            f"<title>{escape(title)}</title>",
            f"<style>\n{STYLE}</style>",
            f"<defs>{MARKER}</defs>",
            f'<rect class="page" width="{width}" height="{height}" rx="8"/>',
        ]

    def band(self, x: int, y: int, width: int, height: int, head: str) -> None:
        """A part of the picture with a heading: a layer, or a process."""
        self.parts.append(f'<rect class="band" x="{x}" y="{y}" width="{width}" height="{height}" rx="6"/>')
        self.text(x + width // 2, y + 18, head, "head")

    def box(self, x: int, y: int, width: int, name: str, *lines: str, fast: bool = False) -> None:
        """A thing with a name and what it does; `fast` marks what is compiled where a compiler was."""
        height = 30 + 15 * len(lines)
        kind = "fast" if fast else "box"
        self.parts.append(f'<rect class="{kind}" x="{x}" y="{y}" width="{width}" height="{height}" rx="4"/>')
        self.text(x + width // 2, y + 20, name, "name middle")
        for place, line in enumerate(lines):
            self.text(x + width // 2, y + 36 + 15 * place, line, "small middle")

    def arrow(self, *points: tuple[int, int], both: bool = False, dashed: bool = False) -> None:
        """A line through the points with a tip at its end, or at both."""
        path = " ".join(f"{x},{y}" for x, y in points)
        tips = 'marker-end="url(#tip)"' + (' marker-start="url(#tip)"' if both else "")
        self.parts.append(f'<polyline class="line{" dashed" if dashed else ""}" points="{path}" {tips}/>')

    def text(self, x: int, y: int, text: str, kind: str = "small") -> None:
        """A line of text that begins, or has its middle, at `x`."""
        self.parts.append(f'<text class="{kind}" x="{x}" y="{y}">{escape(text)}</text>')

    def __str__(self) -> str:
        return "\n".join([*self.parts, "</svg>\n"])


def rooms() -> str:
    """The folders of fastws/, each on what it may know: imports point down."""
    layers = [room for room in _order() if room not in DOORS]
    picture = Picture(980, 90 + 54 * len(layers), "The rooms of fastws: a folder is a layer, and imports point down")
    for place, room in enumerate(DOORS):
        picture.box(10 + 242 * place, 10, 234, room + "/", fast=_compiled(room) > 0)
    for place, room in enumerate(reversed(layers)):
        top = 50 + 54 * place
        picture.box(10, top, 960, room + "/", _sentence(room), fast=_compiled(room) > 0)
    picture.text(
        20,
        75 + 54 * len(layers),
        "A room knows those below it, and errors.py. Blue rooms have modules that are compiled where a C compiler was; "
        "the frame codec, _codec.pyx, is websocket/'s.",
    )
    return str(picture)


def _order() -> tuple[str, ...]:
    """The folders from the ground up, as the test of the layers has them."""
    (path,) = (HERE.parent / "tests").rglob("test_layers.py")
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id == "FOLDERS":
            return tuple(constant.value for constant in ast.walk(node.value) if isinstance(constant, ast.Constant))
    raise LookupError("tests/test_layers.py has no FOLDERS")


def _sentence(room: str) -> str:
    """What a room says of itself, in the first sentence of its docstring."""
    about = ast.get_docstring(ast.parse((PACKAGE / room / "__init__.py").read_text())) or ""
    return about.partition("\n\n")[0].replace("\n", " ").replace("`", "").partition(". ")[0].rstrip(".")


def _compiled(room: str) -> int:
    """How many of its modules are compiled: sources of Cython, and Python with an augmenting .pxd beside it."""
    return len({path.stem for pattern in ("*.pyx", "*.pxd") for path in (PACKAGE / room).rglob(pattern)})


def flow() -> str:
    """The way of a request and of a message, with rooms as columns."""
    picture = Picture(980, 440, "How bytes become requests and messages, and the other way round")
    for x, width, head in (
        (10, 120, "kernel"),
        (140, 210, "net/"),
        (360, 240, "http/, websocket/: sans-IO"),
        (610, 210, "asgi/, topics/"),
        (830, 140, "application"),
    ):
        picture.band(x, 10, width, 390, head)
    picture.box(25, 110, 90, "socket", "TCP, Unix")
    picture.box(155, 50, 180, "transport", "_sockets.pyx in C, or", "uvloop's, with TLS", fast=True)
    picture.box(
        155, 155, 180, "Connection: a Channel", "one a socket; its handler is", "HTTP/1.1's, then a Session", fast=True
    )
    picture.box(155, 285, 180, "LoopState, Sweep", "one a loop: buffers, date,", "one timer for deadlines")
    picture.box(375, 50, 210, "the request's head", "head_scan, httptools, head", fast=True)
    picture.box(375, 140, 210, "handshake", "101, or 400, 403, 426", fast=True)
    picture.box(375, 230, 210, "Engine", "bytes in, events out;", "messages in, bytes out", fast=True)
    picture.box(375, 325, 210, "one of three", "cython | websockets | wsproto", fast=True)
    picture.box(625, 50, 180, "HttpCycle", "a request, its response", fast=True)
    picture.box(625, 205, 180, "Session", "queue, pings, close,", "backpressure, limits", fast=True)
    picture.box(625, 310, 180, "topics.Hub", "one frame for all", "who subscribed", fast=True)
    picture.box(843, 110, 114, "app", "scope", "receive()", "send(event)")
    picture.arrow((115, 120), (137, 120), (137, 80), (153, 80), both=True)
    picture.arrow((245, 112), (245, 153), both=True)
    picture.arrow((337, 170), (355, 170), (355, 75), (373, 75))
    picture.arrow((587, 72), (623, 72))
    picture.arrow((480, 97), (480, 138))
    picture.text(488, 122, "upgrade")
    picture.arrow((587, 162), (606, 162), (606, 220), (623, 220))
    picture.arrow((337, 200), (355, 200), (355, 255), (373, 255), both=True)
    picture.arrow((587, 255), (623, 255), both=True)
    picture.arrow((480, 292), (480, 323), both=True)
    picture.arrow((807, 72), (860, 72), (860, 108), both=True)
    picture.arrow((807, 240), (900, 240), (900, 187), both=True)
    picture.arrow((715, 308), (715, 267))
    picture.arrow((245, 283), (245, 217), dashed=True)
    picture.text(20, 425, "Blue is compiled where a C compiler was; the same source runs interpreted where none was.")
    return str(picture)


def processes() -> str:
    """A supervisor and its workers."""
    picture = Picture(980, 370, "A supervisor, its workers, and what they share")
    picture.band(10, 10, 250, 320, "supervisor: python -m fastws")
    picture.box(25, 40, 220, "listening sockets", "bound here, shared by all")
    picture.box(
        25, 105, 220, "Supervisor", "one select: signals, channels,", "deadlines; no event loop,", "no application"
    )
    picture.box(25, 200, 220, "scoreboard", "a row a worker in shared memory:", "heartbeat, connections")
    picture.box(25, 275, 220, "systemd: Notifier", fast=False)
    for place, name in enumerate(("worker", "worker", "its successor")):
        x = 350 + 210 * place
        picture.band(x, 10, 200, 320, name)
        picture.box(x + 15, 40, 170, "even_spread", "a gate before accept")
        picture.box(x + 15, 105, 170, "Server", "one event loop, lifespan,", "the application")
        picture.box(x + 15, 200, 170, "its row", "beats once a second")
        picture.box(x + 15, 275, 170, "control, metrics")
    picture.arrow((247, 62), (363, 62))
    picture.arrow((247, 130), (363, 130), both=True)
    picture.text(265, 55, "inherited")
    picture.text(265, 122, "channel: a byte")
    picture.arrow((363, 222), (247, 222))
    picture.text(265, 215, "mapped")
    picture.text(
        20, 352, "SIGHUP: a successor accepts, then its predecessor drains, one at a time; each is a new interpreter."
    )
    return str(picture)


if __name__ == "__main__":
    for name, text in (
        ("architecture-rooms.svg", rooms()),
        ("architecture-flow.svg", flow()),
        ("architecture-processes.svg", processes()),
    ):
        if "--check" not in sys.argv[1:]:
            (HERE / name).write_text(text)
        elif (HERE / name).read_text() != text:
            sys.exit(f"{name} is out of date: run `make options`")
