import json

from typer.testing import CliRunner

from changedet.cli.main import app
from changedet.results import list_kinds, results_schema


def run(*arguments: str) -> str:
    result = CliRunner().invoke(app, ["schema", *arguments], catch_exceptions=False)
    assert result.exit_code == 0
    return result.stdout


def test_without_a_name_the_kinds_are_listed():
    assert run().split() == list_kinds()


def test_a_schema_is_printed():
    assert json.loads(run("scene")) == results_schema("scene")
