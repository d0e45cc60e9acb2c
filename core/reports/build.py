"""Parts that several tasks have: moments of a column, counts, histograms, the worst samples."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from core.errors import BadState
from core.reports.declare import Part
from core.reports.parts.codec import Reader
from core.reports.parts.exact_sums import ExactSums
from core.reports.parts.histogram import Histogram
from core.reports.parts.keys import keys
from core.reports.parts.worst import Worst
from core.reports.samples import Array, Samples
from core.reports.spec import Spec

EXACT_SCORES = 2**16  # distinct scores that are kept as they are
LOSS_BITS = 18  # of a loss beyond that many: 9 of its mantissa, a step of 0.2 %


def always(spec: Spec) -> bool:
    """Whatever the options are."""
    return True


def anything(found: ExactSums) -> bool:
    """Whatever it is."""
    return True


def sums(
    name: str,
    doc: str,
    size: Callable[[Spec], int],
    of: Callable[[Samples], ExactSums],
    kept: Callable[[Spec], bool] = always,
    possible: Callable[[ExactSums], bool] = ExactSums.are_weights,
) -> Part:
    """A part of `size` exact sums; `possible` says whether some that were read can be its."""

    def read(reader: Reader, spec: Spec) -> ExactSums:
        found = ExactSums.read(reader, size(spec))
        if not possible(found):
            raise BadState(f"the state's {name} cannot be: it has sums that no sample adds to")
        return found

    return Part(name, doc, lambda spec: ExactSums.zeros(size(spec)), of, read, kept)


def moments(
    name: str,
    doc: str,
    column: Callable[[Samples], Array],
    kept: Callable[[Spec], bool] = always,
    *,
    by_element: bool = False,
) -> Part:
    """The three sums that a weighted mean and its standard error need beside those of the weights: of w x, of
    w**2 x and of w**2 x**2, with x the value of `column`; `by_element`, w is the sample's weight times how many
    elements (labels, tokens) it has."""

    def weighed(samples: Samples) -> tuple[Array, Array | None]:
        return column(samples), element_weight(samples) if by_element else samples.weight

    made = sums(name, doc, lambda spec: 3, lambda samples: three_moments(*weighed(samples)), kept, anything)
    return replace(made, products=lambda samples: _three_products(*weighed(samples)))


def _three_products(column: Array, weight: Array | None) -> list[Array]:
    """w x, w**2 x and w**2 x**2."""
    values = np.asarray(column, np.float64)
    if weight is None:
        return [values, values, values * values]
    return [weight * values, weight * weight * values, weight * weight * values * values]


def three_moments(column: Array, weight: Array | None) -> ExactSums:
    """The sums of w x, of w**2 x and of w**2 x**2."""
    products = _three_products(column, weight)
    if weight is None:
        once = ExactSums.of(column, None, 1)  # of float32 in half the time
        return ExactSums.joined([once, once, ExactSums.of(products[2], None, 1)])
    return ExactSums.joined([ExactSums.of(product, None, 1) for product in products])


def clipped_loss(own: Array) -> Array:
    """-log of probabilities, clipped to [eps, 1 - eps] with eps that of their dtype."""
    eps = np.finfo(own.dtype).eps
    return np.asarray(-np.log(np.minimum(np.maximum(own, eps), 1 - eps).astype(np.float64)))


def element_weight(samples: Samples) -> Array:
    """The weight of each sample times how many elements of it count, float64."""
    elements = samples["elements"].astype(np.float64)
    return elements if samples.weight is None else samples.weight * elements


def _with_squares(weight: Array) -> ExactSums:
    return ExactSums.joined([ExactSums.of(values, None, 1) for values in (weight, weight * weight)])


def _weights(samples: Samples) -> ExactSums:
    if samples.weight is None:
        return ExactSums.of_counts(np.array([samples.size, samples.size]))
    return _with_squares(samples.weight)


WEIGHT = sums("weight", "Sums of the weights and of their squares.", lambda spec: 2, _weights)
ELEMENT_WEIGHT = sums(
    "element_weight",
    "The same of the weights times how many elements (labels, tokens) each sample has.",
    lambda spec: 2,
    lambda samples: _with_squares(element_weight(samples)),
)


def _counts(samples: Samples) -> ExactSums:
    odd = samples.size - int(np.count_nonzero(np.isfinite(samples["loss"])))
    scores = samples["score"] if "score" in samples.columns else samples["loss"]
    nan = int(np.count_nonzero(np.isnan(scores)))
    return ExactSums.of_counts(np.array([samples.size, samples.ignored, odd, nan]))


COUNTS = sums(
    "counts",
    "Samples that count, that are ignored, whose loss is not finite, whose score (for binary, else loss) is NaN.",
    lambda spec: 4,
    _counts,
    possible=ExactSums.are_counts,
)


def histogram(
    name: str,
    doc: str,
    of: Callable[[Samples], Histogram],
    *,
    channels: Callable[[Spec], int],
    bits: int,
    kept: Callable[[Spec], bool] = always,
    most: int = EXACT_SCORES,
    rows: Callable[[Spec], int] = lambda spec: 1,
    columns: Callable[[Spec], int] = lambda spec: 2**32,
) -> Part:
    """Sums of weights by the key of a score, all of it up to `most` distinct ones and then its first `bits`. Keys are
    below `columns`, and so are their rows below `rows`."""

    def empty(spec: Spec) -> Histogram:
        return Histogram.empty(channels(spec), bits, most)

    def read(reader: Reader, spec: Spec) -> Histogram:
        found = Histogram.read(reader, channels(spec), bits, most)
        if not found.within(rows(spec), columns(spec)) or not found.sums.are_weights():
            raise BadState(f"the state's {name} cannot be: it has keys or weights that no sample has")
        return found

    return Part(name, doc, empty, of, read, kept)


def _losses(samples: Samples) -> Histogram:
    losses, weight = samples["loss"], samples.weight
    if losses.dtype != np.float32:  # what is finite stays so
        most = np.finfo(np.float32).max
        losses = np.where(np.isfinite(losses), np.clip(losses, -most, most), losses).astype(np.float32)
    missing = np.isnan(losses)
    if missing.any():
        losses, weight = losses[~missing], None if weight is None else weight[~missing]
    return Histogram.of(keys(losses).astype(np.uint64), [weight], LOSS_BITS, EXACT_SCORES)


LOSSES = histogram(
    "losses",
    "The weight of the samples by their loss, which quantiles are read from.",
    _losses,
    channels=lambda spec: 1,
    bits=LOSS_BITS,
)


def worst(names: tuple[str, ...]) -> Part:
    """The samples with the largest losses, with the columns `names`."""

    def of(samples: Samples) -> Worst:
        extras: list[Any] = [samples[name] for name in names]
        return Worst.of(samples.spec.worst, samples["loss"], samples.ids.take(samples.places), extras)

    def empty(spec: Spec) -> Worst:
        return Worst(spec.worst)

    def read(reader: Reader, spec: Spec) -> Worst:
        return Worst.read(reader, spec.worst, len(names))

    return Part("worst", "The samples with the largest losses.", empty, of, read)
