"""The dashboard, the rules and the README's table name metrics and labels that a running app exposes."""

import json
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import promql_parser as promql
import pytest
import yaml

from tests.service.conftest import GOOD, JSON, LOSS, serving
from tests.service.scrape import samples

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
RULES: list[dict[str, Any]] = [
    rule
    for group in yaml.safe_load((ROOT / "deploy/prometheus/rules.yaml").read_text())["groups"]
    for rule in group["rules"]
]
ALERTS = [rule for rule in RULES if "alert" in rule]
RECORDED = {rule["record"]: rule["expr"] for rule in RULES if "record" in rule}
DASHBOARD: dict[str, Any] = json.loads((ROOT / "deploy/grafana/lossmeter.json").read_text())
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
TARGETS = [(panel, target) for panel in PANELS for target in panel["targets"]]
VARIABLES: list[dict[str, Any]] = DASHBOARD["templating"]["list"]
SCRAPED = {"job", "instance"}  # what Prometheus adds

Exposed = dict[str, set[str]]


@pytest.fixture(scope="module")
def exposed() -> Exposed:
    """The labels of every series of /metrics, by name, after requests of each kind, and Prometheus' own."""
    found: Exposed = defaultdict(set)
    with serving() as client:
        for body in (GOOD, b"{"):
            client.post(LOSS, content=body, headers=JSON)
        for sample in samples(client):
            found[sample.name] |= set(sample.labels) | SCRAPED
    found["up"] = set(SCRAPED)
    return found


def of_dashboard(expression: str) -> Any:
    """An expression of the dashboard, with values for what Grafana puts in."""
    return promql.parse(expression.replace("$__rate_interval", "5m"))


def selectors(expression: Any) -> list[Any]:
    """The selectors of series within an expression."""
    found = []

    def visit(node: Any) -> None:
        if isinstance(node, promql.MatrixSelector):
            found.append(node.vector_selector)
        elif isinstance(node, promql.VectorSelector):
            found.append(node)

    promql.walk(expression, visit)
    return found


def labels_of(expression: Any, exposed: Exposed) -> set[str]:
    """The labels of what an expression gives; each that it groups by must be one of what it groups."""
    if isinstance(expression, promql.AggregateExpr):
        inner = labels_of(expression.expr, exposed)
        kept = set(expression.modifier.labels) if expression.modifier else set()
        assert expression.modifier is None or expression.modifier.type == promql.AggModifierType.By
        assert kept <= inner, (expression.prettify(), kept - inner)
        return kept
    if isinstance(expression, promql.BinaryExpr):
        left, right = labels_of(expression.lhs, exposed), labels_of(expression.rhs, exposed)
        assert not (left and right) or left == right, expression.prettify()
        return left or right
    if isinstance(expression, promql.ParenExpr):
        return labels_of(expression.expr, exposed)
    if isinstance(expression, promql.Call):
        inner = set().union(*(labels_of(argument, exposed) for argument in expression.args))
        if expression.func.name == "histogram_quantile":
            assert "le" in inner, expression.prettify()
            inner -= {"le"}
        return inner
    if isinstance(expression, promql.MatrixSelector):
        return labels_of(expression.vector_selector, exposed)
    if isinstance(expression, promql.VectorSelector):
        name = expression.name or ""
        return exposed[name] if name in exposed else recorded(name, exposed)
    assert isinstance(expression, promql.NumberLiteral), expression
    return set()


def recorded(name: str, exposed: Exposed) -> set[str]:
    return labels_of(promql.parse(RECORDED[name]), exposed)


def check(expression: Any, exposed: Exposed) -> set[str]:
    """The labels of what an expression gives, once each name and label in it is known."""
    for selector in selectors(expression):
        assert selector.name in exposed or selector.name in RECORDED, selector.name
        known = exposed[selector.name] if selector.name in exposed else recorded(selector.name, exposed)
        assert {matcher.name for matcher in selector.matchers.matchers} <= known, expression.prettify()
    return labels_of(expression, exposed)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.get("alert") or rule["record"])
def test_a_rule_names_what_is_exposed(rule: dict[str, Any], exposed: Exposed) -> None:
    labels = check(promql.parse(rule["expr"]), exposed)
    said = " ".join(rule.get("annotations", {}).values())
    assert set(re.findall(r"\$labels\.(\w+)", said)) <= labels
    assert set(re.findall(r"\blossmeter_\w+", said)) <= set(exposed) | {
        name.removesuffix("_bucket") for name in exposed
    } | {word for name in RECORDED for word in name.split(":")}
    for name in re.findall(r"\b\w+:\w+:\w+", said):
        assert name in RECORDED
    for name in re.findall(r"\bLossmeter[A-Z]\w+", said):
        assert name in {alert["alert"] for alert in ALERTS}


@pytest.mark.parametrize("name", RECORDED)
def test_a_recorded_name_begins_with_its_labels(name: str, exposed: Exposed) -> None:
    level, metric, _ = name.split(":")
    assert set(level.split("_")) == recorded(name, exposed)
    assert metric.startswith("lossmeter_")


def test_an_alert_says_what_it_is_and_what_to_do() -> None:
    assert len({alert["alert"] for alert in ALERTS}) == len(ALERTS)
    for alert in ALERTS:
        assert set(alert) <= {"alert", "expr", "for", "labels", "annotations"}
        assert alert["labels"]["severity"] in ("critical", "warning")
        assert set(alert["annotations"]) == {"summary", "description", "runbook"}
        assert all(alert["annotations"].values())
        if "for" in alert:
            assert promql.parse_duration(alert["for"])


def test_every_alert_of_an_operator_is_there() -> None:
    wanted = ("Down", "NotReady", "Failing", "Shedding", "Slow", "HoldsManyBytes", "MemoryNearLimit", "Restarting")
    assert [alert["alert"] for alert in ALERTS] == [f"Lossmeter{name}" for name in wanted]


@pytest.mark.parametrize(
    ("panel", "target"), TARGETS, ids=[f"{panel['title']}-{target['refId']}" for panel, target in TARGETS]
)
def test_a_panel_names_what_is_exposed(panel: dict[str, Any], target: dict[str, Any], exposed: Exposed) -> None:
    labels = check(of_dashboard(target["expr"]), exposed)
    assert set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"])) <= labels
    names = {variable["name"] for variable in VARIABLES} | {"__rate_interval"}
    assert set(re.findall(r"\$\{?(\w+)", json.dumps(panel))) <= names


def test_a_variable_asks_for_what_is_exposed(exposed: Exposed) -> None:
    datasource, *queries = VARIABLES
    assert (datasource["type"], datasource["query"]) == ("datasource", "prometheus")
    for variable in queries:
        series, label = re.fullmatch(r"label_values\((.*), (\w+)\)", variable["query"]["query"]).groups()  # type: ignore[union-attr]
        assert label in check(of_dashboard(series), exposed)
        assert label == variable["name"]


def test_the_dashboard_can_be_imported() -> None:
    assert DASHBOARD["id"] is None  # Grafana gives it one
    assert (DASHBOARD["title"], DASHBOARD["uid"]) == ("Lossmeter", "lossmeter")
    assert DASHBOARD["schemaVersion"] >= 36
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(set(ids)) == len(ids)
    for panel in PANELS:
        assert panel["title"]
        assert panel["type"] in ("timeseries", "stat", "table")
        assert panel["fieldConfig"]["defaults"]["unit"] in ("none", "reqps", "s", "bytes", "Bps", "percentunit")
        refs = [target["refId"] for target in panel["targets"]]
        assert len(set(refs)) == len(refs)
        for owner in (panel, *panel["targets"]):
            assert owner["datasource"] == {"type": "prometheus", "uid": "${datasource}"}


def test_no_panel_lies_on_another() -> None:
    taken = [cell for panel in DASHBOARD["panels"] for cell in cells(panel["gridPos"])]
    assert len(set(taken)) == len(taken)
    assert all(0 <= x < 24 for x, _ in taken)


def cells(place: dict[str, int]) -> Iterator[tuple[int, int]]:
    for x in range(place["x"], place["x"] + place["w"]):
        for y in range(place["y"], place["y"] + place["h"]):
            yield x, y


def test_the_dashboard_shows_what_an_operator_asks_for() -> None:
    shown = " ".join(target["expr"] for _, target in TARGETS)
    for wanted in (
        *(
            "histogram_quantile(0.5,",
            "histogram_quantile(0.95,",
            "histogram_quantile(0.99,",
            "by (reason)",
            "by (phase)",
        ),
        *(
            "by (instance)",
            "in_flight_bytes",
            "in_flight_limit_bytes",
            "resident_memory",
            'status="500"',
            "by (measure)",
        ),
    ):
        assert wanted in shown, wanted
    (phases,) = [panel for panel in PANELS if panel["title"] == "Phases of a request"]
    assert phases["fieldConfig"]["defaults"]["custom"]["stacking"]["mode"] == "normal"


def test_the_readmes_table_is_what_is_exposed(exposed: Exposed) -> None:
    rows = re.findall(r"^\| `(lossmeter_\w+)` \| (\w+) \| (.*?) \|", README, re.MULTILINE)
    with serving() as client:
        for body in (GOOD, b"{"):
            client.post(LOSS, content=body, headers=JSON)
        types = re.findall(r"^# TYPE (\w+) (\w+)$", client.get("/metrics").text, re.MULTILINE)
    assert sorted((name, kind) for name, kind, _ in rows) == sorted(types)
    for name, kind, labels in rows:
        series = f"{name}_bucket" if kind == "histogram" else name
        assert set(re.findall(r"`(\w+)`", labels)) == exposed[series] - SCRAPED - {"le"}, name
