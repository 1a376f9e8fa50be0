"""The files of docs/deployment that no test can run: their options exist, and their numbers fit together."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import yaml

import fastws
from fastws.config import OPTIONS

DIRECTORY = Path(__file__).parents[2] / "docs" / "deployment"


def options(arguments: list[str]) -> fastws.Config:
    """The configuration of a command line of `--name=value` and `--name value`."""
    words = [word for argument in arguments for word in argument.split("=", 1)]
    app, *words = words
    names = {each.cli: each for each in OPTIONS}
    values = {names[name].name: names[name].parse(value) for name, value in zip(words[::2], words[1::2], strict=True)}
    return fastws.Config(app, **values)


def test_the_pod_outlives_its_server() -> None:
    deployment, service = yaml.safe_load_all((DIRECTORY / "kubernetes.yaml").read_text())
    pod: dict[str, Any] = deployment["spec"]["template"]["spec"]
    [container] = pod["containers"]
    config = options(container["args"])
    assert config.timeout_graceful_shutdown is not None
    assert pod["terminationGracePeriodSeconds"] > config.drain_delay + 2 * config.timeout_graceful_shutdown
    readiness, liveness = container["readinessProbe"], container["livenessProbe"]
    for probe, path in ((readiness, config.readyz_path), (liveness, config.livez_path)):
        assert probe["httpGet"] == {"path": path, "port": "http"}
    assert container["startupProbe"]["httpGet"]["path"] == config.readyz_path
    # A drain is noticed while the pod still listens.
    assert readiness["periodSeconds"] * readiness["failureThreshold"] + readiness["timeoutSeconds"] < config.drain_delay
    assert container["ports"] == [{"name": "http", "containerPort": config.port}]
    assert service["spec"]["selector"] == deployment["spec"]["selector"]["matchLabels"]


def test_the_image_starts_with_options_that_exist() -> None:
    text = (DIRECTORY / "Dockerfile").read_text()
    [command] = re.findall(r"^CMD (\[.*\])$", text, re.MULTILINE)
    config = options(json.loads(command))
    assert config.host == "0.0.0.0"
    assert f"http://127.0.0.1:{config.port}{config.livez_path}" in text
    assert f"EXPOSE {config.port}\n" in text


def test_proxies_are_less_patient_with_idle_connections_and_more_with_websockets() -> None:
    config = fastws.Config("app:app")
    assert config.ws_ping_interval is not None
    for path in [*DIRECTORY.glob("*.cfg"), *DIRECTORY.glob("*.conf"), DIRECTORY / "envoy.yaml"]:
        text = path.read_text()
        keep_alive = re.findall(r"(?:timeout http-keep-alive|keepalive_timeout|\bidle_timeout:) +(\d+)s", text)
        assert all(int(seconds) < config.timeout_keep_alive for seconds in keep_alive)
        idle = re.findall(
            r"(?:timeout (?:client|server|tunnel)|proxy_(?:read|send)_timeout|stream_idle_timeout:) +(\d+)s", text
        )
        assert idle
        assert all(int(seconds) > 2 * config.ws_ping_interval for seconds in idle)


def test_nginx_may_open_as_many_descriptors_as_connections() -> None:
    """It does not raise its limit by itself, and services start with 1,024: some 500 WebSockets a worker."""
    for path in DIRECTORY.glob("nginx*.conf"):
        text = path.read_text()
        [connections] = re.findall(r"^ +worker_connections (\d+);", text, re.MULTILINE)
        limits = re.findall(r"^worker_rlimit_nofile (\d+);", text, re.MULTILINE)
        assert [int(limit) > int(connections) for limit in limits] == [True], path.name
