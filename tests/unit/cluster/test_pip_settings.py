"""What builds of images are told of this machine's package index."""

from __future__ import annotations

from typing import TYPE_CHECKING

from e2e.cluster.node import pip_settings

if TYPE_CHECKING:
    from pathlib import Path

_LISTING = """\
:env:.cert='/etc/ssl/one.pem'
:env:.default-timeout='180'
:env:.find-links='/opt/wheels'
global.index-url='https://index.example/simple'
install.trusted-host='index.example\\nother.example'
global.no-compile='true'
"""


def test_how_to_reach_the_index_is_passed_on_and_folders_of_this_machine_are_not() -> None:
    expected = """\
[global]
cert = /run/secrets/ca
index-url = https://index.example/simple
timeout = 180
trusted-host = index.example
    other.example
"""
    assert expected == pip_settings.pip_configuration(_LISTING)


def test_a_machine_without_settings_gives_only_the_bundle() -> None:
    assert "[global]\ncert = /run/secrets/ca\n" == pip_settings.pip_configuration("")


def test_the_bundle_of_pip_wins_over_that_of_the_system(tmp_path: Path) -> None:
    bundle = tmp_path / "bundle.pem"
    bundle.write_text("")
    assert bundle == pip_settings.ca_bundle(f"global.cert='{bundle}'\n")
    assert bundle != pip_settings.ca_bundle(f"global.cert='{tmp_path}/absent.pem'\n")
