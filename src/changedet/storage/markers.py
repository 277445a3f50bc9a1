"""Names of the files that tell a finished result of each kind."""

from typing import Final

#: Of a prediction.
SUMMARY: Final = "summary.json"
#: Of an evaluation.
METRICS: Final = "metrics.json"
#: Of an accuracy benchmark.
ACCURACY: Final = "accuracy.json"
#: Of a curve over ground sample distances.
GSD_CURVE: Final = "gsd.json"
#: Of a measurement of speed.
SPEED: Final = "speed.json"
#: Of an ablation.
ABLATION: Final = "ablation.json"
