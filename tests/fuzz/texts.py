"""Settings, manifests, lists, results, small files and command lines."""

import importlib
import importlib.util
import json
from pathlib import Path
from random import Random
from typing import Any, ClassVar

from fuzz.engine import REFUSALS
from fuzz.mutation import damage_bytes, damage_text, damage_tree, dump_tree, odd_value
from fuzz.source import Source


class Settings(Source):
    """Recipes, settings files, overrides, ablation tables."""

    name = "settings"
    needs_torch = True

    def prepare(self, folder: Path) -> None:
        from importlib import resources

        from changedet.ablation import table
        from changedet.training import config

        self._config, self._table = config, table
        recipes = resources.files("changedet") / "recipes"
        self._valid = [
            entry.read_text() for entry in recipes.iterdir() if entry.name.endswith(".yaml")
        ]
        self._valid += [config.dump_config(config.load_config("dasnet_v2_cosine"))]
        tables = recipes / "ablations"
        self._tables = [
            entry.read_text() for entry in tables.iterdir() if entry.name.endswith(".yaml")
        ]
        self._keys = [
            "model.encoder",
            "data.crop_px",
            "training.epochs",
            "schedule.steps",
            "loss.terms",
        ]

    def write(self, random: Random, folder: Path) -> Any:
        path = folder / "a.yaml"
        is_table = random.random() < 0.3
        path.write_bytes(
            damage_text(random, random.choice(self._tables if is_table else self._valid))
        )
        overrides = []
        if random.random() < 0.2:
            value = damage_text(random, "[1, 2]").decode(errors="surrogateescape")
            overrides = [f"{random.choice(self._keys)}={value}"]
        return path, is_table, overrides

    def read(self, source: Any) -> None:
        path, is_table, overrides = source
        if is_table:
            self._table.load_table(str(path))
        else:
            self._config.load_config(path, overrides=overrides)


class Manifests(Source):
    """``scenes.yaml``."""

    name = "manifests"

    def prepare(self, folder: Path) -> None:
        from changedet.data.rasters import manifest

        self._manifest = manifest
        self._tree = {
            "scenes": [
                {
                    "name": "a",
                    "before": "a.tif",
                    "after": "https://b/b.tif",
                    "labels": "c.gpkg",
                    "split": "train",
                },
                {
                    "before": "a2.tif",
                    "after": "b2.tif",
                    "labels": "c.tif",
                    "area": "d.gpkg",
                    "unchanged": True,
                },
            ],
            "bands": [1, 2, 3],
            "split": {
                "block_px": 256,
                "gap_px": 32,
                "seed": 1,
                "shares": {"train": 0.5, "val": 0.25, "test": 0.25},
            },
        }
        import yaml

        self._text = yaml.safe_dump(self._tree)

    def write(self, random: Random, folder: Path) -> Any:
        path = folder / "scenes.yaml"
        if random.random() < 0.5:
            # JSON is YAML, nearly.
            path.write_text(dump_tree(damage_tree(random, self._tree)))
        else:
            path.write_bytes(damage_text(random, self._text))
        return path

    def read(self, source: Any) -> None:
        self._manifest.read_manifest(source)


class Lists(Source):
    """``train.txt`` and its like, and folders of files of any name."""

    name = "lists"

    def prepare(self, folder: Path) -> None:
        from changedet.data import index

        self._index = index
        self._text = (
            "A/a.png B/a.png label/a.png\nA/b.png\tB/b.png\tlabel/b.png\n# remark\n\n" + "c d\n" * 2
        )

    def write(self, random: Random, folder: Path) -> Any:
        names = [
            "a.png",
            "b.png",
            *random.sample(
                [
                    "c.tif",
                    "ü.png",
                    "a.jpg",
                    ".x.png",
                    "d.png ",
                    "e#.png",
                    "\udcff.png",
                    "x" * 240 + ".png",
                ],
                2,
            ),
        ]
        for place in random.sample(["A", "B", "label", "train", "list", "OUT1", "a"], 4):
            (folder / place).mkdir(exist_ok=True)
            for file in names:
                (folder / place / file).touch()
        for place in (folder, folder / "list"):
            if place.is_dir():
                for name in random.sample(["train.txt", "val.txt", "train1.txt", "TEST.TXT"], 2):
                    (place / name).write_bytes(
                        damage_text(random, random.choice((self._text, "a\nb\n", "a.png\n")))
                    )
        return folder

    def read(self, source: Any) -> None:
        found = self._index.survey(source)
        self._index.accept(found)


class ResultFiles(Source):
    """JSON files of results of every kind and version, with ``run.json``."""

    name = "results"
    needs_torch = True

    def prepare(self, folder: Path) -> None:
        from changedet import results
        from changedet.ablation import results as ablation
        from changedet.training.dataset_statistics import TrainingRecord

        self._results, self._ablation, self._record = results, ablation, TrainingRecord
        old = Path(__file__).parents[1] / "unit" / "root" / "old_results"
        self._valid = [json.loads(path.read_text()) for path in sorted(old.glob("*.json"))]
        present = []
        for path in sorted(old.glob("*.json")):
            present.append(results.read_results(path).to_dict())
        self._valid += present

    def write(self, random: Random, folder: Path) -> Any:
        path = folder / "summary.json"
        tree = random.choice(self._valid)
        text = dump_tree(damage_tree(random, tree) if random.random() < 0.8 else tree)
        content = text.encode()
        path.write_bytes(damage_bytes(random, content) if random.random() < 0.3 else content)
        return path

    def read(self, source: Any) -> None:
        found = self._results.read_results(source)
        found.to_json()


class Normalisations(Source):
    """``convert --normalisation`` and logs of a training that resumes."""

    name = "small_files"
    needs_torch = True

    def prepare(self, folder: Path) -> None:
        from changedet.models import upstream_normalisation
        from changedet.training import logs

        self._upstream, self._logs = upstream_normalisation, logs
        self._tree = {
            "mean_before": [1.0, 2.0, 3.0],
            "mean_after": [1, 2, 3],
            "std_before": [1, 1, 1],
            "std_after": [1, 1, 1],
            "bands": "rgb",
        }

    def write(self, random: Random, folder: Path) -> Any:
        kind = random.choice(("text", "json", "csv"))
        path = folder / f"a.{kind}"
        if kind == "text":
            return kind, random.choice((",", ";")).join(
                str(odd_value(random)) for _ in range(random.choice((6, 6, 3)))
            )
        if kind == "json":
            path.write_text(dump_tree(damage_tree(random, self._tree)))
        else:
            path.write_bytes(damage_text(random, "step,epoch,batch\n1,1,1\n2,1,2\n"))
        return kind, str(path)

    def read(self, source: Any) -> None:
        kind, text = source
        if kind == "csv":
            self._logs.CsvLog(Path(text), ("step", "epoch", "batch")).start(2)
        else:
            self._upstream.parse_normalisation(text)


class CommandLines(Source):
    """Options of every command, as far as they are parsed before anything is read."""

    name = "options"
    needs_torch = True
    _WORDS: ClassVar = (
        "",
        "1",
        "-1",
        "nan",
        "1e999",
        "9" * 500,
        "auto",
        "x",
        "1,2",
        ",",
        "a=b",
        "=",
        "\udcff",
        "\x00",
        "é",
        "-",
        "--",
        "none",
        "x" * 5000,
        "0.5",
        "1,2,3,4",
        "out",
        "../..",
        "{",
        "%s",
        "\x1b[31m",
        "٣",
    )

    def prepare(self, folder: Path) -> None:
        import typer.main

        from changedet.cli import main as command_line

        command = typer.main.get_command(command_line.app)
        self._commands = {
            name: one for name, one in command.commands.items() if not hasattr(one, "commands")
        }
        # Typer comes with click or with a copy of it, by version; both have these.
        modules = {kind.__module__.rpartition(".")[0] for kind in type(command).__mro__}
        errors: list[type[BaseException]] = []
        for module in sorted(modules - {"", "changedet.cli"}):
            if importlib.util.find_spec(f"{module}.exceptions") is not None:
                found = importlib.import_module(f"{module}.exceptions")
                errors += [
                    getattr(found, name)
                    for name in ("ClickException", "Exit", "Abort")
                    if hasattr(found, name)
                ]
        assert errors
        self.refusals = (*REFUSALS, *errors)

    def write(self, random: Random, folder: Path) -> Any:
        name = random.choice(sorted(self._commands))
        command = self._commands[name]
        options = [option for one in command.params for option in getattr(one, "opts", [])]
        words = []
        for _ in range(random.choice((1, 2, 4, 8))):
            words.append(random.choice((*options, *options, *self._WORDS)))
            if random.random() < 0.6:
                words.append(random.choice(self._WORDS))
        return name, words

    def read(self, source: Any) -> None:
        name, words = source
        try:
            self._commands[name].make_context(name, list(words))
        except self.refusals as error:
            # An exit, such as that of --help, says nothing.
            raise REFUSALS[0]((str(error) or "exit")[:80]) from error
