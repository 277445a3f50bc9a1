"""What the report of an ablation shows, in order."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from changedet.ablation.estimates import LEVEL, Estimate
from changedet.ablation.findings import ClaimResult
from changedet.ablation.learning import NO_BASELINE, learning_of, unlearned_rows
from changedet.ablation.report_held_out import held_out_tables, interval_cell
from changedet.ablation.results import (
    AblationResults,
    BaselineResult,
    RowResult,
    mean,
)
from changedet.ablation.run_state import PICTURES, Judgement
from changedet.ablation.scores import HEAT_MAP_MEASURES, Protocol
from changedet.ablation.verdict import RULES, Verdict
from changedet.metrics.protocol import SELECTION_SET_NOTE
from changedet.rendering.heatmap import colour_scale
from changedet.rendering.page import (
    Badge,
    Cell,
    Headline,
    Headlines,
    Note,
    Picture,
    Pictures,
    Section,
    Table,
    Tone,
)

#: What each verdict is to a reader, in the order of a list.
TONES: Mapping[Verdict, Tone] = {
    "holds": "good",
    "does not hold": "bad",
    "within noise": "open",
    "not judged": "open",
    "not run": "faint",
}
_PERCENT = f"{100 * LEVEL:.0f} %"


def report_sections(results: AblationResults, claims: Sequence[ClaimResult]) -> list[Section]:
    """Build the report's sections: figures, claims, what failed, heat maps, how it was made."""
    sections = [
        Section("", _opening(results, claims)),
        Section("Accuracy", [_accuracy(results), *_row_notes(results), *_learning(results)]),
        Section("Held-out sets", held_out_tables(results)),
        Section("Cost", [_cost(results)]),
        Section("During training", [_course(results)]),
        Section("Claims", _claims(results, claims)),
    ]
    if results.problems:
        table = Table("What failed", ["problem"], [[problem] for problem in results.problems])
        sections.append(Section("Failed", [table]))
    sections.append(Section("Heat maps", [_cleanness(results)]))
    pictures = _heat_maps(results)
    if pictures:
        sections.append(Section("Heat maps side by side", pictures))
    sections.append(Section("How it was made", _making(results)))
    return [section for section in sections if section.blocks]


def _opening(
    results: AblationResults, claims: Sequence[ClaimResult]
) -> list[Headlines | Note | Table | Pictures]:
    runs = [run for row in results.rows for run in row.runs]
    done = sum(1 for row in results.asked_rows if row.runs)
    verdicts = [result.finding.verdict for result in asked_claims(results, claims)]
    cards = [
        Headline(f"{done} of {len(results.asked_rows)}", "rows with a finished run"),
        Headline(len(runs), "finished runs"),
        *(
            Headline(verdicts.count(verdict), f"verdicts: {verdict}")
            for verdict in TONES
            if verdict in verdicts
        ),
    ]
    if results.test_split is None:
        fixed = "Nothing is evaluated at a fixed threshold, because there is no usable test split."
    else:
        fixed = (
            f"Fixed threshold: split {results.test_split!r}, each model at the threshold that "
            f"the split {results.val_split!r} chose, applied unchanged."
        )
    protocol = Note(
        f"Best threshold: split {results.val_split!r}, each model at the best of 96 thresholds on "
        f"that same split, which also chose the model ({SELECTION_SET_NOTE}). {fixed}"
    )
    remarks = sorted(
        (Note(note, "warning" if note.startswith("WARNING") else "text") for note in results.notes),
        key=lambda note: note.kind != "warning",
    )
    return [Headlines(cards), *remarks, protocol]


def _accuracy(results: AblationResults) -> Table:
    names = {
        "best_threshold": f"max-F1, {results.val_split} ({SELECTION_SET_NOTE})",
        "fixed_threshold": f"F1, {results.test_split}",
    }
    is_published = any(row.row.published is not None for row in results.asked_rows)
    header = ["row", "seeds", *(["published max-F1, other data"] if is_published else [])]
    for protocol in results.protocols:
        header += [names[protocol], "std over seeds", f"{_PERCENT} interval"]
    rows: list[list[Cell]] = []
    for row in results.asked_rows:
        cells: list[Cell] = [row.row.title, len(row.runs)]
        cells += [row.row.published] if is_published else []
        for protocol in results.protocols:
            cells += _estimate_cells(row.estimate(protocol))
        rows.append(cells)
    for baseline in results.baselines:
        cells = [*_baseline_title(baseline), *([None] if is_published else [])]
        rows.append([*cells, *_baseline_cells(baseline, results.protocols)])
    return Table(
        "F1 of the change class, pixels of all images pooled",
        header,
        rows,
        note="Mean over the seeds. The interval combines the bootstrap over images with Student's "
        "interval over the seeds; with one seed it covers the images only. Untrained methods "
        "need no training data; their threshold was also chosen on the validation split.",
    )


def _estimate_cells(estimate: Estimate | None) -> list[Cell]:
    if estimate is None:
        return [None, None, None]
    return [estimate.mean, estimate.std, interval_cell(estimate)]


def _baseline_title(baseline: BaselineResult) -> list[Cell]:
    if baseline.judgement is None:
        return [f"untrained: {baseline.name} (not evaluated: {baseline.reason})", None]
    return [f"untrained: {baseline.judgement.title}", None]


def _baseline_cells(baseline: BaselineResult, protocols: Sequence[Protocol]) -> list[Cell]:
    cells: list[Cell] = []
    for protocol in protocols:
        score = None if baseline.judgement is None else baseline.judgement.scores.get(protocol)
        cells += _estimate_cells(None if score is None else score.estimate())
    return cells


def _row_notes(results: AblationResults) -> list[Note]:
    return [Note(f"{row.row.title}: {row.row.note}") for row in results.asked_rows if row.row.note]


def _learning(results: AblationResults) -> list[Note]:
    """Warn of rows that do not beat the untrained methods, or that there are none beside them."""
    if not any(row.runs for row in results.rows):
        return []
    learning = learning_of(results)
    if not any(baseline.judgement for baseline in results.baselines):
        reason = f"{NO_BASELINE}, so claims are tested although rows may not have learned anything"
        return [Note(f"WARNING: {reason}", "warning")]
    notes = []
    for evaluation in results.evaluations:
        behind = unlearned_rows(learning, results.asked_rows, evaluation)
        if not behind:
            continue
        best, where = behind[0][1], str(evaluation)
        rows = "; ".join(f"{row.row.title}: {one.describe()}" for row, one in behind)
        notes.append(
            Note(
                f"{where[0].upper()}{where[1:]}: {len(behind)} rows do not beat the best "
                f"untrained method ({best.name}, F1 {best.f1:.4f}), so claims about them are not "
                f"judged. {rows}",
                "warning",
            )
        )
    return notes


def _cost(results: AblationResults) -> Table:
    memories = sorted({run.resources.memory for row in results.rows for run in row.runs})
    return Table(
        "Counted for predicting one 256 x 256 pair; measured in training",
        [
            "row",
            "parameters (million)",
            "GFLOP (2 x MAC)",
            "average memory (GB)",
            "peak memory (GB)",
            "pairs/s",
            "minutes",
            "epochs",
        ],
        [_cost_cells(row) for row in results.asked_rows],
        note="GFLOP of all views together where a model averages several (test-time augmentation). "
        f"Memory of training: {' and '.join(memories) or '-'}. Average: over its batches (on a GPU "
        "what PyTorch reserves, as nvidia-smi shows it), mean over the seeds. Peak: the largest of "
        "the seeds (on a GPU what tensors took). "
        "Pairs/s without validation. Minutes and epochs of one run, mean over the seeds; a "
        "run ended by its budget counts with its best validation.",
    )


def _cost_cells(row: RowResult) -> list[Cell]:
    if not row.runs:
        return [row.row.title, *[None] * 7]
    first = row.runs[0].judgement
    peaks = [run.resources.peak_bytes for run in row.runs if run.resources.peak_bytes is not None]
    average = mean([run.resources.average_bytes or math.nan for run in row.runs]) / 1e9
    speed = mean([run.resources.pairs_per_second or math.nan for run in row.runs])
    minutes = mean([run.resources.seconds / 60.0 for run in row.runs])
    epochs = mean([float(run.logs.epochs) for run in row.runs])
    return [
        row.row.title,
        None if first.parameters is None else f"{first.parameters / 1e6:.2f}",
        None if first.gflop is None else f"{first.gflop:.2f}",
        None if math.isnan(average) else f"{average:.2f}",
        f"{max(peaks) / 1e9:.2f}" if peaks else None,
        None if math.isnan(speed) else f"{speed:.1f}",
        f"{minutes:.1f}",
        f"{epochs:.1f}",
    ]


def _course(results: AblationResults) -> Table:
    rows: list[list[Cell]] = []
    for row in results.asked_rows:
        together = row.correlation()
        validations = sum(len(run.logs.max_f1) for run in row.runs)
        best = row.runs[0].logs.best if row.runs else None
        rows.append(
            [
                row.row.title,
                validations,
                None if best is None else f"epoch {best.epoch}, batch {best.batch}",
                together.mean,
                interval_cell(together),
                row.loss_spread(),
            ]
        )
    return Table(
        "Max-F1 and ROC-AUC over the validations; loss terms over the log",
        [
            "row",
            "validations",
            "best model, first seed",
            "rank correlation",
            f"{_PERCENT} interval",
            "spread of loss terms",
        ],
        rows,
        note="Rank correlation: Spearman's, within each run, mean over the runs. Spread: largest "
        "minus smallest of the loss terms over their mean, median over the log; 0: always equal.",
    )


def _cleanness(results: AblationResults) -> Table:
    rows: list[list[Cell]] = []
    for row in results.asked_rows:
        cells: list[Cell] = [row.row.title]
        for measure in HEAT_MAP_MEASURES:
            cells += _figure_cells(row.estimate("best_threshold", measure))
        rows.append(cells)
    for baseline in results.baselines:
        score = None if baseline.judgement is None else baseline.judgement.scores["best_threshold"]
        cells = [_baseline_title(baseline)[0]]
        for measure in HEAT_MAP_MEASURES:
            cells += _figure_cells(None if score is None else score.estimate(measure))
        rows.append(cells)
    interval = f"{_PERCENT} interval"
    return Table(
        f"How clean the heat maps of the split {results.val_split!r} are",
        ["row", "false-positive objects an image", interval, "contrast", interval],
        rows,
        note="False-positive objects: found objects without a pixel that is labelled changed, at "
        "the threshold that validation chose (untrained methods: Otsu's). Contrast: difference of "
        "the mean scores of changed and unchanged pixels over the root of their mean variance.",
    )


def _figure_cells(estimate: Estimate | None) -> list[Cell]:
    if estimate is None or not estimate.low <= estimate.high:
        return [None, None]
    return [f"{estimate.mean:.2f}", interval_cell(estimate, digits=2)]


def asked_claims(results: AblationResults, claims: Sequence[ClaimResult]) -> list[ClaimResult]:
    """Leave out claims about rows that nobody asked for."""
    asked = {row.row.name for row in results.asked_rows}
    return [result for result in claims if asked.issuperset(result.claim.rows)]


def _claims(results: AblationResults, claims: Sequence[ClaimResult]) -> list[Table | Note]:
    asked = asked_claims(results, claims)
    rows: list[list[Cell]] = [
        [
            result.claim.text,
            result.where,
            Badge(result.finding.verdict, TONES[result.finding.verdict]),
            result.finding.why,
        ]
        for result in asked
    ]
    left_out = len({result.claim.text for result in claims} - {each.claim.text for each in asked})
    note = f"{left_out} claims are about rows that were not asked for." if left_out else ""
    table = Table(
        "Each claim against the runs", ["claim", "protocol", "verdict", "because"], rows, note=note
    )
    return [table, *(Note(rule) for rule in RULES)] if asked else []


def _heat_maps(results: AblationResults) -> list[Headlines | Table | Pictures | Note]:
    """One strip a pair: what it shows, and the score of each row's first run."""
    shown = [
        (_heat_map_title(row.row.title, row.runs[0].judgement), row.runs[0].folder)
        for row in results.rows
        if row.runs
    ]
    shown += [
        (
            _heat_map_title(f"untrained: {baseline.judgement.title}", baseline.judgement),
            baseline.folder,
        )
        for baseline in results.baselines
        if baseline.judgement is not None
    ]
    blocks: list[Headlines | Table | Pictures | Note] = []
    for number, name in enumerate(results.shown if shown else (), start=1):
        places = [(title, folder / PICTURES / f"{number:02d}") for title, folder in shown]
        pair = [(kind, _picture(places[0][1], kind)) for kind in ("before", "after", "label")]
        scores = [(title, _picture(place, "score")) for title, place in places]
        items = [Picture(path, caption) for caption, path in (*pair, *scores) if path.is_file()]
        caption = (
            f"{name}: first seed of each row. Blue: score 0; green: the threshold that validation "
            "chose, in brackets; red: twice that or 1, and above"
        )
        blocks.append(Pictures(items, caption=caption, layout="grid"))
    return blocks


def _heat_map_title(title: str, judgement: Judgement) -> str:
    return f"{title} ({colour_scale(judgement.heat_map_middle).middle:.3f})"


def _picture(place: Path, kind: str) -> Path:
    return place.with_name(f"{place.name}_{kind}.png")


def _making(results: AblationResults) -> list[Headlines | Table | Pictures | Note]:
    runs = [run for row in results.rows for run in row.runs]
    records = [run.record for run in runs]
    ways = {
        ", ".join(f"{name} {value}" for name, value in (record.software or {}).items() if value)
        + f", device {record.device}"
        for record in records
    }
    seeds = sorted({record.seed for record in records})
    times = sorted(record.finished for record in records if record.finished)
    facts = [f"Seeds {', '.join(map(str, seeds))}."] if seeds else ["No run is finished."]
    facts += [f"Runs finished from {times[0]} to {times[-1]}."] if times else []
    commands = "\n".join(
        row.runs[0].record.command
        for row in results.rows
        if row.runs and row.runs[0].record.command
    )
    return [
        *([Note(results.command, "code")] if results.command else []),
        Note(" ".join(facts)),
        *(Note(f"{way}.") for way in sorted(ways)),
        *([Note("Each row on its own, first seed:"), Note(commands, "code")] if commands else []),
    ]
