"""The examples as users run them, for tests: each by the command of its README, and its page in Chromium.

With FASTWS_WRITE_IMAGES=1 the tests of pages write docs/images anew.
"""

from __future__ import annotations

import base64
import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from browser import Browser
from needed import needed
from serving import PATIENCE, ServerProcess, serve_process
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
NAMES = sorted(path.parent.name for path in EXAMPLES.glob("*/README.md"))
SERVERS = {"broadcast": ("redis-server",), "cluster": ("redis-server", "haproxy")}
"""What examples start."""
IMAGES = ROOT / "docs" / "images" if os.environ.get("FASTWS_WRITE_IMAGES") else None


def command(name: str) -> list[str]:
    """The command in the example's README."""
    found = re.search(r"^    ((?:fastws|python) .*)$", (EXAMPLES / name / "README.md").read_text(), re.MULTILINE)
    assert found is not None, f"examples/{name}/README.md has no command"
    return found[1].split()


@contextmanager
def example(name: str, port: int = 0, **env: str) -> Iterator[ServerProcess]:
    """An example that is served; it ends as it does by its operator, since it may have children."""
    for each in SERVERS.get(name, ()):
        needed(each)
    program, *arguments = command(name)
    module = program if program == "fastws" else arguments.pop(0).removesuffix(".py")
    folder = EXAMPLES / name
    with serve_process("--port", str(port), *arguments, env=env, cwd=folder, module=module) as server:
        try:
            yield server
        finally:
            if server.popen.poll() is None:
                assert server.stop() == 0, server.output


def open_page(browser: Browser, server: ServerProcess, path: str = "/") -> None:
    browser.open(server.http_url + path)
    resize(browser, 920)


def resize(browser: Browser, width: int) -> None:
    size = {"width": width, "height": 560, "deviceScaleFactor": 1, "mobile": False}
    browser.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)


def wait_for_text(browser: Browser, selector: str, text: str) -> None:
    browser.wait(lambda: text in browser.text(selector), f"{selector} does not say {text!r}")


def picture(browser: Browser, name: str, width: int = 920) -> None:
    """Write the page as it is, if that was asked for."""
    if IMAGES is not None:
        height = browser.driver.execute_script("return document.body.offsetHeight")
        clip = {"x": 0, "y": 0, "width": width, "height": height, "scale": 1}
        options = {"clip": clip, "captureBeyondViewport": True}
        taken = browser.driver.execute_cdp_cmd("Page.captureScreenshot", options)["data"]
        IMAGES.mkdir(exist_ok=True)
        (IMAGES / f"{name}.png").write_bytes(base64.b64decode(taken))


def finish(browser: Browser) -> None:
    """The page has shown what it should: nothing has gone wrong in it, and it fits its window, and a phone."""
    said = browser.console()
    assert said == []
    for width in 920, 390:
        resize(browser, width)
        assert browser.driver.execute_script("return document.documentElement.scrollWidth") <= width
    browser.close_tabs()


def answer(websocket: ClientConnection) -> Any:
    return json.loads(websocket.recv(timeout=PATIENCE))


def refused(url: str, **options: Any) -> int:
    """The status with which a handshake is refused."""
    with pytest.raises(InvalidStatus) as refusal, connect(url, **options):
        pass
    return refusal.value.response.status_code


def read_to_its_end(websocket: ClientConnection) -> None:
    while True:
        websocket.recv(timeout=PATIENCE)


def closed(websocket: ClientConnection) -> tuple[int, str]:
    """The code and reason of the server's Close, after whatever it says before."""
    with pytest.raises(ConnectionClosed) as end:
        read_to_its_end(websocket)
    assert end.value.rcvd is not None
    return end.value.rcvd.code, end.value.rcvd.reason
