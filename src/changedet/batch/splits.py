"""Which blocks of large scenes are done, and when they can be put together."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from changedet.batch.task import Block, Join, Task

if TYPE_CHECKING:
    from changedet.predict.blocks import BlockScores, SceneBlocks


@dataclass
class _Split:
    task: Task
    scene: SceneBlocks
    scored: dict[int, BlockScores] = field(default_factory=dict)


class Splits:
    """Keeps account of the scenes that are cut now."""

    def __init__(self) -> None:
        self._splits: dict[str, _Split] = {}

    def begin(self, task: Task, scene: SceneBlocks) -> list[Task]:
        """Take up a scene that was cut.

        Returns:
            A task for each of its blocks.
        """
        self._splits[task.item.id] = _Split(task, scene)
        return [replace(task, part=Block(scene, number)) for number in range(len(scene.blocks))]

    def is_wanted(self, task: Task) -> bool:
        """Tell whether a task is still of use: a scene may have been given up, or cut anew."""
        if task.part is None:
            return True
        split = self._splits.get(task.item.id)
        return split is not None and split.scene is task.part.scene

    def add(self, task: Task, scored: BlockScores) -> Task | None:
        """Note a block that is done.

        Returns:
            What puts all of them together, after the last one.
        """
        assert isinstance(task.part, Block)  # noqa: S101 - nothing else is scored
        split = self._splits[task.item.id]
        split.scored[task.part.number] = scored
        count = len(split.scene.blocks)
        if len(split.scored) < count:
            return None
        in_order = tuple(split.scored[number] for number in range(count))
        return replace(split.task, part=Join(split.scene, in_order))

    def end(self, identifier: str) -> float:
        """Forget a scene; gives how long its blocks took, in seconds."""
        split = self._splits.pop(identifier, None)
        return 0.0 if split is None else sum(one.seconds for one in split.scored.values())
