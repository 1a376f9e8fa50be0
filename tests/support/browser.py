"""Headless Chromium for tests, with a fresh profile and nothing in the background; a helper, not a test."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from needed import needed
from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.wait import WebDriverWait

PATIENCE = 15.0
"""Seconds to wait for what the page should show soon."""

FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--window-size=1360,1320",
)


class Browser:
    """One Chromium; its methods work on the tab that was opened or chosen last."""

    def __init__(self, driver: Chrome) -> None:
        self.driver = driver

    def open(self, url: str) -> str:
        """Load `url` in a new tab, and return the tab's handle."""
        self.driver.switch_to.new_window("tab")
        self.driver.get(url)
        return self.driver.current_window_handle

    def choose(self, tab: str) -> None:
        self.driver.switch_to.window(tab)

    def close_tabs(self) -> None:
        """Close every tab but an empty one, and forget what was logged."""
        first, *others = self.driver.window_handles
        for tab in others:
            self.choose(tab)
            self.driver.close()
        self.choose(first)
        self.driver.get("about:blank")
        self.driver.get_log("browser")

    def find(self, selector: str) -> WebElement:
        return self.driver.find_element(By.CSS_SELECTOR, selector)

    def text(self, selector: str) -> str:
        return self.find(selector).text

    def attribute(self, selector: str, name: str) -> str:
        return self.find(selector).get_attribute(name) or ""

    def wait(self, what: Callable[[], object], why: str) -> None:
        """Return when `what()` is true; fails with `why` when it does not become so."""
        WebDriverWait(self.driver, PATIENCE, poll_frequency=0.05).until(lambda _: what(), why)

    def console(self) -> list[str]:
        """What the page's console said since the last call."""
        return [entry["message"] for entry in self.driver.get_log("browser")]


@contextmanager
def chromium(*flags: str) -> Iterator[Browser]:
    """Debian's Chromium, with its own driver and these flags more; both end with the block."""
    binary, driver = needed("chromium"), needed("chromedriver", "chromium-driver")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        options = ChromeOptions()
        options.binary_location = binary
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        for flag in (*FLAGS, *flags, f"--user-data-dir={profile}"):
            options.add_argument(flag)
        chrome = Chrome(options=options, service=Service(driver))
        try:
            yield Browser(chrome)
        finally:
            chrome.quit()
