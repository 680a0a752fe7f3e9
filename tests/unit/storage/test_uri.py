"""Storage URIs, taken apart."""

from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pillion.storage import Reason, StorageError, StorageUri, parse_uri, redact
from pillion.storage.uri import file_uri, is_uri

DIGEST = "sha256:" + "ab" * 32


@pytest.mark.parametrize(
    ("text", "scheme", "authority", "path", "account"),
    [
        ("s3://models/iris", "s3", "models", "iris", None),
        ("s3://models", "s3", "models", "", None),
        ("s3://models/iris/", "s3", "models", "iris/", None),
        ("s3://models/a b?x=%20#1", "s3", "models", "a b?x=%20#1", None),
        (
            "gs://kfserving-examples/models/sklearn/1.0/model",
            "gs",
            "kfserving-examples",
            "models/sklearn/1.0/model",
            None,
        ),
        ("gcs://models/iris", "gs", "models", "iris", None),
        ("az://models/iris", "az", "models", "iris", None),
        ("azure://models/iris", "az", "models", "iris", None),
        ("abfs://models/iris", "az", "models", "iris", None),
        ("abfss://models@acme1.dfs.core.windows.net/iris", "az", "models", "iris", "acme1"),
        ("https://acme1.blob.core.windows.net/models/iris", "az", "models", "iris", "acme1"),
        ("pvc://claim", "pvc", "claim", "", None),
        ("pvc://claim/a/b", "pvc", "claim", "a/b", None),
        ("pvc://claim/a%20b", "pvc", "claim", "a%20b", None),
        (file_uri("/srv/100%/a%20b c"), "file", "", "/srv/100%/a%20b c", None),
        ("configmap://iris", "configmap", "iris", "", None),
        ("configmap://iris/model.joblib", "configmap", "iris", "model.joblib", None),
        ("file:///srv/a%20b", "file", "", "/srv/a b", None),
        ("/srv/models", "file", "", "/srv/models", None),
        ("http://models.example:8000/iris.tgz", "http", "models.example:8000", "iris.tgz", None),
    ],
)
def test_a_uri_is_taken_apart(text: str, scheme: str, authority: str, path: str, account: str | None) -> None:
    found = parse_uri(text)

    assert (scheme, authority, path, account) == (found.scheme, found.authority, found.path, found.account)


@pytest.mark.parametrize("fragment", [f"#{DIGEST}", f"#digest={DIGEST}", "#sha256=" + "AB" * 32])
@pytest.mark.parametrize("bare", ["s3://models/iris", "file:///srv/iris", "https://models.example/iris.tgz"])
def test_the_fragment_gives_the_expected_digest(bare: str, fragment: str) -> None:
    found = parse_uri(bare + fragment)

    assert DIGEST == found.digest
    assert parse_uri(bare).path == found.path


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "empty"),
        (" s3://models/iris", "blanks"),
        ("s3://models/a\nb", "control"),
        ("models/iris", "no scheme"),
        ("s3:models/iris", "'//'"),
        ("s3://models/../x", "'..'"),
        ("s3://models//x", "empty, '.' or '..'"),
        ("s3://UPPER_/x#sha256:12", "SHA-256"),
        ("s3://key:secret@models/x", "bucket"),
        ("pvc://Claim/x", "claim"),
        ("configmap://iris/a/b", "key of a ConfigMap"),
        ("file://relative/path", "absolute"),
        ("http://user:secret@models.example/x", "clear text"),
        ("https://models.example/", "name of a file"),
        ("https:///x", "no host"),
        ("https://models.example:99999/x", "malformed"),
        ("abfss://models@evil.example/x", "storage account"),
        ("s3://" + "a" * 5000, "characters"),
        ("hf://model-without-owner", "not a model of a hub"),
        ("hf://owner/model/folder", "not a model of a hub"),
        ("hf://owner/mo--del", "not a model of a hub"),
        ("hf://owner/model:a/../b", "not a model of a hub"),
        ("hf://user:secret@owner/model", "not a model of a hub"),
    ],
)
def test_a_wrong_uri_is_refused_with_what_is_wrong(text: str, words: str) -> None:
    with pytest.raises(StorageError) as caught:
        parse_uri(text)

    assert caught.value.reason == Reason.INVALID_URI
    assert words in caught.value.message
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("hf://owner/model", "model:main"),
        ("hf://owner/model/", "model:main"),
        ("hf://owner/model:v1.0", "model:v1.0"),
        ("hf://owner/model:refs/pr/1#sha256:" + "a" * 64, "model:refs/pr/1"),
    ],
)
def test_a_model_of_a_hub_has_a_revision(text: str, path: str) -> None:
    uri = parse_uri(text)

    assert ("hf", "owner", path) == (uri.scheme, uri.authority, uri.path)


PINNED = "sha256:" + "a" * 64


@pytest.mark.parametrize(
    ("text", "registry", "path", "digest"),
    [
        ("oci://registry.example/team/iris:1", "registry.example", "team/iris:1", None),
        ("oci+fetch://registry.example:5000/iris", "registry.example:5000", "iris:latest", None),
        (f"oci://registry.example/iris@{PINNED}", "registry.example", f"iris@{PINNED}", PINNED),
        (f"oci://registry.example/iris:1#{PINNED}", "registry.example", "iris:1", PINNED),
        ("oci://team/iris:1", "docker.io", "team/iris:1", None),
    ],
)
def test_an_image_of_a_registry_is_taken_apart(text: str, registry: str, path: str, digest: str | None) -> None:
    uri = parse_uri(text)

    assert ("oci", registry, path, digest) == (uri.scheme, uri.authority, uri.path, uri.digest)


@pytest.mark.parametrize(
    ("text", "scheme", "path"),
    [
        ("models:/iris/3", "models", "iris/3"),
        ("models:/iris@champion", "models", "iris@champion"),
        ("models:/m-" + "0" * 32, "models", "m-" + "0" * 32),
        (f"runs:/0a1b2c/model/data#{PINNED}", "runs", "0a1b2c/model/data"),
    ],
)
def test_a_model_that_mlflow_knows_is_taken_apart(text: str, scheme: str, path: str) -> None:
    uri = parse_uri(text)

    assert (scheme, "", path) == (uri.scheme, uri.authority, uri.path)
    assert is_uri(text)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("oci://registry.example/Iris:1", "not an image or artifact"),
        ("oci://registry.example", "not an image or artifact"),
        ("oci://registry.example/iris@sha256:12", "not an image or artifact"),
        ("oci://user:pa55word@registry.example/iris:1", "before its first '/'"),
        (f"oci://registry.example/iris@{PINNED}#sha256:{'b' * 64}", "two digests"),
        ("models:/iris", "nothing of MLflow"),
        ("models://iris/3", "nothing of MLflow"),
        ("models:/iris/3/more", "nothing of MLflow"),
        ("models:/iris/..", "empty, '.' or '..'"),
        ("models:iris/3", "nothing of MLflow"),
        ("runs:/0a1b2c", "nothing of MLflow"),
        ("runs:/0a1b2c/a/../b", "empty, '.' or '..'"),
        ("runs:/user:pa55word@host/x", "nothing of MLflow"),
    ],
)
def test_what_no_registry_can_have_is_refused(text: str, says: str) -> None:
    with pytest.raises(StorageError) as caught:
        parse_uri(text)

    assert (Reason.INVALID_URI, True) == (caught.value.reason, says in caught.value.message)
    assert "pa55word" not in str(caught.value)


def test_an_image_as_a_volume_is_refused_with_what_is_there_instead() -> None:
    with pytest.raises(StorageError, match="write oci://") as caught:
        parse_uri("oci+native://registry.example/iris:1")

    assert caught.value.reason == Reason.UNSUPPORTED_SCHEME


def test_an_unknown_scheme_is_refused() -> None:
    with pytest.raises(StorageError, match="UnsupportedScheme"):
        parse_uri("ftp://models.example/x")


def test_passwords_and_signatures_are_not_shown() -> None:
    uri = parse_uri("https://user:pa55word@models.example/x.tgz?X-Amz-Signature=5ecret&v=1")

    assert "https://***@models.example/x.tgz?X-Amz-Signature=***&v=***" == str(uri)
    assert not {"pa55word", "5ecret"} & set(repr(uri).replace("'", " ").replace("=", " ").split())
    assert "pa55word" not in repr(uri)
    assert "5ecret" not in repr(uri)


@given(
    st.text(alphabet=st.characters(codec="utf-8"), max_size=40), st.sampled_from(["s3://", "https://", "HTTP://", "x:"])
)
def test_no_password_survives_redaction(text: str, scheme: str) -> None:
    user = "".join(c for c in text if c not in "/?#@")

    assert "hunter2" not in redact(f"{scheme}{user}:hunter2@host/x")


def test_identity_tells_sources_apart_but_not_passwords() -> None:
    def identity(text: str) -> str:
        return parse_uri(text).identity

    assert identity("https://h.example/x?id=1") != identity("https://h.example/x?id=2")
    assert identity("https://a:b@h.example/x") == identity("https://a:c@h.example/x")
    assert identity("s3://models/x") == identity(f"s3://models/x#{DIGEST}")


@given(st.text(max_size=80))
def test_any_text_is_either_taken_apart_or_refused_with_a_reason(text: str) -> None:
    found: object
    try:
        found = parse_uri(text)
    except StorageError as error:
        found = error.reason

    assert isinstance(found, StorageUri) or found in {Reason.INVALID_URI, Reason.UNSUPPORTED_SCHEME}


def test_parsing_imports_nothing_heavy() -> None:
    script = (
        "import sys; from pillion.storage import parse_uri; parse_uri('s3://models/iris');"
        "print([m for m in ('obstore', 'asyncio', 'ssl', 'http.client', 'tarfile', 'pydantic') if m in sys.modules])"
    )

    assert "[]\n" == subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
