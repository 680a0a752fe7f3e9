"""The chart's alerts by Prometheus' own promtool: they parse, fire when they should, and rest otherwise."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from scripts.generators.chart import CHART
from tests.unit.chart.test_alerts import ALERTS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    Run = Callable[..., subprocess.CompletedProcess[str]]
    #: Values of series over time, a sample a minute, as promtool writes them.
    Series = Mapping[str, str]

pytestmark = pytest.mark.skipif(shutil.which("promtool") is None, reason="no promtool: apt-get install prometheus")

_OPERATOR = '{namespace="pillion"}'
_SERVICE = 'namespace="shop", serving_pillion_dev_inferenceservice="iris"'
_MODEL = f'{_SERVICE}, model="iris"'
_OF_SERVICE = '{namespace="shop",serving_pillion_dev_inferenceservice="iris"}'


def requests(code: str, rate: int) -> Series:
    """So many requests in a minute, that ended so."""
    return {f'pillion_requests_total{{{_MODEL}, pod="a", code="{code}"}}': f"0+{rate}x60"}


#: Of each alert: what Prometheus has seen when it fires after an hour, and what it has seen when it must not.
CASES: Mapping[str, tuple[Series, Series]] = {
    "PillionOperatorDown": (
        {'pillion_operator_leader{namespace="elsewhere"}': "1x60"},
        {f"pillion_operator_leader{_OPERATOR}": "1x60"},
    ),
    "PillionOperatorWithoutLeader": (
        {'pillion_operator_leader{namespace="pillion", pod="a"}': "1x30 0x30"},
        {
            'pillion_operator_leader{namespace="pillion", pod="a"}': "1x30 0x30",
            'pillion_operator_leader{namespace="pillion", pod="b"}': "0x30 1x30",
        },
    ),
    "PillionReconcilesFailing": (
        {'pillion_operator_reconciles_total{namespace="pillion", result="failed"}': "0+1x60"},
        {'pillion_operator_reconciles_total{namespace="pillion", result="failed"}': "5x60"},
    ),
    "PillionReconcilesWaiting": (
        {f"pillion_operator_queue_oldest_seconds{_OPERATOR}": "0x30 90x30"},
        {f"pillion_operator_queue_oldest_seconds{_OPERATOR}": "0x57 90x3"},
    ),
    "PillionOperatorApiErrors": (
        {
            'pillion_operator_api_requests_total{namespace="pillion", status="200"}': "0+80x60",
            'pillion_operator_api_requests_total{namespace="pillion", status="503"}': "0+20x60",
        },
        {
            'pillion_operator_api_requests_total{namespace="pillion", status="200"}': "0+80x60",
            'pillion_operator_api_requests_total{namespace="pillion", status="404"}': "0+20x60",
        },
    ),
    "PillionRequestsFailing": (
        {**requests("ok", 90), **requests("model_failed", 10)},
        {**requests("ok", 90), **requests("invalid_argument", 50), **requests("model_failed", 1)},
    ),
    "PillionRequestsRefused": (
        {**requests("ok", 90), **requests("queue_full", 10)},
        {**requests("ok", 99), **requests("queue_full", 1)},
    ),
    "PillionModelNotReady": (
        {
            f'pillion_model_state{{{_MODEL}, version="1", state="READY", pod="a"}}': "0x60",
            f'pillion_model_state{{{_MODEL}, version="1", state="LOADING", pod="a"}}': "1x60",
        },
        {
            f'pillion_model_state{{{_MODEL}, version="1", state="READY", pod="a"}}': "0x60",
            f'pillion_model_state{{{_MODEL}, version="2", state="READY", pod="b"}}': "1x60",
        },
    ),
    "PillionCertificateExpiring": (
        {f'pillion_tls_certificate_expiry_timestamp_seconds{{{_SERVICE}, pod="a"}}': "604000x60"},
        {
            f'pillion_tls_certificate_expiry_timestamp_seconds{{{_SERVICE}, pod="a"}}': "9000000x60",
            f'pillion_tls_certificate_expiry_timestamp_seconds{{{_SERVICE}, pod="plain"}}': "0x60",
        },
    ),
    "PillionReloadFailed": (
        {'pillion_config_reloads_total{namespace="shop", pod="a", result="failed"}': "0x55 1x5"},
        {'pillion_tls_reloads_total{namespace="shop", pod="a", result="failed"}': "0x30 1x30"},
    ),
    "PillionWorkersRestarting": (
        {f'pillion_worker_restarts_total{{{_MODEL}, pod="a"}}': "0+1x60"},
        {f'pillion_worker_restarts_total{{{_MODEL}, pod="a"}}': "0x50 1x10"},
    ),
    "PillionJobStoreUnavailable": (
        {f'pillion_jobs_store_ready{{{_SERVICE}, pod="a"}}': "1x30 0x30"},
        {f'pillion_jobs_store_ready{{{_SERVICE}, pod="a"}}': "1x60"},
    ),
}


def promtool(*arguments: str | Path) -> str:
    """What it prints; a failure of its is a failure of the test."""
    done = subprocess.run(["promtool", *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def firing(alert: str, seen: Series, expected: int, folder: Path) -> None:
    """Ask promtool how many alerts of this name fire after an hour of that."""
    samples = [{"labels": "{}", "value": expected}] if expected else []
    case = {
        "interval": "1m",
        "input_series": [{"series": series, "values": values} for series, values in seen.items()],
        "promql_expr_test": [
            {
                "expr": f'count(ALERTS{{alertname="{alert}", alertstate="firing"}})',
                "eval_time": "60m",
                "exp_samples": samples,
            }
        ],
    }
    file = folder / "case.yaml"
    rules = [str(rules) for rules in (CHART / "rules").glob("*.yaml")]
    file.write_text(yaml.safe_dump({"rule_files": rules, "evaluation_interval": "1m", "tests": [case]}))
    promtool("test", "rules", file)


def test_promtool_finds_every_rule_well_formed() -> None:
    said = promtool("check", "rules", *sorted((CHART / "rules").glob("*.yaml")))

    assert len(ALERTS) == sum(int(line.split()[1]) for line in said.splitlines() if "rules found" in line)


def test_every_alert_has_a_case() -> None:
    assert ALERTS.keys() == CASES.keys()


@pytest.mark.parametrize("alert", CASES)
def test_an_alert_fires_when_it_should(alert: str, tmp_path: Path) -> None:
    firing(alert, CASES[alert][0], 1, tmp_path)


@pytest.mark.parametrize("alert", CASES)
def test_an_alert_rests_while_all_is_well(alert: str, tmp_path: Path) -> None:
    firing(alert, CASES[alert][1], 0, tmp_path)


def test_the_release_watches_its_own_operator_and_leads_to_the_runbooks_that_the_values_name(
    helm: Run, tmp_path: Path
) -> None:
    values = tmp_path / "values.yaml"
    further = {"alert": "Mine", "expr": "vector(1)"}
    url = "https://docs.example.com/runbooks/{alert}/"
    rule = {"enabled": True, "runbookUrl": url, "additionalRules": [further]}
    values.write_text(yaml.safe_dump({"prometheusRule": rule}))
    chosen = ("--namespace", "serving", "--api-versions", "monitoring.coreos.com/v1", "--values", str(values))
    done = helm("template", "pillion", "{chart}", "--show-only", "templates/prometheusrule.yaml", *chosen)
    assert done.returncode == 0, done.stderr
    spec: dict[str, Any] = yaml.safe_load(done.stdout)["spec"]
    rendered = tmp_path / "rules.yaml"
    rendered.write_text(yaml.safe_dump(spec))

    promtool("check", "rules", rendered)
    rules = {rule["alert"]: rule for group in spec["groups"] for rule in group["rules"]}
    assert {*ALERTS, "Mine"} == rules.keys()
    assert 'absent(pillion_operator_leader{namespace="serving"})' == rules["PillionOperatorDown"]["expr"]
    assert {name: url.format(alert=name) for name in ALERTS} == {
        name: rules[name]["annotations"]["runbook_url"] for name in ALERTS
    }
