"""Importing users' modules, and importing them again."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from pillion.backends.api import ModelLoadError
from pillion.backends.python_source import import_class
from pillion.runtimefile import Code

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CLASS = "from pillion import Model\nimport {helper}\nclass {name}(Model):\n    value = {helper}.VALUE\n"


@pytest.fixture(autouse=True)
def modules(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Leave modules, path and the rule of caches as they were."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    before = dict(sys.modules)
    yield
    for name in sys.modules.keys() - before.keys():
        del sys.modules[name]


def code(folder: Path, file: str, class_name: str = "") -> Code:
    return Code(module=str(folder / file), class_name=class_name, folder=str(folder))


def test_an_edited_helper_counts_when_its_user_is_imported_again(tmp_path: Path) -> None:
    (tmp_path / "helper_a.py").write_text("VALUE = 1\n")
    (tmp_path / "user_a.py").write_text(CLASS.format(helper="helper_a", name="A"))
    first = import_class(code(tmp_path, "user_a.py"))
    assert (1, (str(tmp_path / "helper_a.py"), str(tmp_path / "user_a.py"))) == (first.cls.value, first.files)
    (tmp_path / "helper_a.py").write_text("VALUE = 2\n")
    assert 2 == import_class(code(tmp_path, "user_a.py")).cls.value


def test_two_classes_of_one_file_are_of_one_module(tmp_path: Path) -> None:
    text = "from pillion import Model\nclass A(Model): pass\nclass B(Model): pass\n"
    (tmp_path / "pair-of.py").write_text(text)
    a = import_class(code(tmp_path, "pair-of.py", "A")).cls
    b = import_class(code(tmp_path, "pair-of.py", "B")).cls
    assert sys.modules[a.__module__].__dict__["B"] is b


def test_a_failed_import_leaves_the_former_modules(tmp_path: Path) -> None:
    (tmp_path / "helper_b.py").write_text("VALUE = 1\n")
    (tmp_path / "user_b.py").write_text(CLASS.format(helper="helper_b", name="A"))
    import_class(code(tmp_path, "user_b.py"))
    former = sys.modules["helper_b"]
    (tmp_path / "helper_b.py").write_text("VALUE = \n")
    with pytest.raises(ModelLoadError, match=r"helper_b.py:1: SyntaxError") as failure:
        import_class(code(tmp_path, "user_b.py"))
    assert former is sys.modules["helper_b"]
    assert {str(tmp_path / "helper_b.py"), str(tmp_path / "user_b.py")} <= set(failure.value.files)


def test_modules_of_the_host_program_are_never_taken_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "hosts_own.py").write_text("VALUE = 1\n")
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    import hosts_own  # type: ignore[import-not-found] # written just now

    (tmp_path / "user_c.py").write_text(CLASS.format(helper="hosts_own", name="A"))
    import_class(code(tmp_path, "user_c.py"))
    (tmp_path / "user_c.py").write_text("# edited\n" + CLASS.format(helper="hosts_own", name="A"))
    import_class(code(tmp_path, "user_c.py"))
    assert hosts_own is sys.modules["hosts_own"]


def test_python_itself_below_the_folder_is_not_the_users(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from pillion.backends import python_source

    (tmp_path / "python" / "lib").mkdir(parents=True)
    (tmp_path / "python" / "lib" / "fake_stdlib.py").write_text("VALUE = 1\n")
    monkeypatch.setattr(python_source, "_PYTHON", (tmp_path / "python" / "lib",))
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path / "python" / "lib")])
    (tmp_path / "user_d.py").write_text(CLASS.format(helper="fake_stdlib", name="A"))
    assert (str(tmp_path / "user_d.py"),) == import_class(code(tmp_path, "user_d.py")).files


def test_a_file_with_the_name_of_an_installed_package_is_the_one_that_was_named(tmp_path: Path) -> None:
    (tmp_path / "numpy.py").write_text("from pillion import Model\nclass A(Model): pass\n")
    assert "A" == import_class(code(tmp_path, "numpy.py")).cls.__name__
    import numpy as np

    assert hasattr(np, "ndarray")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("import sys\nsys.exit(3)\n", r"user_e.py:2: SystemExit: 3"),
        ("import cv2\n", r"user_e.py:1: ModuleNotFoundError: .*pip install opencv-python-headless"),
        ("import numpy.nothing\n", r"the package numpy is there and has no numpy.nothing"),
        ("1 / 0\n", r"user_e.py:1: ZeroDivisionError"),
        ("x = 1\n", r"which class\? it has no class that is a pillion.Model"),
    ],
)
def test_what_goes_wrong_is_said_with_file_line_and_remedy(tmp_path: Path, text: str, sentence: str) -> None:
    (tmp_path / "user_e.py").write_text(text)
    with pytest.raises(ModelLoadError) as failure:
        import_class(code(tmp_path, "user_e.py"))
    import re

    assert re.search(sentence, str(failure.value)), str(failure.value)


def test_a_module_that_does_not_exist_is_watched_for(tmp_path: Path) -> None:
    (tmp_path / "user_f.py").write_text("import not_yet_there\n")
    with pytest.raises(ModelLoadError) as failure:
        import_class(code(tmp_path, "user_f.py"))
    assert str(tmp_path / "not_yet_there.py") in failure.value.files
