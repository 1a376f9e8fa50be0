"""What is around a supervisor: the sockets, the directories that workers share, what they make their options of."""

from __future__ import annotations

import contextlib
import logging
import pickle
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from fastws.config import Config
from fastws.errors import STARTUP_FAILURE, ConfigError, StartupError
from fastws.net import listeners
from fastws.observe.log_setup import configure_logging, log_failure
from fastws.process.reloader import RELOAD_OVERRIDES, ChangeWatcher
from fastws.process.scratch import METRICS_PREFIX, TOPICS_PREFIX, scratch_directory
from fastws.process.signals import starting
from fastws.process.supervisor import Supervisor
from fastws.process.systemd import Notifier

logger: Final = logging.getLogger("fastws.error")


def supervise(config: Config, source: Callable[[], Config], environ: Mapping[str, str], *, adopt: bool = False) -> int:
    """Serve with workers, each of which gets its configuration from `source`, until a signal; returns the exit code.

    With `adopt`, descriptors that options name were opened for this service alone.
    """
    try:
        configure_logging(config)
        watcher = ChangeWatcher(config) if config.reload else None
        notifier = Notifier()
        with starting(), listeners.bound(config, adopt=adopt) as sockets, _overrides(config) as overrides:
            for sock in sockets:
                sock.setblocking(False)
            return Supervisor(config, _pickled(source), overrides, environ, sockets, notifier, watcher).run()
    except (ConfigError, StartupError) as error:
        log_failure(error)
        return STARTUP_FAILURE


def _pickled(source: Callable[[], Config]) -> bytes:
    """What a worker gets to make its configuration of."""
    try:
        return pickle.dumps(source)
    except Exception as error:  # pickle itself raises three kinds, and objects whatever they like
        raise ConfigError(f"--workers: an option cannot be passed to another process: {error}") from None


@contextlib.contextmanager
def _overrides(config: Config) -> Iterator[dict[str, Any]]:
    """The options that the supervisor decides for its workers: where they tell each other their metrics, for one."""
    overrides = dict(RELOAD_OVERRIDES) if config.reload else {}
    with contextlib.ExitStack() as stack:
        if config.metrics_dir is None and (config.metrics_path is not None or config.metrics_port is not None):
            try:
                overrides["metrics_dir"] = stack.enter_context(scratch_directory(METRICS_PREFIX))
            except OSError as error:
                raise StartupError(
                    f"--metrics-dir: workers need a directory to share their metrics in, and none can be made: {error}"
                ) from None
        if config.topics_dir is None and config.topics_url is None and not config.reload:
            try:
                base = listeners.directory_for_sockets()
                overrides["topics_dir"] = stack.enter_context(scratch_directory(TOPICS_PREFIX, base))
            except OSError as error:
                logger.warning("No place for a directory: topics do not reach other workers: %s", error)
        yield overrides
