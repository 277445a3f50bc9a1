# SPDX-License-Identifier: GPL-2.0-or-later
"""Lists of models and kinds of change in the dialog, filled by ``changedet models``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from processing.gui.wrappers import DIALOG_STANDARD, WidgetWrapper
from qgis.PyQt.QtCore import QProcess, QProcessEnvironment, Qt
from qgis.PyQt.QtWidgets import QComboBox, QFileDialog, QHBoxLayout, QLineEdit, QToolButton, QWidget

from .command import UNTRAINED, CommandError, KnownModel, clean_environment, read_models
from .provider import installed_command

_FILTER = "Models (*.safetensors *.onnx);;All files (*)"


class _Choice(WidgetWrapper):
    """A list whose text can also be typed; in batches and the model designer a line of text."""

    def createWidget(self) -> QWidget:
        """Make what the dialog shows."""
        if self.dialogType != DIALOG_STANDARD:
            return QLineEdit()
        self.box = QComboBox()
        self.box.setEditable(True)
        self.box.setInsertPolicy(QComboBox.InsertPolicy.NoInsert)
        return self.box

    def value(self) -> str:
        """Give what is chosen or typed."""
        if self.dialogType != DIALOG_STANDARD:
            return str(self.widget.text())
        return str(self.box.currentText())

    def setValue(self, value: object) -> None:
        """Show a value."""
        text = "" if value is None else str(value)
        if self.dialogType != DIALOG_STANDARD:
            self.widget.setText(text)
        else:
            self.box.setEditText(text)

    def offer(self, texts: Sequence[str], hints: Sequence[str] = ()) -> None:
        """Fill the list; what has been typed stays."""
        typed = self.box.currentText()
        self.box.clear()
        self.box.addItems(list(texts))
        for row, hint in enumerate(hints):
            self.box.setItemData(row, hint, Qt.ItemDataRole.ToolTipRole)
        self.box.setCurrentIndex(self.box.findText(typed))
        self.box.setEditText(typed)


class ModelWidget(_Choice):
    """Models by name, and a button for files."""

    def createWidget(self) -> QWidget:
        """Make the list and the button."""
        self.models: list[KnownModel] = []
        inner = super().createWidget()
        if self.dialogType != DIALOG_STANDARD:
            return inner
        button = QToolButton()
        button.setText("…")
        button.setToolTip("Choose a model file")
        button.clicked.connect(self._choose_file)
        outer = QWidget()
        row = QHBoxLayout(outer)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self.box, 1)
        row.addWidget(button)
        self._list_models()
        return outer

    def _choose_file(self) -> None:
        path, _ = QFileDialog.getOpenFileName(self.box, "Model file", "", _FILTER)
        if path:
            self.box.setEditText(path)

    def _list_models(self) -> None:
        """Ask the command, while the dialog is being filled in."""
        self.offer(UNTRAINED)
        hint = self.box.lineEdit()
        try:
            command = installed_command()
        except CommandError as error:
            hint.setPlaceholderText(str(error))
            self.box.setToolTip(str(error))
            return
        hint.setPlaceholderText("Choose a model, or enter the path of a model file")
        environment = QProcessEnvironment()
        for name, value in clean_environment().items():
            environment.insert(name, value)
        self._process = QProcess(self.box)
        self._process.setProcessEnvironment(environment)
        self._process.finished.connect(self._take_models)
        self._process.start(command, ["models", "--json"])

    def _take_models(self, *_: object) -> None:
        printed = bytes(self._process.readAllStandardOutput()).decode("utf-8", "replace")
        try:
            self.models = read_models(printed)
        except CommandError as error:
            self.box.setToolTip(str(error))
            return
        names = [model.name for model in self.models]
        self.offer([*names, *UNTRAINED], [model.facts for model in self.models])


class KindWidget(_Choice):
    """Kinds of change of the model that is chosen."""

    def postInitialize(self, wrappers: Sequence[Any]) -> None:
        """Follow the model."""
        if self.dialogType != DIALOG_STANDARD:
            return
        [self._model] = [wrapper for wrapper in wrappers if isinstance(wrapper, ModelWidget)]
        self.box.lineEdit().setPlaceholderText("the model's first")
        self._model.box.currentTextChanged.connect(self._follow)

    def _follow(self, name: str) -> None:
        kinds = [model.kinds for model in self._model.models if model.name == name]
        self.offer(kinds[0] if kinds else ())
