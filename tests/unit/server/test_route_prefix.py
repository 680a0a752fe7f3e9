"""Which application a path belongs to."""

from __future__ import annotations

import pytest

from pillion.route_prefix import below, find, normal_prefix

APPLICATIONS = {"/": "root", "/shop": "shop", "/shop/admin": "admin"}


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/", "root"),
        ("/shop", "shop"),
        ("/shop/", "shop"),
        ("/shop/items/1", "shop"),
        ("/shopping", "root"),
        ("/shop/admin", "admin"),
        ("/shop/administration", "shop"),
        ("/shop/admin/x", "admin"),
        ("/v20", "root"),
        ("/v2", None),
        ("/v2/models/iris/infer", None),
        ("/api/v1/task/x", None),
        ("/-/routes", None),
        ("/management/models", None),
    ],
)
def test_the_longest_prefix_wins_on_segments_and_the_runtime_keeps_its_own(path: str, name: str | None) -> None:
    assert name == find(path, APPLICATIONS)


def test_nothing_is_found_where_no_application_is_at_the_root() -> None:
    assert find("/elsewhere", {"/shop": "shop"}) is None


@pytest.mark.parametrize(("text", "prefix"), [("/", "/"), ("/shop", "/shop"), ("/shop/", "/shop"), ("/a/b/", "/a/b")])
def test_a_slash_at_the_end_makes_no_difference(text: str, prefix: str) -> None:
    assert prefix == normal_prefix(text)


@pytest.mark.parametrize(
    ("text", "remedy"),
    [("shop", "write /shop"), ("/a//b", "write /a/b"), ("/v2/x", "the runtime's own"), ("/a b", "a plain path")],
)
def test_a_prefix_that_cannot_be_says_what_to_write(text: str, remedy: str) -> None:
    with pytest.raises(ValueError, match=remedy):
        normal_prefix(text)


def test_what_a_proxy_publishes_below_is_taken_off_once_and_by_segments() -> None:
    assert "/shop" == below("/ml/shop", "/ml")
    assert "/shop" == below("/shop", "/ml")
    assert "/" == below("/ml", "/ml")
    assert "/mlx" == below("/mlx", "/ml")
