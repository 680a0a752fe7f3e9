"""Which names lead into the folder, and that none leads out of it."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pillion.errors import ErrorCode, PillionError
from pillion.modelstore import ModelStore, check_alias, check_name, split_reference

HOSTILE = ("..", "/", "\\", ".", "~", "\0", "\n", "%2e%2e", "@", ":", "C:", "a", "Z", "0", "-", "_", "\u202e", "\u00e9")
hostile = st.lists(st.sampled_from(HOSTILE) | st.text(max_size=3), max_size=6).map("".join)


@pytest.mark.parametrize("name", ["iris", "Iris-2", "a.b_c", "0", "x" * 200])
def test_ordinary_names_pass(name: str) -> None:
    assert name == check_name(name)


@pytest.mark.parametrize(
    ("name", "word"),
    [
        ("", "empty"),
        ("x" * 201, "200"),
        ("a..b", "'..'"),
        ("../iris", "'..'"),
        (".hidden", "characters"),
        ("-rf", "characters"),
        ("a/b", "characters"),
        ("a b", "characters"),
        ("b\u00e4r", "characters"),
        ("a\n", "characters"),
    ],
)
def test_other_names_are_refused_with_the_field_the_rule_and_the_remedy(name: str, word: str) -> None:
    with pytest.raises(PillionError) as error:
        check_name(name)
    assert (ErrorCode.INVALID_ARGUMENT, "model_id") == (error.value.code, error.value.field)
    assert word in str(error.value)
    assert "use letters" in str(error.value)


def test_an_alias_is_no_number() -> None:
    assert "stable" == check_alias("stable")
    with pytest.raises(PillionError, match="number"):
        check_alias("3")


def test_a_reference_is_a_name_and_perhaps_an_alias() -> None:
    assert ("iris", "") == split_reference("iris")
    assert ("iris", "stable") == split_reference("iris@stable")
    with pytest.raises(PillionError):
        split_reference("iris@")


@given(name=hostile)
def test_a_name_that_passes_is_one_part_of_a_path(name: str) -> None:
    try:
        check_name(name)
    except PillionError:
        return
    assert Path("/models") == (Path("/models") / name).resolve().parent


@given(names=st.lists(hostile, min_size=1, max_size=4))
def test_no_name_of_a_file_leads_out_of_the_version(names: list[str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        store = ModelStore(Path(folder) / "store")
        with store.stage() as staging:
            for name in names:
                try:
                    file = staging.open(name)
                except PillionError:
                    continue
                file.write(b"x")
                file.finish()
            inside = {path for path in staging.files.rglob("*") if path.is_file()}
            assert len(staging.records) == len(inside)
        assert ["lock", "models", "staging"] == sorted(path.name for path in store.folder.iterdir())
        assert ["store"] == [path.name for path in Path(folder).iterdir()]
        assert [] == [*(store.folder / "staging").iterdir(), *(store.folder / "models").iterdir()]
