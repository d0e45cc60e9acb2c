"""Whether probabilities mean what they say: by bins of the confidence, its mean beside how often it was right."""

from collections.abc import Callable

import numpy as np

from core.reports.calibration import bin_of, errors, mass_bins
from core.reports.declare import Metric
from core.reports.references import Data
from core.reports.view import Value, View
from core.rules import Array


def bins(view: View) -> tuple[Array, Array, Array]:
    """The weight, the sum of confidences and that of what was right, by bin."""
    return view.once("bins", _bins)


def _bins(view: View) -> tuple[Array, Array, Array]:
    if view.spec.binning == "width":
        weight, confidence, right = view.table("calibration", 3)
        return weight, confidence, right
    histogram = view.parts["confidences"]
    weight, confidence, right = (histogram.values(channel) for channel in range(3))
    return mass_bins(weight, confidence, right, view.spec.bins)


def _value(place: int) -> Callable[[View], Value]:
    return lambda view: Value(view.once("errors", lambda view: errors(*bins(view)))[place])


def _gaps(data: Data) -> tuple[Array, Array]:
    """The share of each bin that is not empty, and how far its confidence is from what was right."""
    if data.p.ndim == 2:
        confidence, right = data.p.max(axis=1, initial=0), data.predicted == data.targets
    else:
        confidence, right = data.p, data.targets == 1
    if data.fields.get("binning", "width") == "width":
        place = bin_of(confidence, data.fields.get("bins", 15))
    else:
        below = np.array([data.weight[confidence < own].sum() for own in confidence])
        own = np.array([data.weight[confidence == own].sum() for own in confidence])
        count = data.fields.get("bins", 15)
        place = np.minimum(count - 1, np.floor(count * (below + own / 2) / data.weight.sum()))
    found = []
    for one in np.unique(place):
        weight = np.where(place == one, data.weight, 0)
        if weight.sum() > 0:
            found.append((weight.sum(), abs(((confidence - right) * weight).sum() / weight.sum())))
    shares, gaps = np.array(found).reshape(-1, 2).T
    return shares / shares.sum(), gaps


def _reference(reduce: Callable[[Array, Array], float]) -> Callable[[Data], float]:
    def reference(data: Data) -> float:
        if not data.weight.sum() > 0:
            return float("nan")
        return float(reduce(*_gaps(data)))

    return reference


_SOURCE = "Guo et al. 2017; torchmetrics' calibration_error, but for confidences on the edges of bins"
ORDER = 5
METRICS = (
    Metric(
        name="ece",
        doc="Expected calibration error: mean gap between confidence and accuracy (for binary: the probability and the"
        " share of positives) over the bins, by their weight.",
        formula=r"\sum_b \frac{n_b}{N} |\operatorname{acc}_b - \operatorname{conf}_b|",
        low=0.0,
        high=1.0,
        needs=("calibration", "confidences"),
        value=_value(0),
        reference=_reference(lambda shares, gaps: (shares * gaps).sum()),
        examples={"multiclass": 0.4971917410170805, "binary": 0.14561076914390056},
        source=_SOURCE,
    ),
    Metric(
        name="mce",
        doc="Maximum calibration error: the largest gap of any bin.",
        formula=r"\max_b |\operatorname{acc}_b - \operatorname{conf}_b|",
        low=0.0,
        high=1.0,
        needs=("calibration", "confidences"),
        value=_value(1),
        reference=_reference(lambda shares, gaps: gaps.max()),
        examples={"multiclass": 0.9362395518765058},
        source=_SOURCE,
    ),
    Metric(
        name="rmsce",
        doc="Root mean square calibration error over the bins, by their weight.",
        formula=r"\sqrt{\sum_b \frac{n_b}{N} (\operatorname{acc}_b - \operatorname{conf}_b)^2}",
        low=0.0,
        high=1.0,
        needs=("calibration", "confidences"),
        value=_value(2),
        reference=_reference(lambda shares, gaps: np.sqrt((shares * gaps**2).sum())),
        examples={"multiclass": 0.561951766495417},
        source=_SOURCE,
    ),
)
