"""One row of the manifest from what became of an item."""

from __future__ import annotations

import json

from changedet._version import __version__
from changedet.batch.item import in_utc
from changedet.batch.manifest import Row, RowState
from changedet.batch.names import item_folder
from changedet.batch.task import Outcome, Task
from changedet.storage.secrets import without_secrets


def make_row(task: Task, outcome: Outcome, *, state: RowState, worker: str, model: str) -> Row:
    """Make the row that tells of an attempt.

    Args:
        task: The attempt.
        outcome: What became of it.
        state: What the item is now.
        worker: Who did it.
        model: What identifies the model.
    """
    item, findings, fault = task.item, outcome.findings, outcome.fault
    row: Row = {
        "id": item.id,
        "state": state,
        "attempts": task.attempt,
        "started": outcome.started,
        "seconds": outcome.seconds,
        "worker": worker,
        "before": without_secrets(item.before),
        "after": without_secrets(item.after),
        "before_date": in_utc(item.before_date),
        "after_date": in_utc(item.after_date),
        "options": json.dumps(dict(item.options), sort_keys=True) if item.options else None,
        "model": model,
        "version": __version__,
    }
    if fault is not None:
        row |= {"error_type": fault.kind, "error": fault.message}
    if findings is not None:
        row |= {
            "folder": item_folder(item.id),
            "fingerprint": findings.fingerprint,
            "checksum": findings.checksum,
            "height": findings.height,
            "width": findings.width,
            "changed_share": findings.changed_share,
            "polygons": findings.polygons,
            "threshold": findings.threshold,
            "change_kind": findings.change_kind,
            "warnings": findings.warnings,
            "bytes": sum(findings.files.values()),
            # Of results that an earlier run made, the row tells how long that took.
            "seconds": findings.seconds if outcome.state == "unchanged" else outcome.seconds,
        }
    return row
