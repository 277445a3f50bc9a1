"""What a run measures once on its data: label encoding, class share, normalisation statistics."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

from changedet.data.domain import measure_gsd, measure_sets, measure_values, warn_of_unlike_lengths
from changedet.data.index import PairIndex
from changedet.data.labelled import LabelledPair
from changedet.data.labels.scan import LabelEncoding, scan_labels
from changedet.data.mixture import MixtureSet
from changedet.data.rasters.provenance import difference, record_blocks
from changedet.data.statistics import measure_normalisation
from changedet.data.tools.leaks import Leak, describe_leaks, find_leaks
from changedet.domain import MOST_ENLARGED, Domain, describe_range, shared_gsd, zoom_to
from changedet.errors import ConfigError, DataError
from changedet.losses.registry import loss_row
from changedet.storage.results import PlainJson, Record, Results
from changedet.training.config import ExperimentConfig, trains_on_validation
from changedet.training.teacher_files import TeacherFile
from changedet.types import Normalisation, PixelType

_RGB = 3


class DatasetStatistics(Record):
    """What was measured on the data once; a resumed run does not measure it again.

    Attributes:
        data: Folder of the data set, or manifest of scenes.
        data_name: Name of the data set.
        label: What the values of its labels mean.
        changed_share: Share of the training pixels that have changed, in [0, 1].
        normalisation: How stored values become network input.
        pixel_type: Kind of the stored values.
        source_bands: Bands of the rasters, counted from 1, if they were chosen.
        source_bands_after: Those of the second date where they differ.
        blocks: Blocks of scenes that train and validate; null for pairs of files.
        domain: What the training images are like; null for runs of earlier versions.
        leaks: Pairs of other splits that were found among the training pairs.
        is_mixture: Whether several data sets were joined, whose pairs name a kind of change.
        terms: Under which terms the images may be used, in sentences.
    """

    data: Path
    data_name: str
    label: LabelEncoding
    changed_share: float | None
    normalisation: Normalisation
    pixel_type: PixelType = "uint8"
    source_bands: tuple[int, ...] | None = None
    source_bands_after: tuple[int, ...] | None = None
    blocks: PlainJson | None = None
    domain: Domain | None = None
    leaks: tuple[Leak, ...] = ()
    is_mixture: bool = False
    terms: tuple[str, ...] = ()

    @property
    def gsd_m(self) -> float | None:
        """Ground sample distance in metres that all images are treated as having, if it is known.

        The sets of a mixture have their own.
        """
        known = None if self.domain is None else self.domain.gsd_m
        return None if known is None or self.is_mixture else shared_gsd(known)

    def zoom_of(
        self, member: MixtureSet | None, working_gsd_m: tuple[float, float] | None
    ) -> float:
        """Tell how the images of a set of a mixture, or of the one data set, are resampled.

        Args:
            member: The set; None: there is one data set.
            working_gsd_m: Range of ground sample distances that images are brought to, in metres.
        """
        return zoom_to(working_gsd_m, self.gsd_m if member is None else member.gsd_m)


class TrainingRecord(DatasetStatistics, Results):
    """A training run, besides its settings: what was measured on the data, and with what it ran.

    Attributes:
        package_version: Version of changedet that began the run.
        torch_version: Version of PyTorch that began it.
        threads: Threads that PyTorch computed with on the CPU.
        precision: Numbers that the network trains with, in words; null: not recorded.
        teachers: Model files that teach it; empty for none.
        processes: Processes that began it together; it may go on with another number.
        job: Name of the job of torchrun that began it, or went on with it; null without one.
        launchers: The torchruns that did so, one on each machine.
    """

    kind: Literal["training"] = "training"
    package_version: str
    torch_version: str
    threads: int
    precision: str | None = None
    teachers: tuple[TeacherFile, ...] = ()
    processes: int = 1
    job: str | None = None
    launchers: tuple[str, ...] = ()


def measure_dataset(
    root: Path, index: PairIndex, config: ExperimentConfig, *, say: Callable[[str], None]
) -> DatasetStatistics:
    """Measure label encoding, class share and normalisation statistics, and say what was found.

    Raises:
        DataError: If the labels cannot be understood, or the class weights not be measured.
    """
    pairs = index.split(config.data.train_split)
    scan = scan_labels(
        index.pairs,
        ignore_value=config.data.ignore_value,
        changed_values=config.data.changed_values,
    )
    if index.mixture is None:
        say(f"labels: {scan.encoding.describe()}")
    share = scan.share_of(pairs)
    say(
        f"{len(pairs)} training pairs, {100 * share:.3g} % of the pixels changed; "
        f"{len(index.split(config.data.val_split))} validation pairs"
    )
    if not 0.0 < share < 1.0:
        _accept_one_class(config, "changed" if share == 0.0 else "unchanged", say=say)
    if scan.share_of(index.split(config.data.val_split)) == 0.0:
        raise DataError(
            f"the split {config.data.val_split!r} has no changed pixel, so no model can be "
            "selected on it; put pairs with changes into it, or choose another split with "
            "`data.val_split=NAME`"
        )
    for note in _size_notes(config, pairs[0]):
        say(note)
    if trains_on_validation(config.data):
        say(
            f"no split is left to choose anything on: {config.data.val_split!r} is trained on "
            f"({config.data.train_split}), so its figures are of training images, the last epoch "
            "is kept, and the model gets no threshold"
        )
    # Settles what the images must be, before all of them are read for leaks.
    normalisation = _normalisation(pairs, index, config)
    leaks = find_leaks(
        index.splits,
        train_split=config.data.train_split,
        encoding=scan.encoding,
        channels=config.model.in_channels,
    )
    numbers = {split: len(members) for split, members in index.splits.items()}
    for sentence in describe_leaks(leaks, pairs=numbers):
        say(f"WARNING: {sentence}")
    return DatasetStatistics(
        data=root.resolve(),
        data_name=index.name,
        label=scan.encoding,
        changed_share=share,
        normalisation=normalisation,
        pixel_type=index.pixel_type,
        blocks=_blocks(index, config),
        leaks=leaks,
        source_bands=index.bands,
        source_bands_after=index.bands_after,
        domain=_domain(pairs, index, config, say=say),
        is_mixture=index.mixture is not None,
        terms=_terms(index),
    )


def _domain(
    pairs: Sequence[LabelledPair],
    index: PairIndex,
    config: ExperimentConfig,
    *,
    say: Callable[[str], None],
) -> Domain:
    """Measure what the images are like; what cannot be measured can be set."""
    data = config.data
    gsd_m = measure_gsd(pairs) if data.gsd_m is None else (min(data.gsd_m), max(data.gsd_m))
    own_m = None if gsd_m is None else shared_gsd(gsd_m)
    change, region = data.change_kind, data.region
    if index.mixture is not None:
        lengths = [one.gsd_m for one in index.mixture.sets if one.gsd_m is not None]
        if data.gsd_m is None and lengths:
            gsd_m = min(lengths), max(lengths)
        change = change or f"change of these kinds: {', '.join(index.mixture.kinds)}"
        region = region or "; ".join(dict.fromkeys(index.mixture.regions.values())) or None
    values = measure_values(pairs, channels=config.model.in_channels)
    held_out = () if trains_on_validation(data) else index.split(data.val_split)
    domain = Domain(
        gsd_m=gsd_m,
        change=change,
        region=region,
        values=values,
        is_generated=data.generated,
        sets=measure_sets(
            index.name,
            pairs,
            held_out,
            units=values,
            gsd_m=own_m,
            working_gsd_m=data.working_gsd_m,
        ),
    )
    if gsd_m is not None and data.working_gsd_m is not None and index.mixture is None:
        warn_of_unlike_lengths(gsd_m, say=say)
    for note in _resampling_notes(index, data.working_gsd_m, own_m=own_m):
        say(note)
    if domain.gsd_m is None:
        say(
            "the ground sample distance of the images is not known; set `data.gsd_m` (metres), so "
            "that predictions on images of another one are warned of"
        )
    return domain


def _resampling_notes(
    index: PairIndex, working_m: tuple[float, float] | None, *, own_m: float | None
) -> Iterator[str]:
    """Say how images are resampled, in training and whenever the model is used."""
    if working_m is None:
        return
    sets = () if index.mixture is None else index.mixture.sets
    lengths = {one.name: one.gsd_m for one in sets} or {index.name: own_m}
    setting = "gsd_m of the set" if sets else "`data.gsd_m`"
    for name, length in lengths.items():
        if length is None:
            yield (
                f"warning: {name}: the ground sample distance is not known, so the images are not "
                f"resampled to the {describe_range(working_m)} m of `data.working_gsd_m`; set "
                f"{setting}, in metres"
            )
            continue
        factor = zoom_to(working_m, length)
        if factor == 1.0:
            continue
        done = "shrunk" if factor < 1.0 else "enlarged"
        seen_m = length / factor
        yield (
            f"{name}: images with pixels of {length:.3g} m are {done} to {seen_m:.3g} m "
            f"(x {factor:.3g})"
        )
        if factor == MOST_ENLARGED and seen_m > working_m[1]:
            yield (
                f"warning: {name}: images are enlarged by {MOST_ENLARGED:g} at most, so these stay "
                f"coarser than the {describe_range(working_m)} m of `data.working_gsd_m`; leave "
                "them out, or widen the range"
            )


def _terms(index: PairIndex) -> tuple[str, ...]:
    if index.mixture is None:
        return ()
    return tuple(f"{name}: {terms}" for name, terms in index.mixture.terms.items())


def _accept_one_class(
    config: ExperimentConfig, missing: str, *, say: Callable[[str], None]
) -> None:
    """Refuse training labels of one class where its weights are needed, else warn."""
    lack = f"the training labels have no {missing} pixel"
    terms = [name for name, weight in config.loss.terms.items() if weight > 0]
    is_balanced = config.loss.weighting == "weighted" and any(
        loss_row(name).weighs_classes for name in terms
    )
    if is_balanced and config.loss.changed_share is None:
        raise DataError(
            f"{lack}, so the class weights cannot be measured; check the labels ('changedet data "
            "check'), or set the share of changed pixels, for example `loss.changed_share=0.1`"
        )
    say(f"WARNING: {lack}, so no model can learn that class; check them ('changedet data check')")


def _size_notes(config: ExperimentConfig, pair: LabelledPair) -> list[str]:
    """Say what crops and zoom cannot do on images of such a size."""
    # PyTorch comes with it.
    from changedet.inference.views import views

    height, width = pair.size()
    crop_px, scale = config.data.crop_px, config.augmentation.scale
    furthest = crop_px / min(height, width)
    notes = []
    if furthest > 1.0:
        notes.append(
            f"data.crop_px is {crop_px}, but images such as {pair.source} are {width}x{height}: "
            "they are padded to that size by mirroring, which costs time and memory"
        )
    elif scale is not None and scale[0] < furthest:
        notes.append(
            f"augmentation.scale zooms out to {scale[0]:g}, but with crops of {crop_px} px images "
            f"such as {pair.source}, {width}x{height}, are seen whole at {furthest:g}; smaller "
            "crops (data.crop_px) zoom out further"
        )
    reached = 1.0 if scale is None else min(1.0, max(scale[0], furthest))
    shown = min(view.scale for view in views(config.data.test_time))
    if shown < reached:
        notes.append(
            f"data.test_time={config.data.test_time} scores images at {shown:g} of their size, but "
            f"training shows none below {reached:g}; use smaller crops (data.crop_px), or other "
            "views (`data.test_time=mirror`)"
        )
    return notes


def _normalisation(
    pairs: Sequence[LabelledPair], index: PairIndex, config: ExperimentConfig
) -> Normalisation:
    scale = config.data.normalisation
    if scale != "encoder":
        return measure_normalisation(
            pairs, bands=config.data.bands, scale=scale, channels=config.model.in_channels
        )
    if config.model.in_channels != _RGB or index.pixel_type != "uint8":
        raise ConfigError(
            f"data.normalisation=encoder is for 8-bit images of {_RGB} channels, got "
            f"{index.pixel_type} of {config.model.in_channels}; use mean_std"
        )
    # Asks timm, and brings PyTorch along.
    from changedet.models.weights import encoder_normalisation

    return encoder_normalisation(config.model.encoder, bands=config.data.bands)


def check_scenes_unchanged(
    facts: DatasetStatistics, index: PairIndex, config: ExperimentConfig
) -> None:
    """Refuse to resume with other blocks or bands of scenes than the run began with.

    Runs from before blocks were stored are accepted.

    Raises:
        ConfigError: If they differ.
    """
    if facts.blocks is None:
        return
    now = _blocks(index, config)
    if now is None or index.scenes is None:
        raise ConfigError(
            f"this run started on scenes, but {index.root} has pairs of files; give the scenes, or "
            "start a new run with `init`"
        )
    how = difference(facts.blocks, now)
    if how is not None:
        raise ConfigError(
            f"the scenes are cut or split differently than when this run started ({how}); restore "
            f"{index.root}, or start a new run with `init`"
        )
    then = (facts.source_bands, facts.source_bands_after)
    bands = (index.scenes.bands, index.scenes.bands_after)
    if then != bands:
        raise ConfigError(
            f"the bands of the scenes have changed since this run started ({_shown(then)} then, "
            f"{_shown(bands)} now); restore {index.root}, or start a new run with `init`"
        )


def _blocks(index: PairIndex, config: ExperimentConfig) -> dict[str, Any] | None:
    if index.scenes is None:
        return None
    return record_blocks(
        index.split(config.data.train_split),
        index.split(config.data.val_split),
        gap_px=index.scenes.gap_px,
    )


def _shown(bands: tuple[tuple[int, ...] | None, tuple[int, ...] | None]) -> str:
    before, after = bands
    if before is None:
        return "all"
    text = ", ".join(map(str, before))
    return text if after is None else f"{text} and for after {', '.join(map(str, after))}"
