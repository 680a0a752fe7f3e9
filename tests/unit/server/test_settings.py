"""Where a setting's value comes from, and what is said of one that cannot be used."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import pytest

from pillion.server import sources
from pillion.server.failures import ExitCode, StartError
from pillion.server.sources import flag_of, leaves, load_settings, meanings, shown, variable_of

if TYPE_CHECKING:
    from pydantic import JsonValue


def test_a_flag_wins_over_the_environment_over_the_file_over_the_default() -> None:
    file: dict[str, JsonValue] = {"http.port": 1, "grpc": {"port": 1}, "admin": {"port": 1}}
    environ = {"PILLION_HTTP__PORT": "2", "PILLION_GRPC__PORT": "2"}
    layered = load_settings(flags={"http.port": "3"}, environ=environ, file=file, file_name="x.yaml")
    settings, origins = layered.settings, layered.origins
    assert (3, "--http-port") == (settings.http.port, origins["http.port"])
    assert (2, "PILLION_GRPC__PORT") == (settings.grpc.port, origins["grpc.port"])
    assert (1, "x.yaml settings.admin.port") == (settings.admin.port, origins["admin.port"])
    assert (512, "default") == (settings.limits.max_queue, origins["limits.max_queue"])


def test_every_setting_has_a_docstring_and_a_flag_and_a_variable_of_its_own() -> None:
    keys = list(leaves())
    assert keys == list(meanings())
    assert [] == [key for key, text in meanings().items() if not text.endswith(".")]
    assert len(keys) == len({flag_of(key) for key in keys}) == len({variable_of(key) for key in keys})
    assert "PILLION_LIMITS__MAX_BODY_BYTES" == variable_of("limits.max_body_bytes")
    assert "--http-keep-alive-timeout" == flag_of("http.keep_alive_timeout")


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({"PILLION_HTTP__PORT": "abc"}, ("PILLION_HTTP__PORT", "'abc'")),
        ({"PILLION_HTTP__PORT": "70000"}, ("PILLION_HTTP__PORT", "65535", "'70000'")),
        ({"PILLION_HTTP__PROT": "1"}, ("PILLION_HTTP__PROT", "did you mean http.port?")),
        ({"PILLION_LOG__FORMAT": "xml"}, ("PILLION_LOG__FORMAT", "'json'", "'xml'")),
        ({"PILLION_LIMITS": "{"}, ("JSON",)),
        ({"PILLION_WORKERS": "many"}, ("PILLION_WORKERS", "a number or 'auto'", "'many'")),
        ({"PILLION_WORKERS": "0"}, ("PILLION_WORKERS", "1", "'0'")),
        ({"PILLION_TLS__SERVER__CERT": "a.crt"}, ("tls.server.key is not",)),
        ({"PILLION_LIMITS__DEFAULT_PRIORITY": "2"}, ("limits.default_priority is 2",)),
        ({"PILLION_LIMITS__SHED_WHEN": "often"}, ("PILLION_LIMITS__SHED_WHEN", "often")),
        ({"PILLION_TLS__CLIENT__CERT": "ca.crt"}, ("tls.client.cert is set without",)),
    ],
)
def test_a_bad_value_is_a_usage_error_that_names_its_variable(
    environ: dict[str, str], expected: tuple[str, ...]
) -> None:
    with pytest.raises(StartError) as failure:
        load_settings(environ=environ)
    assert ExitCode.USAGE is failure.value.code
    for text in expected:
        assert text in str(failure.value)


def test_inline_pem_is_never_shown_not_even_in_errors() -> None:
    secret = "-----BEGIN PRIVATE KEY-----\nMIIE\n-----END PRIVATE KEY-----"
    assert "(inline PEM)" == shown("tls.server.key", secret)
    with pytest.raises(StartError) as failure:
        load_settings(environ={"PILLION_TLS__SERVER__KEY": secret, "PILLION_TLS__SERVER__KEY__X": "1"})
    assert "MIIE" not in str(failure.value)


def test_an_empty_variable_is_as_good_as_none() -> None:
    assert load_settings(environ={"PILLION_TLS__SERVER__CERT": ""}).settings.tls.server.cert is None


def test_variables_that_kubernetes_makes_for_a_service_called_pillion_do_no_harm() -> None:
    environ = {"PILLION_PORT": "tcp://10.0.0.1:80", "PILLION_SERVICE_HOST": "10.0.0.1", "PILLION_PORT_80_TCP": "x"}
    assert 8080 == load_settings(environ=environ).settings.http.port


def test_keep_alive_has_two_older_variables_of_which_the_deprecated_one_warns(
    caplog: pytest.LogCaptureFixture,
) -> None:
    ours = {"PILLION_HTTP_KEEP_ALIVE_TIMEOUT_S": "5"}
    theirs = {"RAY_SERVE_HTTP_KEEP_ALIVE_TIMEOUT_S": "7"}
    file = {"http.keep_alive_timeout": 9}
    assert 5 == load_settings(environ=ours | theirs, file=file).settings.http.keep_alive_timeout
    assert [] == caplog.messages
    sources._warn_of_deprecated.cache_clear()  # another test of this process may have been warned
    with caplog.at_level(logging.WARNING):
        for _ in range(2):  # as the command line does
            assert 7 == load_settings(environ=theirs, file=file).settings.http.keep_alive_timeout
    assert [
        "RAY_SERVE_HTTP_KEEP_ALIVE_TIMEOUT_S is deprecated: use PILLION_HTTP_KEEP_ALIVE_TIMEOUT_S"
    ] == caplog.messages
    assert 1 == load_settings(flags={"http.keep_alive_timeout": 1}, environ=ours).settings.http.keep_alive_timeout
    assert 90 == load_settings(environ={}).settings.http.keep_alive_timeout


def test_a_bad_keep_alive_alias_names_itself() -> None:
    with pytest.raises(StartError, match=r"PILLION_HTTP_KEEP_ALIVE_TIMEOUT_S.*'soon'"):
        load_settings(environ={"PILLION_HTTP_KEEP_ALIVE_TIMEOUT_S": "soon"})


def test_the_api_key_has_a_short_variable_below_its_proper_one_and_above_the_file() -> None:
    short, proper = {"PILLION_API_KEY": "short"}, {"PILLION_AUTH__API_KEY": "proper"}
    file: dict[str, JsonValue] = {"auth": {"api_key": "file"}}

    loaded = load_settings(environ=short, file=file)

    assert ("short", "PILLION_API_KEY") == (loaded.settings.auth.api_key, loaded.origins["auth.api_key"])
    assert "proper" == load_settings(environ=short | proper, file=file).settings.auth.api_key
    assert "file" == load_settings(environ={}, file=file).settings.auth.api_key
    assert load_settings(environ={}).settings.auth.api_key is None


def test_the_api_key_is_never_shown() -> None:
    assert "(hidden)" == shown("auth.api_key", "of-the-house")
    with pytest.raises(StartError) as raised:
        load_settings(environ={"PILLION_API_KEY": "of-the-house\n"})

    assert "of-the-house" not in str(raised.value)
    assert "PILLION_API_KEY" in str(raised.value)
    assert "--from-literal" in str(raised.value)


@pytest.mark.parametrize("name", ["PILLION_API_KEY", "PILLION_AUTH__API_KEY"])
def test_an_empty_api_key_does_not_open_the_door(name: str) -> None:
    with pytest.raises(StartError, match=f"{name} is set and empty"):
        load_settings(environ={name: ""})


def test_the_number_of_front_workers_has_a_short_flag_and_a_short_variable() -> None:
    assert ("--workers", "PILLION_WORKERS") == (flag_of("workers"), variable_of("workers"))
    assert (3, "PILLION_WORKERS") == _workers({"PILLION_WORKERS": "3"})
    assert ("auto", "PILLION_WORKERS") == _workers({"PILLION_WORKERS": "auto"})
    # What Kubernetes makes for Services that are called so.
    assert (1, "default") == _workers({"PILLION_WORKERS_PORT": "tcp://1.2.3.4:80", "PILLION_WORKERS__HOST": "x"})


def _workers(environ: dict[str, str]) -> tuple[object, str]:
    layered = load_settings(environ=environ)
    return layered.settings.workers, layered.origins["workers"]


def test_a_pod_is_told_its_name_by_a_variable_that_older_releases_pass_over() -> None:
    told = {"PILLION_POD_NAME": "iris-1"}
    assert "iris-1" == load_settings(environ=told).settings.models.pod
    assert "iris-1" == load_settings(environ=told, file={"models.pod": "of-file"}).settings.models.pod
    assert "proper" == load_settings(environ=told | {"PILLION_MODELS__POD": "proper"}).settings.models.pod
    assert "" == load_settings(environ={"PILLION_POD_NAME": ""}).settings.models.pod
