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
        place, hit = bin_of(samples[confidence], samples.spec.bins), samples[right].astype(bool)
        size, values = samples.spec.bins, samples[confidence].astype(np.float64)
        if not samples.size or place.min() >= 0:
            there = None
        else:
            there = place >= 0
            hit &= there
        return ExactSums.joined(
            [
                samples.count_by(place, size, where=there),
                samples.count_by(place, size, values, where=there),
                samples.count_by(place, size, where=hit),
            ]
        )

    def masses(samples: Samples) -> Histogram:
        values = samples[confidence]
        there = ~np.isnan(values)
        values, hit = values[there].astype(np.float32), samples[right][there].astype(bool)
        found = probability_keys(np.clip(values, 0, 1)).astype(np.uint64)
        if samples.weight is None:
            contributions: list[Array] = [there[there], values.astype(np.float64), hit]
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
