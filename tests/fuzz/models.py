"""Model files, weights, checkpoints and journals."""

import copy
import json
import shutil
from pathlib import Path
from random import Random
from typing import Any, ClassVar

from fuzz.mutation import damage_bytes, damage_tree, dump_tree, odd_value
from fuzz.source import Source


class ModelCards(Source):
    """The card of a model file, read without PyTorch."""

    name = "cards"

    def prepare(self, folder: Path) -> None:
        from changedet import card

        self._card = card
        self._trees = _cards()

    def write(self, random: Random, folder: Path) -> Any:
        path = folder / "a.safetensors"
        path.write_bytes(_safetensors(random, random.choice(self._trees), [], b""))
        return path

    def read(self, source: Any) -> None:
        card = self._card.read_card(source)
        card.to_dict()
        self._card.read_parameter_count(source)
        self._card.read_precision(source)


class ModelFiles(Source):
    """Whole model files."""

    name = "models"
    needs_torch = True

    def prepare(self, folder: Path) -> None:
        import torch

        from changedet.card import ModelCard
        from changedet.models import model_file
        from changedet.models.ensemble import Ensemble
        from changedet.models.registry import create_model
        from changedet.types import CDD_NORMALISATION

        torch.set_num_threads(1)
        folder.mkdir(parents=True)
        self._file = model_file
        small = {"encoder": "test_resnet", "in_channels": 3}
        one = create_model("dasnet_v2", head_width=8, **small)
        two, three = (create_model("siamese_pyramid", decoder_width=8, **small) for _ in range(2))
        for model, precision in (
            (one, "float32"),
            (two, "int8"),
            (Ensemble([two, three]), "float16"),
        ):
            card = ModelCard(
                model.architecture, model.options, CDD_NORMALISATION, tile_px=64, threshold=0.5
            )
            path = folder / f"{precision}.safetensors"
            model_file.save_model(path, model.eval(), card, precision=precision)
            content = path.read_bytes()
            length = int.from_bytes(content[:8], "little")
            header = json.loads(content[8 : 8 + length])
            metadata = header.pop("__metadata__")
            self._valid.append(
                (json.loads(metadata["changedet"]), header, content[8 + length :], metadata)
            )

    def write(self, random: Random, folder: Path) -> Any:
        path = folder / "a.safetensors"
        card, header, data, metadata = random.choice(self._valid)
        path.write_bytes(_safetensors(random, card, header, data, metadata))
        return path

    def read(self, source: Any) -> None:
        self._file.load_model(source)


class WeightFiles(Source):
    """Checkpoints of PyTorch and weights of encoders."""

    name = "weights"
    needs_torch = True

    def prepare(self, folder: Path) -> None:
        import io

        import torch

        from changedet.models import tensor_file, upstream

        torch.set_num_threads(1)
        self._file, self._upstream = tensor_file, upstream
        folder.mkdir(parents=True)
        state = {
            "module.a.weight": torch.arange(6.0).reshape(2, 3),
            "b": torch.zeros(3, dtype=torch.int64),
        }
        for content in (
            state,
            {"state_dict": state, "epoch": 3},
            {"net": state, "optimizer": [1, {"lr": 0.1}]},
        ):
            for is_zip in (True, False):
                buffer = io.BytesIO()
                torch.save(content, buffer, _use_new_zipfile_serialization=is_zip)
                self._valid.append(buffer.getvalue())

    def write(self, random: Random, folder: Path) -> Any:
        path = folder / random.choice(("a.pth", "a.pt", "a.safetensors"))
        path.write_bytes(damage_bytes(random, random.choice(self._valid)))
        return path

    def read(self, source: Any) -> None:
        self._file.read_tensors(source)


class Checkpoints(Source):
    """The state of a training that resumes."""

    name = "checkpoints"
    needs_torch = True

    def prepare(self, folder: Path) -> None:
        import torch
        from torch import nn

        from changedet.training import checkpoint

        torch.set_num_threads(1)
        self._checkpoint = checkpoint
        folder.mkdir(parents=True)
        self._model = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
        self._optimizer = torch.optim.AdamW(self._model.parameters(), lr=0.1)
        self._model(torch.rand(4, 2)).sum().backward()
        self._optimizer.step()
        position = checkpoint.TrainingPosition(
            epoch=2, step=7, best_files=["best_1.safetensors"], loss_sums={"loss": 1.0}
        )
        path = folder / "last.safetensors"
        checkpoint.save_checkpoint(
            path, model=self._model, optimizer=self._optimizer, progress=position
        )
        content = path.read_bytes()
        length = int.from_bytes(content[:8], "little")
        header = json.loads(content[8 : 8 + length])
        metadata = header.pop("__metadata__")
        ((self._key, text),) = metadata.items()
        self._valid = [(json.loads(text), header, content[8 + length :])]

    def write(self, random: Random, folder: Path) -> Any:
        path = folder / "last.safetensors"
        tree, header, data = self._valid[0]
        path.write_bytes(_safetensors(random, tree, header, data, {}, key=self._key))
        return path

    def read(self, source: Any) -> None:
        model = copy.deepcopy(self._model)
        optimizer = type(self._optimizer)(model.parameters(), lr=0.1)
        position = self._checkpoint.load_checkpoint(source, model=model, optimizer=optimizer)
        # What was accepted must serve.
        assert position.epoch >= 1
        assert all("/" not in name for name in position.best_files)
        for parameter in model.parameters():
            parameter.grad = parameter.detach() * 0
        optimizer.step()


class Journals(Source):
    """The state of a prediction that resumes: if it is damaged, the scene is scored anew."""

    name = "journals"
    _SETTINGS: ClassVar = {"model": "abc", "tiles": [256, 64], "shift": None}

    def prepare(self, folder: Path) -> None:
        import numpy as np

        from changedet.predict import journal
        from changedet.raster.tile_plan import OpenRows

        self._journal, self._folder, self._numpy = journal, folder, np
        rows = np.linspace(0, 1, 24, dtype=np.float32).reshape(1, 4, 6)
        journal.Journal(folder, self._SETTINGS, first_row=0).save(7, OpenRows(12, rows))

    def write(self, random: Random, folder: Path) -> Any:
        for path in self._folder.iterdir():
            shutil.copy(path, folder / path.name)
        victim = random.choice(sorted(folder.iterdir()))
        content = victim.read_bytes()
        if victim.suffix == ".json" and random.random() < 0.7:
            victim.write_text(dump_tree(damage_tree(random, json.loads(content))))
        else:
            victim.write_bytes(damage_bytes(random, content))
        return folder

    def read(self, source: Any) -> None:
        journal = self._journal.Journal(source, self._SETTINGS, first_row=0)
        journal.resume()
        if journal.open_rows is not None:
            # Only what was saved may be taken up.
            wanted = self._numpy.linspace(0, 1, 24, dtype=self._numpy.float32).reshape(1, 4, 6)
            assert (journal.open_rows.top, journal.next_row) == (12, 7)
            assert self._numpy.array_equal(journal.open_rows.scores, wanted)


def _cards() -> list[dict[str, Any]]:
    channels = {
        "mean_before": [1.0, 2.0, 3.0],
        "mean_after": [1.0, 2.0, 3.0],
        "std_before": [1.0, 1.0, 1.0],
        "std_after": [1.0, 1.0, 1.0],
        "bands": "rgb",
    }
    new = {
        "architecture": "dasnet_v2",
        "options": {"encoder": "resnet18", "in_channels": 3, "head_width": 8, "distance": "l2"},
        "normalisation": channels,
        "pixel_type": "uint8",
        "tile_px": 256,
        "threshold": 0.5,
        "threshold_selection": {
            "kind": "training",
            "data": "CDD",
            "split": "val",
            "images": 3,
            "epoch": 1,
            "batch": 2,
        },
        "weights_selection": [{"kind": "user"}],
        "test_time": "none",
        "label": {"kind": "binary", "changed": [255], "ignore_value": None},
        "metrics": {"f1": 0.5, "calibration": {"f1": 1.0}},
        "data_name": "CDD",
        "licence_note": None,
        "recipe": {"data": {"crop_px": 256}},
        "blocks": {
            "gap_px": 3,
            "scenes": [
                {
                    "name": "a",
                    "before": "b",
                    "crs": None,
                    "transform": [1, 0, 0, 0, 1, 0],
                    "training": [[0, 0, 1, 1]],
                    "validation": [],
                }
            ],
        },
        "source_bands": [1, 2, 3],
        "domain": {
            "gsd_m": [0.5, 2.0],
            "change": "fields",
            "values": [{"low": 1.0, "middle": 2.0, "high": 3.0}],
            "sets": [
                {
                    "name": "a",
                    "bands": 1,
                    "mean": [0.5, 1.5],
                    "whitening": [1.0, 0.25, 2.0],
                    "usual": 1.25,
                    "middle": 0.75,
                    "windows": 40,
                    "held_out": 10,
                }
            ],
        },
        "package_version": "0.1",
        "format_version": 2,
    }
    old = {
        key: value
        for key, value in new.items()
        if key not in ("threshold_selection", "weights_selection")
    }
    old |= {
        "format_version": 1,
        "threshold_source": "max-F1 on split 'val' of CDD (3 images), epoch 1, batch 2",
    }
    members = [{"architecture": "dasnet_v2", "options": new["options"]}] * 2
    together = {**new, "architecture": "ensemble", "options": {"members": members}}
    return [new, old, together]


def _safetensors(
    random: Random,
    card: Any,
    header: Any,
    data: bytes,
    metadata: dict[str, str] | None = None,
    *,
    key: str = "changedet",
) -> bytes:
    """Put a model file together of which one part is damaged: card, header, metadata or bytes."""
    part = random.choice(("card", "card", "card", "header", "metadata", "bytes"))
    text = dump_tree(damage_tree(random, card) if part == "card" else card)
    if part == "card" and random.random() < 0.1:
        text = damage_bytes(random, text.encode()).decode("utf-8", errors="replace")
    stated = {"parameters": "12", "precision": "float32", **(metadata or {}), key: text}
    if part == "metadata":
        stated[random.choice(sorted(stated))] = str(odd_value(random)) * random.choice((1, 1, 2000))
    tensors = dict(header)
    if part == "header" and tensors:
        tensors = damage_tree(random, tensors)
    whole = {"__metadata__": stated, **(tensors if isinstance(tensors, dict) else {})}
    encoded = dump_tree(whole).encode("utf-8", errors="replace")
    encoded += b" " * (-len(encoded) % 8)
    content = len(encoded).to_bytes(8, "little") + encoded + data
    return damage_bytes(random, content) if part == "bytes" else content
