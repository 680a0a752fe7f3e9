from __future__ import annotations

import pytest

from pillion.tracing.endpoint import Endpoint, endpoint_of
from pillion.tracing.export import resource_of
from pillion.web_address import WebAddress

BASE = "OTEL_EXPORTER_OTLP_"
OWN = "OTEL_EXPORTER_OTLP_TRACES_"
HERE = WebAddress("collector", 4318, "/v1/traces", secure=False)


@pytest.mark.parametrize(
    ("environ", "address"),
    [
        ({}, WebAddress("localhost", 4318, "/v1/traces", secure=False)),
        ({f"{BASE}ENDPOINT": "http://collector:4318"}, HERE),
        ({f"{BASE}ENDPOINT": "http://collector:4318/"}, HERE),
        ({f"{BASE}ENDPOINT": "https://collector/otlp"}, WebAddress("collector", 443, "/otlp/v1/traces", secure=True)),
        ({f"{OWN}ENDPOINT": "http://collector:4318"}, WebAddress("collector", 4318, "/", secure=False)),
        ({f"{OWN}ENDPOINT": "http://collector:4318/v1/traces", f"{BASE}ENDPOINT": "http://other"}, HERE),
    ],
)
def test_the_path_is_added_to_the_shared_endpoint_only(environ: dict[str, str], address: WebAddress) -> None:
    assert Endpoint(address) == endpoint_of(environ)


def test_all_else_is_read_too_and_that_of_traces_wins() -> None:
    environ = {
        f"{BASE}ENDPOINT": "http://collector:4318",
        f"{BASE}HEADERS": "Authorization=Bearer%20abc, x-tenant=a%3Db",
        f"{BASE}TIMEOUT": "10000",
        f"{OWN}TIMEOUT": "2500",
        f"{BASE}COMPRESSION": "gzip",
        f"{BASE}CERTIFICATE": "ca.pem",
        f"{BASE}CLIENT_CERTIFICATE": "own.pem",
        f"{BASE}CLIENT_KEY": "own.key",
    }
    headers = {"authorization": "Bearer abc", "x-tenant": "a=b"}
    assert Endpoint(HERE, headers, 2.5, True, "ca.pem", "own.pem", "own.key") == endpoint_of(environ)


@pytest.mark.parametrize(
    ("said", "environ"),
    [
        (
            "OTEL_EXPORTER_OTLP_ENDPOINT: 'collector:4318/v1/traces' is no address",
            {f"{BASE}ENDPOINT": "collector:4318"},
        ),
        ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: ", {f"{OWN}ENDPOINT": "ftp://collector"}),
        ("OTEL_EXPORTER_OTLP_COMPRESSION=zstd", {f"{BASE}COMPRESSION": "zstd"}),
        ("OTEL_EXPORTER_OTLP_TIMEOUT=soon", {f"{BASE}TIMEOUT": "soon"}),
        ("OTEL_EXPORTER_OTLP_HEADERS: expected", {f"{BASE}HEADERS": "secret"}),
        ("OTEL_EXPORTER_OTLP_HEADERS: expected", {f"{BASE}HEADERS": "a=b%0d%0ac: secret"}),
    ],
)
def test_what_cannot_be_used_is_named_and_secrets_are_not(said: str, environ: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="OTEL_") as error:
        endpoint_of(environ)
    assert str(error.value).startswith(said)
    assert "secret" not in str(error.value)


@pytest.mark.parametrize(
    ("environ", "name"),
    [
        ({}, "pillion"),
        ({"OTEL_RESOURCE_ATTRIBUTES": "service.name=a%20b,k=v"}, "a b"),
        ({"OTEL_RESOURCE_ATTRIBUTES": "service.name=a", "OTEL_SERVICE_NAME": "b"}, "b"),
        ({"OTEL_RESOURCE_ATTRIBUTES": "nothing"}, "pillion"),
    ],
)
def test_who_sends_is_named_by_the_environment(environ: dict[str, str], name: str) -> None:
    assert name == resource_of(environ)["service.name"]
