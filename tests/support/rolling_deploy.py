"""A rolling deploy of two servers behind a proxy, under load. `make deploy-test` runs it and test_deploy.py too.

Each of the servers is told to end with SIGTERM, waited for, and started anew at the same address, while clients come
through docs/deployment/haproxy.cfg, then through haproxy-h2.cfg and envoy.yaml, which speak HTTP/2 with the servers.
Prints what it has cost them, and exits with 1 where it has cost them anything.
"""

from __future__ import annotations

import argparse
import asyncio
import http.client
import ssl
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

from deploy_load import Load, Report
from proxies import ENVOY, Certificates, free_port, started
from serving import ServerProcess, serve_process


def is_ready(port: int) -> bool:
    """Whether the server there says that it is."""
    client = http.client.HTTPConnection("127.0.0.1", port, timeout=5.0)
    try:
        client.request("GET", "/readyz")
        return client.getresponse().status == 200
    except OSError:
        return False
    finally:
        client.close()


CONFIGURATIONS = ("haproxy.cfg", "haproxy-h2.cfg", "envoy.yaml")


async def deploy(
    directory: Path,
    record: Path,
    *,
    configuration: str,
    interval: float,
    drain_delay: float,
    websockets: int,
    requesters: int,
    rounds: int,
) -> Report:
    """Replace both servers `rounds` times, with health checks every `interval` seconds; what clients have seen."""
    certificates = Certificates(directory)
    ports = free_port(), free_port()

    def start(port: int, stack: ExitStack) -> ServerProcess:
        arguments = ("--port", str(port), "--drain-delay", str(drain_delay), "--no-access-log")
        arguments += ("--forwarded-allow-ips", "127.0.0.1")
        environment = {"DEPLOY_RECORD": str(record), "DEPLOY_NAME": str(port)}
        return stack.enter_context(serve_process("deploy_app:app", *arguments, env=environment))

    with ExitStack() as stack:
        servers = [start(port, stack) for port in ports]
        addresses = (f"127.0.0.1:{ports[0]}", f"127.0.0.1:{ports[1]}")
        replaced = {"inter 1s": f"inter {interval * 1000:.0f}ms"}
        if configuration == "envoy.yaml":
            replaced = {f"{each}interval: 1s": f"{each}interval: {interval:g}s" for each in (" ", "traffic_")}
        proxy = stack.enter_context(started(configuration, certificates, addresses, replaced))
        trusted = ssl.create_default_context(cafile=certificates.authority)
        async with Load("localhost", proxy, websockets=websockets, requesters=requesters, trusted=trusted) as load:
            await load.look(5 * interval)
            for _ in range(rounds):
                for index, port in enumerate(ports):
                    status = await asyncio.to_thread(servers[index].stop)
                    if status or "Cutting" in servers[index].output or "Traceback" in servers[index].output:
                        load.report.unclean.append(f"a server ended with {status}:\n{servers[index].output}")
                    servers[index] = await asyncio.to_thread(start, port, stack)
                    while not await asyncio.to_thread(is_ready, port):
                        await asyncio.sleep(0.05)
                    await asyncio.sleep(3 * interval)  # until the proxy knows
        return load.report


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0] if __doc__ else None)
    parser.add_argument("--websockets", type=int, default=100, help="WebSockets that stay open")
    parser.add_argument("--requesters", type=int, default=10, help="HTTP clients that ask all the time")
    parser.add_argument("--rounds", type=int, default=2, help="how often both servers are replaced")
    parser.add_argument("--interval", type=float, default=1.0, help="seconds between two health checks")
    parser.add_argument("--drain-delay", type=float, default=3.0, help="seconds that a server listens after SIGTERM")
    parser.add_argument("--configuration", choices=CONFIGURATIONS, help="of docs/deployment (default: each)")
    arguments = vars(parser.parse_args())
    chosen = arguments.pop("configuration")
    clean = True
    for configuration in CONFIGURATIONS if chosen is None else (chosen,):
        if configuration == "envoy.yaml" and not ENVOY.exists():
            print("envoy.yaml: left out, since Envoy is missing")
            continue
        with tempfile.TemporaryDirectory() as directory:
            record = Path(directory, "record")
            report = asyncio.run(deploy(Path(directory), record, configuration=configuration, **arguments))
            print(configuration, *report.lines(record), sep="\n")
            clean = clean and report.clean(record) and report.closes > 0
    return 0 if clean else 1


if __name__ == "__main__":
    sys.exit(main())
