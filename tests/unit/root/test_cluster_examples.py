"""The files of examples/cluster fit the programs that read them, as far as that shows here."""

import importlib.util
import json
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any, Literal

import jsonschema
import pytest
import typer
import yaml
from pydantic import BaseModel, ConfigDict, Field

from changedet.cli.main import app

ROOT = Path(__file__).parents[3]
FOLDER = ROOT / "examples" / "cluster"


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Amounts(Strict):
    cpu: str = Field(pattern=r"^\d+$")
    memory: str = Field(pattern=r"^\d+Gi$")
    ephemeral_storage: str | None = Field(None, alias="ephemeral-storage", pattern=r"^\d+Gi$")


class Resources(Strict):
    requests: Amounts
    limits: Amounts


class Reference(Strict):
    name: str


class FromSecret(Strict):
    secretRef: Reference  # noqa: N815


class Container(Strict):
    name: str
    image: str
    resources: Resources
    envFrom: list[FromSecret]  # noqa: N815


class PodSpec(Strict):
    containers: list[Container] = Field(min_length=1)


class Pod(Strict):
    spec: PodSpec


class HeadGroup(Strict):
    rayStartParams: dict[str, str]  # noqa: N815
    template: Pod


class WorkerGroup(HeadGroup):
    groupName: str  # noqa: N815
    replicas: int
    minReplicas: int  # noqa: N815
    maxReplicas: int  # noqa: N815


class ClusterSpec(Strict):
    rayVersion: str  # noqa: N815
    enableInTreeAutoscaling: bool  # noqa: N815
    headGroupSpec: HeadGroup  # noqa: N815
    workerGroupSpecs: list[WorkerGroup] = Field(min_length=1)  # noqa: N815


class JobSpec(Strict):
    entrypoint: str
    shutdownAfterJobFinishes: bool  # noqa: N815
    ttlSecondsAfterFinished: int  # noqa: N815
    backoffLimit: int  # noqa: N815
    rayClusterSpec: ClusterSpec  # noqa: N815


class RayJob(Strict):
    """What of the custom resource ``ray.io/v1`` is used, by the names that it has there."""

    apiVersion: Literal["ray.io/v1"]  # noqa: N815
    kind: Literal["RayJob"]
    metadata: Reference
    spec: JobSpec


def ray_version() -> str:
    found = re.search(r"^ray==([\d.]+)", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
    assert found is not None
    return found[1]


def test_the_rayjob_has_the_fields_of_its_kind() -> None:
    job = RayJob.model_validate(yaml.safe_load((FOLDER / "kuberay.yaml").read_text()))
    cluster = job.spec.rayClusterSpec
    groups = [cluster.headGroupSpec, *cluster.workerGroupSpecs]
    images = {box.image for group in groups for box in group.template.spec.containers}
    assert len(images) == 1
    for group in cluster.workerGroupSpecs:
        assert group.minReplicas <= group.replicas <= group.maxReplicas
    assert cluster.rayVersion == ray_version()
    assert f"FROM rayproject/ray:{ray_version()}-py" in (FOLDER / "Dockerfile").read_text()


def test_the_cluster_of_machines_fits_the_schema_of_ray() -> None:
    spec = importlib.util.find_spec("ray")
    if spec is None or spec.origin is None:
        pytest.skip("needs Ray")
    schema = json.loads((Path(spec.origin).parent / "autoscaler/ray-schema.json").read_text())
    content = yaml.safe_load((FOLDER / "ray_ssh.yaml").read_text())
    jsonschema.validate(content, schema)
    provider = content["provider"]
    assert content["max_workers"] == len(provider["worker_ips"])
    assert provider["type"] == "local"


@pytest.mark.skipif(sys.platform == "win32", reason="has no bash")
@pytest.mark.parametrize("script", sorted(path.name for path in FOLDER.glob("*.sh")))
def test_scripts_can_be_read_by_bash(script: str) -> None:
    done = subprocess.run(["bash", "-n", str(FOLDER / script)], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def commands(path: Path) -> list[list[str]]:
    """Words of the lines of a file that call changedet, continued lines as one."""
    text = path.read_text()
    if path.suffix == ".yaml":
        content: dict[str, Any] = yaml.safe_load(text)
        text = content.get("spec", {}).get("entrypoint", "")
    text = "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("#"))
    lines = text.replace("\\\n", " ").splitlines()
    # The script of the training has a function around torchrun.
    call = re.compile(r"^\s*((?:changedet|start) (?:batch|train) .*?)&?$")
    found = [call.match(line) for line in lines]
    return [shlex.split(match[1]) for match in found if match is not None]


def test_all_options_of_changedet_exist() -> None:
    files = [path for path in FOLDER.iterdir() if path.suffix in (".sh", ".yaml")]
    called = [words for path in files for words in commands(path)]
    assert sorted(words[1] for words in called) == ["batch"] * 3 + ["train"] * 2
    group: Any = typer.main.get_command(app)
    for words in called:
        known = {name for entry in group.commands[words[1]].params for name in entry.opts}
        options = {word for word in words if word.startswith("--")}
        assert options <= known, words
