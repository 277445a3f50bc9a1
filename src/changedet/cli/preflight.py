"""What is wrong with a command can be told from its words and the disk, before PyTorch is loaded.

Loading PyTorch and GDAL takes seconds. Each function here asks the library's own checks, those that
need neither, and commands call them first; the library checks again what it is given.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from changedet.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from changedet.evaluation.calibration_request import CalibrationRequest
    from changedet.evaluation.request import EvaluationRequest
    from changedet.storage.output_folder import Existing
    from changedet.types import Arithmetic, Runtime


def check_method(
    spec: str | None,
    *,
    threshold: float | None = None,
    test_time: str | None = None,
    kind: str | None = None,
    gsd_m: float | None = None,
    channels: int | None = None,
    encoder: str | None = None,
    encoder_weights: str | None = None,
    runtime: Runtime = "auto",
    precision: Arithmetic = "float32",
    device: str = "auto",
    needs_threshold: bool = False,
) -> str:
    """Find the model, read what its file says, and refuse options that do not apply.

    Args:
        spec: What the user named: a file, a run, a name, a baseline; None: nothing.
        threshold: Score that the user gave.
        test_time: For models.
        kind: Kind of change to find, for models.
        gsd_m: Ground sample distance that the user gave, in metres.
        channels: For baselines.
        encoder: For the baseline that has one.
        encoder_weights: Likewise.
        runtime: What is to compute the network, for models.
        precision: In what, for models.
        device: Where.
        needs_threshold: Whether the model has to have one where none is given.

    Returns:
        The model file, or the baseline's name.

    Raises:
        ConfigError: If nothing is named, there is no such baseline, or an option does not apply.
        CheckpointError: If there is no such model, or its file cannot be used.
        MissingExtraError: If the model needs a package that is not installed.
    """
    from changedet.baselines.names import is_baseline
    from changedet.model_search import describe_models_at_hand, find_method

    if spec is None:
        raise ConfigError(
            "no model is named; add --model with a model file, the folder of a training run, "
            f"baseline:ir_mad (needs no training), or a name ({describe_models_at_hand()})"
        )
    if threshold is not None:
        from changedet.card import check_threshold

        check_threshold(threshold)
    if gsd_m is not None:
        from changedet.inference.working_gsd import check_gsd

        check_gsd(gsd_m)
    found = find_method(
        spec,
        test_time=test_time,
        kind=kind,
        channels=channels,
        encoder=encoder,
        encoder_weights=encoder_weights,
        runtime=runtime,
        precision=precision,
    )
    if not is_baseline(found):
        from changedet.card import read_card
        from changedet.inference.provenance import settle_threshold
        from changedet.inference.runtimes import settle_runtime
        from changedet.models.options import check_installed

        card = read_card(found).for_kind(kind)
        settled = settle_runtime(found, runtime, device=device, precision=precision)
        if settled == "torch":
            check_installed(card.architecture, card.options)
        if needs_threshold:
            settle_threshold(card, threshold, model=str(found))
    return str(found)


def check_kind(methods: Sequence[str], kind: str | None) -> None:
    """Refuse a kind of change that a model of several does not know, or that none of them has.

    Args:
        methods: Model files and names of baselines, as :func:`check_method` gives them.
        kind: What the user named; None: nothing.

    Raises:
        ConfigError: If no model tells kinds of change apart, or one does not know this one.
    """
    if kind is None:
        return
    from changedet.baselines.names import is_baseline
    from changedet.card import read_card

    cards = [read_card(method) for method in methods if not is_baseline(method)]
    several = [card for card in cards if card.kinds]
    if not several:
        raise ConfigError(
            "`kind` is for models that tell kinds of change apart, and none is given; remove it"
        )
    for card in several:
        card.kind_index(kind)


def check_device(name: str) -> None:
    """Refuse a device that has no such name; whether it is there, only PyTorch knows."""
    from changedet.inference.devices import check_device_name

    check_device_name(name)


def check_data(root: Path, *, benchmark: str | None = None) -> None:
    """Refuse a data set that is not there, and a benchmark that is not known.

    Raises:
        DataError: If it is neither a folder nor a manifest.
        ConfigError: If there is no such benchmark.
    """
    from changedet.data.benchmarks import find_benchmark
    from changedet.data.file_names import check_data_folder

    if benchmark is not None:
        find_benchmark(benchmark)
    if not (root.is_file() and root.suffix.lower() in (".yaml", ".yml")):
        check_data_folder(root)


def check_mixture(
    request: EvaluationRequest | CalibrationRequest,
    *,
    method: str,
    kind: str | None = None,
    also: Sequence[str] = (),
) -> Path | None:
    """Read the mixture of data sets that is named as data, and refuse what does not go with it.

    Args:
        request: What is asked for.
        method: Model file or name of a baseline, as :func:`check_method` gives it.
        kind: Only the sets of this kind are used.
        also: Further settings that a mixture states for each of its sets.

    Returns:
        The mixture's file; None if it is none.

    Raises:
        ConfigError: If something was given that the mixture states for each of its sets, or the
            model knows none of its kinds of change.
        DataError: If the mixture cannot be used.
    """
    from changedet.baselines.names import is_baseline
    from changedet.data.file_names import find_mixture

    mixture = find_mixture(request.data)
    if mixture is None:
        return None
    from changedet.card import read_card
    from changedet.data.mixture_file import check_beside, read_mixture
    from changedet.evaluation.mixture_sets import sets_for

    check_beside(mixture, request, also=also)
    shown = {name: entry.kind for name, entry in read_mixture(mixture).items()}
    card = None if is_baseline(method) else read_card(method)
    sets_for(card, shown, model=method, mixture=mixture, kind=kind)
    return mixture


def check_results(out: Path, *, marker: str, overwrite: bool) -> Existing:
    """Refuse a folder whose content must not be replaced.

    Returns:
        The library's word for what may be done with earlier results.
    """
    from changedet.storage.output_folder import check_result_folder

    existing: Existing = "replace" if overwrite else "refuse"
    check_result_folder(out, marker=marker, existing=existing)
    return existing


def check_model_file(out: Path, *, overwrite: bool) -> Existing:
    """Refuse a name that no model file may have, or a file that must not be replaced."""
    from changedet.card import checked_name
    from changedet.storage.output_folder import check_result_file

    existing: Existing = "replace" if overwrite else "refuse"
    check_result_file(checked_name(out), existing=existing)
    return existing
