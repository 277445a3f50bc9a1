"""Tables of the results, in Markdown."""

from collections.abc import Mapping, Sequence
from typing import Any

_HEAD = "| {} |\n|{}|\n"


def to_markdown(results: Mapping[str, Any]) -> str:
    """Render the results of the plan.

    Args:
        results: Content of ``results.json``; every part may be missing or half done.
    """
    sections = [_plan(results)]
    for name, render in _RENDERERS.items():
        found = results.get(name)
        if found:
            sections.append(render(found))
    return "\n".join(sections)


def _plan(results: Mapping[str, Any]) -> str:
    rows = [
        (name, part["status"], _number(part.get("seconds"), 0), part.get("reason", ""))
        for name, part in results.get("plan", {}).items()
    ]
    head = f"# Results on {results.get('card', 'an unknown device')}\n\n"
    head += f"Commit `{results.get('commit', 'unknown')}`, seed {results.get('seed', 0)}, "
    head += f"begun {results.get('begun', 'at an unknown time')}.\n\n"
    return head + _table(("part", "state", "s", "remark"), rows)


def _large(found: Mapping[str, Any]) -> str:
    rows = []
    for precision in ("int8", "float16"):
        if precision in found:
            metrics = found[precision]["metrics"]
            fixed = _fixed(metrics)
            rows.append(
                (
                    precision,
                    f"{found[precision]['bytes'] / 1e6:.1f}",
                    _number(fixed.get("f1")),
                    _number(fixed.get("threshold")),
                    _number(metrics.get("average_precision")),
                )
            )
    train = found.get("train", {})
    text = f"## Large recipe\n\n{train.get('crops', '?')} crops in {train.get('seconds', '?')} s"
    text += f" (length: {found.get('length')}); val, selection set, optimistic.\n\n"
    return text + _table(("weights", "MB", "F1 (stored threshold)", "threshold", "AP"), rows)


def _rows(found: Mapping[str, Any]) -> str:
    rows = []
    for name, row in found.items():
        metrics = row.get("metrics") or {}
        best = metrics.get("best_threshold") or metrics.get("seed") or {}
        length = row.get("length", {})
        rows.append(
            (
                name,
                length.get("epochs", ""),
                row.get("train", {}).get("crops", ""),
                _number(best.get("max_f1", best.get("f1"))),
                _number(_fixed(metrics).get("f1")),
                _number(metrics.get("average_precision")),
                _number(row.get("document_max_f")),
                row.get("fault") or "",
            )
        )
    head = ("row", "epochs", "crops", "max-F1", "F1, threshold of train", "AP", "document, CDD", "")
    return "## The document's rows, val of CLCD, 256 px\n\n" + _table(head, rows)


def _cuda_tests(found: Mapping[str, Any]) -> str:
    rows = [(name, outcome) for name, outcome in found.get("tests", {}).items()]
    return "## Tests marked cuda\n\n" + _table(("test", "outcome"), rows)


def _speed(found: Mapping[str, Any]) -> str:
    ceiling = found.get("ceiling_bf16_tflops")
    rows = []
    for case in found.get("cases", ()):
        for work in ("train", "infer"):
            figures = case.get(work, {})
            share = figures.get("tflops", 0.0) / ceiling if ceiling else None
            rows.append(
                (
                    case["recipe"],
                    case["batch"],
                    case["precision"],
                    work,
                    _number(figures.get("ms"), 1),
                    _number(figures.get("host_ms"), 1),
                    _number(figures.get("pairs_per_s"), 0),
                    "" if share is None else f"{100.0 * share:.1f} %",
                )
            )
    text = f"## Speed\n\nbf16 product of 8192: {_number(ceiling, 0)} TFLOP/s; copy "
    text += f"{_number(found.get('copy_gb_per_s'), 0)} GB/s, read and written.\n\n"
    head = ("recipe", "batch", "type", "work", "ms", "host ms", "pairs/s", "of the ceiling")
    return text + _table(head, rows)


def _published(found: Mapping[str, Any]) -> str:
    goals = found.get("goals", {})
    rows = []
    for work in ("train", "infer"):
        case = found.get(work)
        if case and "package" in case:
            rows.append(
                (
                    work,
                    case["batch"],
                    _number(case["published"]["pairs_per_s"], 1),
                    _number(case["package"]["pairs_per_s"], 1),
                    f"{case['times_as_fast']:.2f} (goal {goals.get(work, 0):g})",
                    f"{100 * case['of_ceiling']:.0f} % (goal {100 * goals['of_ceiling']:g} %)",
                    _number(case["published"]["peak_gb"], 2),
                    _number(case["package"]["peak_gb"], 2),
                    "" if case["memory"] is None else f"{case['memory']:.2f}",
                )
            )
    speed = ("work", "batch", "published pairs/s", "package pairs/s", "times as fast")
    head = (
        *speed,
        "of the bf16 ceiling",
        "published GB",
        "package GB",
        "ratio (training goal 0.6)",
    )
    return "## DASNet-V2 against the published way\n\n" + _table(head, rows)


def _memory(found: Mapping[str, Any]) -> str:
    names = ("allocated", "reserved", "in_use")
    rows = [
        (
            case["recipe"],
            case["precision"],
            *(_number(case.get(f"{name}_{kind}_gb"), 2) for name in names for kind in _KINDS),
        )
        for case in found.get("cases", ())
    ]
    columns = [f"{name} {kind}" for name in names for kind in _KINDS]
    return "## GPU memory at batch 4, GB\n\n" + _table(("recipe", "type", *columns), rows)


def _cropland_trial(found: Mapping[str, Any]) -> str:
    rows = [
        (
            name,
            row.get("train", {}).get("crops", ""),
            _number(row.get("max_f1")),
            _number(row.get("average_precision")),
            row.get("fault") or "",
        )
        for name, row in found.items()
        if name != "choice"
    ]
    head = ("student", "crops", "max-F1", "AP", "")
    text = "## Ingredients of a small network for cropland\n\nOne more from row to row; val, which "
    text += f"chooses among them, optimistic. Chosen: {found.get('choice', 'nothing yet')}.\n\n"
    return text + _table(head, rows)


def _cropland(found: Mapping[str, Any]) -> str:
    rows = []
    for name, row in found.items():
        figures = row.get("int8") or {}
        rows.append(
            (
                name,
                row.get("train", {}).get("crops", ""),
                _number(row.get("train", {}).get("seconds"), 0),
                _number(figures.get("bytes", 0) / 1e6, 1) if figures else "",
                _number(figures.get("f1")),
                _number(figures.get("threshold")),
                _number(figures.get("average_precision")),
                row.get("fault") or "",
            )
        )
    head = ("network", "crops", "s", "MB", "F1 (stored threshold)", "threshold", "AP", "")
    text = "## Small networks for cropland\n\nIn int8 on val, which chose the thresholds, "
    text += "optimistic; those named `_all` are trained on val, too, and have no figures.\n\n"
    return text + _table(head, rows)


def _compile(found: Mapping[str, Any]) -> str:
    rows = [
        (
            name,
            _number(found[name]["first_step_s"], 1),
            _number(found[name]["ms"], 1),
            _number(found[name]["pairs_per_s"], 0),
        )
        for name in ("eager", "compiled")
        if name in found
    ]
    return "## Compiled training step\n\n" + _table(("", "first step s", "ms", "pairs/s"), rows)


_KINDS = ("average", "peak")
_RENDERERS = {
    "large": _large,
    "rows": _rows,
    "memory": _memory,
    "speed": _speed,
    "published": _published,
    "compile": _compile,
    "cuda_tests": _cuda_tests,
    "cropland_trial": _cropland_trial,
    "cropland": _cropland,
}


def _fixed(metrics: Mapping[str, Any]) -> Mapping[str, Any]:
    return metrics.get("fixed_threshold") or metrics.get("honest") or {}


def _table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    text = _HEAD.format(" | ".join(head), "|".join("---" for _ in head))
    return text + "".join(f"| {' | '.join(str(cell) for cell in row)} |\n" for row in rows)


def _number(value: float | None, digits: int = 4) -> str:
    return "" if value is None else f"{value:.{digits}f}"
