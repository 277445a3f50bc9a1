"""Temperature and threshold of a kind of change that several data sets label. No torch."""

from collections.abc import Sequence

from changedet.kinds import KindOfChange
from changedet.metrics.calibration import fit_temperature, recalibrated
from changedet.metrics.histogram import ScoreHistogram
from changedet.metrics.protocol import choose_shared_threshold


def settle_kind(name: str, histograms: Sequence[ScoreHistogram]) -> KindOfChange:
    """Settle the temperature of a kind of change, and then the threshold of its calibrated scores.

    Each set counts the same, however many images it has, see :func:`.calibration.fit_temperature`
    and :func:`.protocol.choose_shared_threshold`.

    Args:
        name: Of the kind.
        histograms: Counts of the sets that label it, of scores as the network gives them
            (temperature 1).

    Returns:
        The kind; without temperature and threshold if no set has a changed pixel.

    Raises:
        DataError: If no pixel is unchanged.
    """
    if not any(hist.changed.any() for hist in histograms):
        return KindOfChange(name)
    temperature = fit_temperature(histograms)
    calibrated = [recalibrated(hist, temperature) for hist in histograms]
    return KindOfChange(name, choose_shared_threshold(calibrated), temperature=temperature)
