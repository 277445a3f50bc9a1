"""What the documents say of the DASNet-V2 document agrees with the package."""

import re
from pathlib import Path

import pytest
import yaml

from changedet.ablation.table import load_table
from changedet.training.config import ExperimentConfig, list_recipes, load_config

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "dasnet_v2.md").read_text(encoding="utf-8")
REPOSITORIES = {"https://github.com/lehaifeng/DASNet", "https://github.com/silence-tang/DASNet-V2"}


def test_both_repositories_are_cited():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    cited = {reference.get("repository-code") for reference in citation["references"]}
    assert cited >= REPOSITORIES
    assert all(f"({address})" in PAGE for address in REPOSITORIES)


def test_the_recipes_and_settings_that_the_page_names_exist():
    recipes = set(re.findall(r"`(dasnet\w*)`", PAGE)) - {"dasnet_v2"}
    assert recipes == {name for name in list_recipes() if name.startswith("dasnet")}
    sections = ExperimentConfig.model_fields
    for section, setting in re.findall(r"`(model|data|loss|training)\.(\w+)", PAGE):
        fields = type(getattr(ExperimentConfig(), section)).model_fields
        assert section in sections
        assert setting in fields, f"{section}.{setting}"


@pytest.mark.parametrize(
    "row", ["dasnet", "v2_l2", "v2_cosine", "v2_fused_only", "v2_no_attention"]
)
def test_the_page_and_the_table_state_the_same_figures(row):
    line = load_table("dasnet_v2").row(row)
    [cells] = [
        [cell.strip() for cell in text.split("|")[1:-1]]
        for text in PAGE.splitlines()
        if text.startswith("| ") and text.split("|")[2].strip().startswith(f"`{line.recipe}`")
    ]
    assert float(cells[3]) == line.published
    assert int(cells[2]) == load_config(line.recipe).training.epochs


def test_the_first_example_is_the_document_s_best_model():
    [first, *_] = re.findall(r"```console\n\$ (.*)", PAGE)
    assert first == "changedet train dasnet_v2_cosine --data CDD --out run"
