from __future__ import annotations

import pytest

from pillion.resources.documents import DocumentError, read_documents


def content(text: str) -> object:
    (document,) = read_documents(text)
    return document.content


@pytest.mark.parametrize(
    ("scalar", "value"),
    [
        ("yes", "yes"),
        ("on", "on"),
        ("y", "y"),
        ("true", True),
        ("1:30", "1:30"),
        ("2026-01-02", "2026-01-02"),
        ("2026-01-02T03:04:05Z", "2026-01-02T03:04:05Z"),
        ("1e3", 1000.0),
        ("0x10", 16),
        ("010", 8),
        ("1_000", 1000),
        ("1.5", 1.5),
        ("-3", -3),
        ("1.2.3", "1.2.3"),
        ("100m", "100m"),
        ("~", None),
        ("null", None),
        ("'1'", "1"),
        ("!!str 1", "1"),
    ],
)
def test_a_scalar_is_read_as_kubectl_reads_it(scalar: str, value: object) -> None:
    read = content(f"key: {scalar}")

    assert {"key": value} == read


def test_json_is_read_too() -> None:
    assert {"a": [1, {"b": None}]} == content('{"a": [1, {"b": null}]}')


def test_anchors_and_merge_keys_are_resolved() -> None:
    assert {"a": {"x": 1, "y": 2}, "b": {"x": 1, "y": 3}} == content("a: &a {x: 1, y: 2}\nb: {<<: *a, y: 3}")


def test_each_document_knows_its_line_and_empty_ones_are_left_out() -> None:
    documents = list(read_documents("---\n---\na: 1\n---\n# nothing\n---\nb:\n  - c: 2\n"))

    assert [3, 7] == [document.line for document in documents]
    assert 8 == documents[1].line_of(("b", 0, "c"))


def test_the_line_of_an_absent_field_is_that_of_the_field_around_it() -> None:
    (document,) = read_documents("a:\n  b:\n    c: 1\n")

    assert 2 == document.line_of(("a", "b", "missing", 0))


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("a: 1\na: 2", 2, "'a' stands twice"),
        ("a:\n  - b: {c: 1, c: 2}", 2, "'c' stands twice"),
        ("a: [1, 2", 1, "cannot be read as YAML"),
        ("a:\n\tb: 1", 2, "cannot be read as YAML"),
        ("a: *nowhere", 1, "undefined alias"),
        ("1: a", 1, "the key 1 is no text"),
        ("? [a]\n: b", 1, "no text"),
        ("a: !!binary aGVsbG8=", 1, "no type that JSON has"),
        ("a: !!python/object:os.system x", 1, "cannot be read as YAML"),
        ("a: \x00", 1, "cannot be read as YAML"),
        ("a: &a [*a]", 1, "too deeply"),
        ("a: " + "[" * 5000, 1, "too deeply"),
    ],
)
def test_what_is_no_manifest_is_refused_with_its_line(text: str, line: int, said: str) -> None:
    with pytest.raises(DocumentError, match=said) as refused:
        list(read_documents(text))

    assert line == refused.value.line


def test_nested_aliases_end_at_a_limit() -> None:
    levels = "\n".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10))

    with pytest.raises(DocumentError, match="aliases nested"):
        list(read_documents(f"a0: &a0 [x]\n{levels}"))
