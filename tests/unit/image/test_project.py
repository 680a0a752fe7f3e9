"""A project is read without running it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pillion.image.project import dependencies, files_of, find_service
from pillion.oci.errors import ImageError

if TYPE_CHECKING:
    from pathlib import Path

SERVICE = "import pillion\nraise RuntimeError\nclass TextMood(pillion.Model):\n    pass\n"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "service.py").write_text(SERVICE)
    return tmp_path


def test_the_class_is_found_without_running_the_file(project: Path) -> None:
    service = find_service(str(project))

    assert ("service.py", "TextMood", "text-mood") == (service.file, service.class_name, service.name)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("x = 1\n", "has no pillion.Model: name the class"),
        ("class A(Model): ...\nclass B(Model): ...\n", "has 2 classes that are a pillion.Model: A, B"),
        ("def f(:\n", "service.py:1: SyntaxError"),
    ],
)
def test_a_file_without_one_service_says_what_it_has(project: Path, text: str, expected: str) -> None:
    (project / "service.py").write_text(text)

    with pytest.raises(ImageError, match=expected):
        find_service(str(project))


def test_a_folder_without_a_service_names_the_ways_in(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="pillion new NAME --template python"):
        find_service(str(tmp_path))


def test_declared_dependencies_without_a_lock_are_refused_with_the_command(project: Path) -> None:
    (project / "pyproject.toml").write_text('[project]\nname = "m"\ndependencies = ["pillion[serve]", "tqdm>=4"]\n')

    with pytest.raises(ImageError, match=r"declares tqdm>=4 and there is no lock.*uv pip compile"):
        dependencies(project)


@pytest.mark.parametrize(
    ("declares", "text"),
    [
        ("tqdm>=4", "# what we need\npillion[serve]\ntqdm>=4  # progress\n"),
        ("-r base.in", "--index-url https://index.example\n-r base.in\n"),
    ],
)
def test_a_requirements_in_without_a_lock_is_refused_with_the_command_for_it(
    project: Path, declares: str, text: str
) -> None:
    (project / "requirements.in").write_text(text)

    with pytest.raises(ImageError) as refusal:
        dependencies(project)

    assert f"requirements.in declares {declares} and there is no lock" in str(refusal.value)
    assert "uv pip compile --generate-hashes requirements.in -o requirements.lock" in str(refusal.value)


def test_a_requirements_in_of_nothing_but_pillion_needs_no_lock(project: Path) -> None:
    (project / "requirements.in").write_text("# nothing else\npillion[serve]>=1\n")

    assert () == dependencies(project).names


def test_an_unpinned_requirements_txt_is_what_the_lock_is_made_of(project: Path) -> None:
    (project / "requirements.txt").write_text("tqdm\n")

    with pytest.raises(ImageError, match=r"--generate-hashes requirements\.txt -o requirements\.lock"):
        dependencies(project)


def test_a_project_that_needs_nothing_but_pillion_needs_no_lock(project: Path) -> None:
    (project / "pyproject.toml").write_text('[project]\nname = "m"\ndependencies = ["pillion[serve]"]\n')

    assert () == dependencies(project).names


def test_too_much_is_refused_and_the_largest_files_are_named(project: Path) -> None:
    (project / "weights.bin").write_bytes(b"\0" * 3_000_000)

    with pytest.raises(ImageError, match=r"weights.bin \(3 MB\).*\.pillionignore"):
        files_of(project, without=frozenset(), most_bytes=1_000_000)


def test_a_link_out_of_the_project_is_refused_and_one_inside_is_kept(project: Path) -> None:
    (project / "same.py").symlink_to("service.py")
    kept = {entry.path: entry.link for entry in files_of(project, without=frozenset(), most_bytes=10**6).entries}
    assert "service.py" == kept["/app/same.py"]
    (project / "out").symlink_to("/etc/hostname")

    with pytest.raises(ImageError, match="out is a link to /etc/hostname"):
        files_of(project, without=frozenset(), most_bytes=10**6)


def test_secrets_environments_and_the_output_stay_out(project: Path) -> None:
    (project / ".env").write_text("KEY=1")
    (project / "env").mkdir()
    (project / "env" / "pyvenv.cfg").write_text("")
    (project / "mood.tar").write_text("")

    files = files_of(project, without=frozenset({(project / "mood.tar").absolute()}), most_bytes=10**6)

    assert ((".env",), ["/app/service.py"]) == (files.secrets, [entry.path for entry in files.entries])
