"""The confusion matrix, kept sparse: the weight of each pair of a true and a predicted class that there is."""

import numpy as np

from core.reports.build import histogram
from core.reports.parts.histogram import Histogram
from core.reports.samples import Samples

PAIRS = 2**31  # more than there are: every pair is kept
KEY_BITS = 32


def _of(samples: Samples) -> Histogram:
    pairs = samples["target"].astype(np.uint64) << np.uint64(32) | samples["predicted"].astype(np.uint64)
    return Histogram.of(pairs, [samples.weight], KEY_BITS, PAIRS)


CONFUSIONS = histogram(
    "confusions",
    "The weight of each pair of a true and a predicted class.",
    _of,
    channels=lambda spec: 1,
    bits=KEY_BITS,
    kept=lambda spec: spec.confusion,
    most=PAIRS,
    rows=lambda spec: spec.classes,
    columns=lambda spec: spec.classes,
)
