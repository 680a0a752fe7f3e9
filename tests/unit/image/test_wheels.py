"""What pip says, as a sentence with a remedy; and where the files of wheels belong."""

from __future__ import annotations

import pytest

from pillion.image.wheels import explained, installed_at, platform_tags
from pillion.oci.content import Platform
from pillion.oci.errors import ImageError

ARM = Platform("arm64")


def test_every_tag_is_of_the_target_and_none_is_newer_than_the_base() -> None:
    tags = platform_tags(ARM)

    assert ("manylinux_2_36_aarch64", "linux_aarch64") == (tags[0], tags[-1])
    assert all(tag.endswith("_aarch64") for tag in tags)


def test_a_package_without_a_wheel_is_named_with_the_platform_and_the_way_out() -> None:
    said = explained("ERROR: No matching distribution found for pycrypto==2.6.1 (from -r x)", ARM, "3.11")

    assert said.startswith("pycrypto==2.6.1 has no wheel for linux/arm64 and Python 3.11")
    assert "pip wheel pycrypto==2.6.1 -w wheels" in said


def test_an_index_that_does_not_answer_is_not_taken_for_a_missing_wheel() -> None:
    output = "WARNING: Retrying (Retry(total=0))\nERROR: No matching distribution found for tqdm==4.67.1"

    assert explained(output, ARM, "3.11").startswith("the package index does not answer")


def test_scripts_and_data_of_a_wheel_stay_out_and_its_libraries_go_where_python_looks() -> None:
    assert "x/y.so" == installed_at("a-1.data/platlib/x/y.so", "a.whl")
    assert None is installed_at("a-1.data/scripts/a", "a.whl")
    assert "a/b.py" == installed_at("a/b.py", "a.whl")


@pytest.mark.parametrize("name", ["../a", "/a", "a/../../b", "a\\b"])
def test_a_wheel_that_leads_out_of_its_folder_is_refused(name: str) -> None:
    with pytest.raises(ImageError, match="leads out of its folder"):
        installed_at(name, "a.whl")
