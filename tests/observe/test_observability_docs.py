"""The dashboard asks for metrics and labels that there are, and the page on observability names all that there is."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from fastws.observe.metrics import METRICS

DOCS = Path(__file__).parents[2] / "docs"
DASHBOARD: dict[str, Any] = json.loads((DOCS / "observability" / "grafana.json").read_text())
FROM_PROMETHEUS = {"job", "instance", "le"}


def samples() -> dict[str, set[str]]:
    """The labels of each sample, by its name."""
    found = {}
    for each in METRICS:
        suffixes = ("_bucket", "_sum", "_count") if each.kind == "histogram" else ("",)
        found |= {each.name + suffix: {*each.labels, *FROM_PROMETHEUS} for suffix in suffixes}
    return found


def queries() -> list[str]:
    panels = [target["expr"] for panel in DASHBOARD["panels"] for target in panel.get("targets", ())]
    variables = [each["definition"] for each in DASHBOARD["templating"]["list"] if "definition" in each]
    return panels + variables + [each["expr"] for each in DASHBOARD["annotations"]["list"]]


def test_the_dashboard_asks_for_what_there_is() -> None:
    known = samples()
    asked = set()
    for query in queries():
        names = re.findall(r"\bfastws_\w+", query)
        assert names, query
        asked |= {*names}
        labels = set(re.findall(r"(\w+)=~?\"", query))
        for grouping in re.findall(r"by \(([^)]*)\)", query):
            labels |= set(re.findall(r"\w+", grouping))
        for name in names:
            assert name in known, f"{name} in {query}"
            assert labels <= known[name], query
        assert query.count("(") == query.count(")")
    metrics = {name.removesuffix("_bucket") for name in asked}
    # What a panel would add nothing to.
    unseen = {"fastws_worker_start_time_seconds", "fastws_reading_paused", "fastws_writing_paused"}
    unseen |= {"fastws_http_requests_in_progress", "fastws_http_response_body_bytes_total"}
    unseen |= {"fastws_tls_handshake_failures_total"}
    assert {each.name for each in METRICS} - metrics == unseen


def test_the_dashboard_can_be_imported() -> None:
    panels = DASHBOARD["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    assert DASHBOARD["schemaVersion"] >= 36
    taken = set()
    for panel in panels:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        taken |= cells
        if panel["type"] != "row":
            assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
            assert panel["targets"]
    assert [each["name"] for each in DASHBOARD["templating"]["list"]] == ["datasource", "job", "instance"]


def test_the_page_names_every_field_of_a_json_line() -> None:
    page = (DOCS / "observability.md").read_text()
    for field in ("request_id", "exception", "event", "duration", "body_bytes", "close_code", "closed_by", "bytes_out"):
        assert f"`{field}`" in page
    for metric in re.findall(r"fastws_\w+", page):
        assert metric in samples() or any(each.name == metric for each in METRICS), metric
