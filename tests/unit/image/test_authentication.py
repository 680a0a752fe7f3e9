"""The token dance, against a registry that is played by a function."""

from __future__ import annotations

import httpx
import pytest

from pillion.image.authentication import RegistryAuth
from pillion.oci.challenge import challenge
from pillion.oci.credentials import Credentials
from pillion.oci.errors import ImageError

HEADER = 'Bearer realm="{realm}",service="registry.example",scope="repository:mood:pull"'
ANN = Credentials("ann", "secret")


def client(credentials: Credentials | None, realm: str, seen: list[str]) -> httpx.Client:
    """A client of a registry that gives tokens to those who ask as they should."""

    def answer(request: httpx.Request) -> httpx.Response:
        shown = request.headers.get("Authorization", "")
        seen.append(f"{request.method} {request.url} {shown}".strip())
        if request.url.host == "tokens.example":
            return httpx.Response(200, json={"token": "t"})
        if shown == "Bearer t":
            return httpx.Response(200)
        return httpx.Response(401, headers={"WWW-Authenticate": HEADER.format(realm=realm)})

    auth = RegistryAuth("registry.example", "repository:mood:pull", credentials, plain=False)
    return httpx.Client(auth=auth, transport=httpx.MockTransport(answer))


def test_a_challenge_is_read_with_its_commas() -> None:
    expected = ("bearer", {"realm": "https://a/t", "scope": "repository:mood:pull,push"})

    assert expected == challenge('Bearer realm="https://a/t",scope="repository:mood:pull,push"')


def test_a_token_is_asked_for_once_with_the_login_and_shown_from_then_on() -> None:
    seen: list[str] = []
    with client(ANN, "https://tokens.example/t", seen) as asking:
        answers = [asking.get("https://registry.example/v2/mood").status_code for _ in range(2)]

    assert [200, 200] == answers
    url = "https://tokens.example/t?service=registry.example&scope=repository%3Amood%3Apull"
    assert f"GET {url} {ANN.basic}" == seen[1]
    assert ["GET https://registry.example/v2/mood Bearer t"] * 2 == seen[2:]


def test_public_images_want_a_token_without_a_login() -> None:
    seen: list[str] = []
    with client(None, "https://tokens.example/t", seen) as asking:
        assert 200 == asking.get("https://registry.example/v2/mood").status_code

    assert "Basic" not in seen[1]


def test_a_password_is_not_sent_in_the_clear() -> None:
    seen: list[str] = []
    with client(ANN, "http://tokens.example/t", seen) as asking, pytest.raises(ImageError, match="in the clear"):
        asking.get("https://registry.example/v2/mood")

    assert 1 == len(seen)


def test_a_host_that_is_not_the_registry_gets_no_answer_to_its_challenge() -> None:
    seen: list[str] = []
    with client(ANN, "https://tokens.example/t", seen) as asking:
        assert 401 == asking.get("https://elsewhere.example/v2/mood").status_code

    assert ["GET https://elsewhere.example/v2/mood"] == seen
