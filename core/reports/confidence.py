"""What calibration is read from: by bins of equal width, or by the key of the confidence for bins of equal weight."""

import numpy as np

from core.reports.build import EXACT_SCORES, histogram, sums
from core.reports.calibration import bin_of
from core.reports.declare import Part
from core.reports.parts.exact_sums import ExactSums
from core.reports.parts.histogram import Histogram
from core.reports.parts.keys import probability_keys
from core.reports.samples import Array, Samples

BITS = 18


def parts(confidence: str, right: str) -> tuple[Part, Part]:
    """The two parts, one for each binning, of the columns `confidence` and `right` (or 0 and 1)."""

    def widths(samples: Samples) -> ExactSums:
        size, there = samples.spec.bins, None
        place, hit = bin_of(samples[confidence], size), samples[right].astype(bool)
        if samples.size and place.min() < 0:
            there = place >= 0
            hit &= there
        counts = samples.count_by(size, (place, there), (place, hit))
        total = samples.total_by(place, samples[confidence].astype(np.float64), size, there)
        return ExactSums.joined([counts.part(0, size), total, counts.part(size, 2 * size)])  # in the order of states

    def masses(samples: Samples) -> Histogram:
        values = samples[confidence]
        there = ~np.isnan(values)
        values, hit = values[there].astype(np.float32), samples[right][there].astype(bool)
        found = probability_keys(np.clip(values, 0, 1)).astype(np.uint64)
        if samples.weight is None:
            contributions: list[Array | None] = [None, values.astype(np.float64), hit]
        else:
            weight = samples.weight[there]
            contributions = [weight, weight * values, np.where(hit, weight, 0.0)]
        return Histogram.of(found, contributions, BITS, EXACT_SCORES)

    doc = "The weight, the sum of confidences and the weight of what was right, by "
    return (
        sums("calibration", doc + "bin.", lambda spec: 3 * spec.bins, widths, lambda spec: spec.binning == "width"),
        histogram(
            "confidences",
            doc + "confidence.",
            masses,
            channels=lambda spec: 3,
            bits=BITS,
            kept=lambda spec: spec.binning == "mass",
        ),
    )
