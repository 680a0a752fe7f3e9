"""Where a server is said to be."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pillion import TLS, Client

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("url", ["http://[::1", "http://a..b", "grpc://[::1", "http://a:99999", f"http://{'a' * 64}"])
def test_a_url_that_leads_nowhere_is_named(url: str) -> None:
    with pytest.raises(ValueError, match=r"^url: ") as wrong:
        Client(url)
    assert type(wrong.value) is ValueError
    assert url in str(wrong.value)


@pytest.mark.parametrize("scheme", ["https", "grpcs"])
def test_a_ca_that_cannot_be_used_is_named_before_anything_is_asked(tmp_path: Path, scheme: str) -> None:
    ca = tmp_path / "ca.crt"
    ca.write_text("nonsense")
    with pytest.raises(ValueError, match=r"^TLS: .*ca\.crt"):
        Client(f"{scheme}://127.0.0.1:1", tls=TLS(ca=ca))
