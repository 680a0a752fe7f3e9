"""Whose project is served."""

from __future__ import annotations

import importlib.util
import sys
from typing import TYPE_CHECKING, Any

import pytest

from pillion.authoring.project import Project, project_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SERVICE = "from pillion import Model\n\nclass Shop(Model):\n    '''Sells pets.'''\n\nclass Zoo(Model):\n    pass\n"


@pytest.fixture
def classes(tmp_path: Path) -> Iterator[Any]:
    """Imports the module of a folder."""
    names: list[str] = []

    def imported(text: str = SERVICE, folder: str = ".") -> Any:
        file = tmp_path / folder / f"service_{len(names)}.py"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        names.append(f"tests_project_{len(names)}")
        spec = importlib.util.spec_from_file_location(names[-1], file)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[names[-1]] = module
        spec.loader.exec_module(module)
        return module

    yield imported
    for name in names:
        del sys.modules[name]


def test_pyproject_beside_the_class_names_it(classes: Any, tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "shop"\nversion = "1.2"\ndescription = "Pets."\n')
    module = classes()
    assert Project("shop", "1.2", "Pets.") == project_of([module.Shop, module.Zoo])


def test_pyproject_above_src_and_the_package_names_it_and_the_module_has_the_version(
    classes: Any, tmp_path: Path
) -> None:
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "shop"\ndynamic = ["version"]\n')
    (tmp_path / "src" / "shop").mkdir(parents=True)
    (tmp_path / "src" / "shop" / "__init__.py").touch()
    assert Project("shop", "3.0") == project_of([classes(f'__version__ = "3.0"\n{SERVICE}', "src/shop").Shop])


@pytest.mark.parametrize("broken", ["", "[project", '[tool.x]\nname = "y"\n', "[project]\nname = 3\n"])
def test_without_a_project_the_class_names_itself(classes: Any, tmp_path: Path, broken: str) -> None:
    (tmp_path / "pyproject.toml").write_text(broken)
    module = classes()
    assert Project("Shop", "0.0.0", "Sells pets.") == project_of([module.Shop])
    assert Project("Zoo", "0.0.0") == project_of([module.Zoo])


def test_of_several_projects_none_is_the_title(classes: Any) -> None:
    module = classes()
    assert project_of([module.Shop, module.Zoo]) is None
    assert project_of([]) is None
