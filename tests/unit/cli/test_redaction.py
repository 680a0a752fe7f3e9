"""What a support bundle takes out: credentials by name and by form; and what it must leave in."""

from __future__ import annotations

import time
from typing import Any

import pytest

from pillion.cli.cluster.redaction import REDACTED, redacted_object, redacted_text

PLANTED = "pl4ntedS3cretValue0123456789"
FORMS = [
    f"password={PLANTED}",
    f"PASSWORD: {PLANTED}",
    f'{{"api_key": "{PLANTED}"}}',
    f'{{\\"db_password\\": \\"{PLANTED}\\"}}',
    f"client-secret: '{PLANTED}'",
    f"--api-key {PLANTED} --workers 2",
    f"--auth-token={PLANTED}",
    f"Authorization: Bearer {PLANTED}",
    f"authorization: basic {PLANTED}",
    f"calling with bearer {PLANTED}",
    f"postgresql://user:{PLANTED}@db.example.com/jobs",
    f"https://{PLANTED}@git.example.com/x.git",
    f"https://bucket.example.com/iris?X-Amz-Signature={PLANTED}",
    f"GET /v2/models?token={PLANTED}&a=b 200",
    f"eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJ4In0.{PLANTED}",
    f"hf_{PLANTED}",
    f"ghp_{PLANTED}",
    f"sk-{PLANTED}",
    f"-----BEGIN RSA PRIVATE KEY-----\n{PLANTED}\n-----END RSA PRIVATE KEY-----",
    f"-----BEGIN EC PRIVATE KEY-----\n{PLANTED}",
    f"AWS_SECRET_ACCESS_KEY={PLANTED}",
    f"AccountKey={PLANTED};EndpointSuffix=core.windows.net",
    f"postgresql://user:p@{PLANTED}@db.example.com/jobs",
    f"- name: DB_PASSWORD\n  value: {PLANTED}",
    f'{{"name":"DB_PASSWORD","value":"{PLANTED}"}}',
    f'"{{\\"name\\": \\"DB_PASSWORD\\", \\"value\\": \\"{PLANTED}\\"}}"',
    f"headers [(b'x-api-key', b'{PLANTED}')]",
    f'"password": "a\\"{PLANTED}"',
    f"password: |\n  first line\n\n  {PLANTED}\nnext: 1",
    f"  password: correct horse {PLANTED}",
    f"sent Authorization: ApiKey {PLANTED}",
    f"--password -{PLANTED}",
    f"DB_PASS={PLANTED} run",
    f"Server=db;Uid=x;Pwd={PLANTED};",
    f"login with dckr_pat_{PLANTED}",
    f"vault gave hvs.{PLANTED}",
]


@pytest.mark.parametrize("text", FORMS)
def test_a_text_loses_its_credential(text: str) -> None:
    assert PLANTED not in redacted_text(text)
    assert REDACTED in redacted_text(text)


@pytest.mark.parametrize("line", ["a", "-", "?", "a-", "0f", "x.", "token", "://", "\n", "eyJ"])
def test_a_long_line_takes_time_by_its_length(line: str) -> None:
    start = time.process_time()
    redacted_text(line * (50_000 // len(line)))

    assert 5.0 > time.process_time() - start  # minutes, where each character looks ahead to the end of the line


def test_the_id_of_an_access_key_goes_too() -> None:
    assert f"key {REDACTED}" == redacted_text("key AKIAIOSFODNN7EXAMPLE")


@pytest.mark.parametrize(
    "text",
    [
        "model iris version 1 is ready after 0.07 s",
        "s3://models/iris/v3",
        "http://iris-predictor.shop.svc.cluster.local",
        'pillion_requests_total{model="iris",code="ok"} 7',
        "Back-off pulling image registry.example.com/team/own:1.2",
        "the pass through the gate: compass=7",
        "sha256:3e3e7ac20e8f2c3ee7b5ba3e4e2c3a54c7ae9c9d8e1d2c7a8b0d7b2a9c1f4e55",
        "Secret iris-tls is not there; create it",
        "exceeded quota: compute, requested: requests.memory=1Gi, used: requests.memory=4Gi",
    ],
)
def test_what_explains_a_failure_stays(text: str) -> None:
    assert text == redacted_text(text)


@pytest.mark.parametrize(
    "planted",
    [
        {"env": [{"name": "ANYTHING", "value": PLANTED}]},
        {"env": [{"name": "PILLION_AUTH__API_KEY", "value": PLANTED}]},
        {"env": [{"name": "OTEL_EXPORTER_OTLP_HEADERS", "value": f"x-key={PLANTED}"}]},
        {"metadata": {"annotations": {"example.com/anything": PLANTED}}},
        {"metadata": {"annotations": {"serving.pillion.dev/token": PLANTED}}},
        {"metadata": {"annotations": {"kubectl.kubernetes.io/last-applied-configuration": PLANTED}}},
        {"metadata": {"managedFields": [{"fieldsV1": {PLANTED: {}}}]}},
        {"args": ["--api-key", PLANTED]},
        {"args": [f"--password={PLANTED}"]},
        {"args": ["--password", f"-{PLANTED}"]},
        {"parameters": [{"name": "DB_PASSWORD", "value": PLANTED}]},
        {"tokens": [PLANTED]},
        {"command": ["sh", "-c", f"TOKEN={PLANTED} serve"]},
        {"httpHeaders": [{"name": "X-Anything", "value": PLANTED}]},
        {"parameters": {"secret_access_key": PLANTED}},
        {"parameters": {"apiKey": PLANTED}},
        {"logger": {"url": f"https://sink.example.com/?key={PLANTED}"}},
        {"data": {"runtime.yaml": f"settings:\n  auth:\n    api_key: {PLANTED}\n"}},
        {"binaryData": {"x": PLANTED}},
        {"status": {"conditions": [{"message": f"cannot open postgres://jobs:{PLANTED}@db/jobs"}]}},
    ],
)
def test_an_object_loses_its_credential_wherever_it_is(planted: dict[str, Any]) -> None:
    assert PLANTED not in str(redacted_object({"spec": [planted], **planted}))


def test_names_of_secrets_and_settings_stay() -> None:
    kept: dict[str, Any] = {
        "metadata": {"name": "iris", "annotations": {"serving.pillion.dev/paused": "true"}},
        "tls": {"secretName": "iris-tls"},
        "automountServiceAccountToken": False,
        "env": [
            {"name": "PILLION_LOG__LEVEL", "value": "debug"},
            {"name": "KEY", "valueFrom": {"secretKeyRef": {"name": "keys", "key": "token"}}},
        ],
        "args": ["--config", "/etc/pillion/runtime.yaml"],
        "imagePullSecrets": [{"name": "pull"}],
        "replicas": 2,
    }

    assert kept == redacted_object(kept)
