"""The Dockerfile: linted, and its files, extras and Python are those of the package."""

import fnmatch
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def instructions() -> list[tuple[str, str]]:
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    plain = "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("#"))
    lines = re.sub(r"\\\n\s*", "", plain).splitlines()
    return [(word, rest) for word, _, rest in (line.partition(" ") for line in lines) if word]


def stages() -> list[list[tuple[str, str]]]:
    found: list[list[tuple[str, str]]] = []
    for word, rest in instructions():
        if word == "FROM":
            found.append([])
        if found:
            found[-1].append((word, rest))
    return found


def last(word: str) -> str:
    return [rest for name, rest in stages()[-1] if name == word][-1]


def arguments() -> dict[str, str]:
    return dict(rest.split("=", 1) for word, rest in instructions() if word == "ARG")


def test_hadolint_finds_nothing():
    linter = shutil.which("hadolint", path=str(Path(sys.executable).parent)) or shutil.which(
        "hadolint"
    )
    if linter is None:
        pytest.skip("hadolint is not installed")
    done = subprocess.run(
        [linter, str(ROOT / "Dockerfile")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout == ""


def test_the_image_runs_the_command_without_rights_of_root_and_writes_to_one_volume():
    assert last("ENTRYPOINT") == '["changedet"]'
    assert "changedet" in PROJECT["scripts"]
    user = last("USER").split(":")[0]
    assert user.isdecimal()
    assert int(user) > 0
    volumes = [rest for word, rest in instructions() if word == "VOLUME"]
    assert volumes == ["/data"]
    assert last("WORKDIR") == "/data"
    words = [word for word, _ in stages()[-1]]
    # What the user may not do is done before.
    assert "RUN" not in words[words.index("USER") :]


def test_only_the_environment_comes_from_the_stage_that_builds():
    build, final = stages()
    assert [rest for word, rest in final if word == "COPY"] == [
        "--from=build /opt/changedet /opt/changedet"
    ]
    assert any("/opt/changedet" in rest for word, rest in build if word == "RUN")


def test_no_registry_is_named_and_python_is_one_that_the_package_supports():
    for word, rest in instructions():
        if word == "FROM":
            assert "/" not in rest
            assert rest.startswith("python:${PYTHON}-slim")
    versions = [text.rsplit(" ", 1)[-1] for text in PROJECT["classifiers"] if ":: 3." in text]
    assert arguments()["PYTHON"] in versions


def test_the_runtime_is_an_extra_of_the_package_and_brings_no_pytorch():
    extras = PROJECT["optional-dependencies"]
    assert arguments()["RUNTIME"] in extras
    for runtime in ("onnx", "openvino"):
        assert not [name for name in extras[runtime] if "torch" in name]
    [install] = [rest for word, rest in stages()[0] if word == "RUN"]
    assert '".[${RUNTIME}]"' in install


def test_what_is_copied_exists_is_not_ignored_and_is_all_that_a_build_needs():
    rules = [
        line
        for line in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
        if line and not line.startswith("#")
    ]

    def is_sent(name: str) -> bool:
        sent = True
        for rule in rules:
            if fnmatch.fnmatch(name, rule.removeprefix("!")):
                sent = rule.startswith("!")
        return sent

    copied = [name for word, rest in stages()[0] if word == "COPY" for name in rest.split()[:-1]]
    for name in copied:
        assert (ROOT / name).exists()
        assert is_sent(name)
    needed = {"pyproject.toml", "constraints.txt", "src", PROJECT["readme"]}
    assert needed | set(PROJECT["license-files"]) <= set(copied)
    for name in ("models", ".git", "tests", ".venv"):
        assert not is_sent(name)
