from __future__ import annotations

import pytest

from pillion.tracing.environment import TracingSettings, tracing_settings
from pillion.tracing.sampling import Sampler

ENDPOINT = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318"}
ALL = 1 << 64


@pytest.mark.parametrize(
    "environ",
    [
        ENDPOINT,
        {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://collector:4318/v1/traces"},
        {"OTEL_TRACES_EXPORTER": "otlp"},
        ENDPOINT | {"OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf", "OTEL_SDK_DISABLED": "false"},
        ENDPOINT | {"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "http/protobuf"},
    ],
)
def test_an_endpoint_or_the_exporter_switches_traces_on(environ: dict[str, str]) -> None:
    assert (TracingSettings(), ()) == tracing_settings(environ)


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"OTEL_SERVICE_NAME": "flowers", "OTEL_TRACES_SAMPLER": "always_on"},
        ENDPOINT | {"OTEL_SDK_DISABLED": "TRUE"},
        ENDPOINT | {"OTEL_TRACES_EXPORTER": "none"},
    ],
)
def test_otherwise_they_are_off_without_a_word(environ: dict[str, str]) -> None:
    assert (None, ()) == tracing_settings(environ)


@pytest.mark.parametrize(
    ("said", "environ"),
    [
        ("OTEL_TRACES_EXPORTER=zipkin", {"OTEL_TRACES_EXPORTER": "zipkin"}),
        ("OTEL_EXPORTER_OTLP_PROTOCOL=grpc", {"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}),
        ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL=http/json", {"OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "http/json"}),
    ],
)
def test_what_cannot_be_done_is_a_warning_and_traces_are_off(said: str, environ: dict[str, str]) -> None:
    settings, (warning,) = tracing_settings(ENDPOINT | environ)
    assert settings is None
    assert warning.startswith(said)


@pytest.mark.parametrize(
    ("name", "argument", "sampler"),
    [
        ("always_on", "", Sampler(ALL, parent_based=False)),
        ("always_off", "", Sampler(0, parent_based=False)),
        ("traceidratio", "0.25", Sampler(ALL // 4, parent_based=False)),
        ("parentbased_always_on", "", Sampler(ALL)),
        ("parentbased_always_off", "", Sampler(0)),
        ("parentbased_traceidratio", "0.5", Sampler(ALL // 2)),
        ("parentbased_traceidratio", "", Sampler(ALL)),
    ],
)
def test_samplers_have_the_names_of_the_specification(name: str, argument: str, sampler: Sampler) -> None:
    environ = ENDPOINT | {"OTEL_TRACES_SAMPLER": name, "OTEL_TRACES_SAMPLER_ARG": argument}
    assert (TracingSettings(sampler=sampler), ()) == tracing_settings(environ)


@pytest.mark.parametrize(
    ("said", "environ"),
    [
        ("OTEL_TRACES_SAMPLER=jaeger_remote", {"OTEL_TRACES_SAMPLER": "jaeger_remote"}),
        ("OTEL_TRACES_SAMPLER_ARG=1.5", {"OTEL_TRACES_SAMPLER": "traceidratio", "OTEL_TRACES_SAMPLER_ARG": "1.5"}),
        ("OTEL_TRACES_SAMPLER_ARG=most", {"OTEL_TRACES_SAMPLER": "traceidratio", "OTEL_TRACES_SAMPLER_ARG": "most"}),
        ("OTEL_BSP_MAX_QUEUE_SIZE=0", {"OTEL_BSP_MAX_QUEUE_SIZE": "0"}),
        ("OTEL_BSP_SCHEDULE_DELAY=soon", {"OTEL_BSP_SCHEDULE_DELAY": "soon"}),
    ],
)
def test_a_wrong_value_is_a_warning_and_the_default(said: str, environ: dict[str, str]) -> None:
    settings, (warning,) = tracing_settings(ENDPOINT | environ)
    assert TracingSettings() == settings
    assert warning.startswith(said)


def test_propagators_say_whether_traceparent_counts() -> None:
    settings, _ = tracing_settings(ENDPOINT | {"OTEL_PROPAGATORS": "b3"})
    assert TracingSettings(propagate=False) == settings
    assert (TracingSettings(), ()) == tracing_settings(ENDPOINT | {"OTEL_PROPAGATORS": "baggage, tracecontext"})
