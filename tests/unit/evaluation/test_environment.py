"""Versions and commit behind a figure."""

import subprocess

import pytest

from changedet._version import __version__
from changedet.evaluation import environment as software
from changedet.evaluation.environment import package_commit, software_versions


def git(folder, *arguments: str) -> str:
    identity = ["-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false"]
    command = ["git", "-C", str(folder), *identity, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def package(tmp_path):
    """A package in a git repository of its own."""
    folder = tmp_path / "package"
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    git(tmp_path, "init", "--quiet")
    git(tmp_path, "add", "package")
    git(tmp_path, "commit", "--quiet", "--message", "first")
    return folder


def test_the_commit_is_the_sources_own_and_says_when_they_were_changed(package):
    head = git(package, "rev-parse", "HEAD")
    assert package_commit(package) == head
    (package / "__init__.py").write_text("changed = True\n")
    assert package_commit(package) == f"{head}-dirty"


def test_a_copy_installed_into_somebody_elses_repository_has_no_commit(package):
    installed = package.parent / "site-packages"
    installed.mkdir()
    (installed / "__init__.py").write_text("")
    assert package_commit(installed) is None


def test_without_git_there_is_no_commit(package, monkeypatch):
    def refuse(*arguments, **options):
        raise FileNotFoundError("git")

    monkeypatch.setattr(software.subprocess, "run", refuse)
    assert package_commit(package) is None


def test_versions_are_told():
    facts = software_versions()
    assert facts["changedet"] == __version__
    assert {"torch", "numpy", "python", "commit"} <= facts.keys()
