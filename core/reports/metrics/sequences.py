"""Metrics of texts: means over sequences, and what a token or a byte costs."""

import math

import numpy as np

from core.reports.declare import Metric
from core.reports.references import Data, mean
from core.reports.view import Value, View, mapped, ratio


def _sequence_mean(view: View) -> Value:
    return view.mean("sequence_loss")


def _bits_per_token(view: View) -> Value:
    return mapped(view.mean("loss", "element_weight"), lambda nats: nats / math.log(2))


def _bits_per_byte(view: View) -> Value:
    return Value(ratio(float(view.sums("loss")[0]), float(view.sums("bytes")[0]) * math.log(2)))


def _reference(data: Data) -> float:
    return mean(*data.by_sequence(data.loss))


def _per_byte(data: Data) -> float:
    """Over the sequences that have a token that counts: where none is read, its bytes are not either."""
    which, first = np.unique(data.sequence, return_index=True)
    sizes = np.asarray(data.fields["bytes"])[which] * data.weight[first]
    return ratio(float((data.loss * data.weight).sum()), float(sizes.sum()) * math.log(2))


ORDER = 7
METRICS = (
    Metric(
        name="sequence_mean_cross_entropy",
        doc="Mean over the sequences of the mean negative log-probability of their tokens, in nats.",
        formula=r"\frac{\sum_s w_s \frac{1}{n_s} \sum_{i \in s} \ell_i}{\sum_s w_s}",
        low=0.0,
        high=math.inf,
        needs=("sequence_loss", "weight"),
        value=_sequence_mean,
        reference=_reference,
        examples={"tokens": 1.6705879327922863},
        source="torch.nn.functional.cross_entropy of each sequence",
    ),
    Metric(
        name="sequence_mean_perplexity",
        doc="The exponential of sequence_mean_cross_entropy.",
        formula=r"\exp\left(\frac{\sum_s w_s \frac{1}{n_s} \sum_{i \in s} \ell_i}{\sum_s w_s}\right)",
        low=1.0,
        high=math.inf,
        needs=("sequence_loss", "weight"),
        value=lambda view: mapped(_sequence_mean(view), np.exp),
        reference=lambda data: float(np.exp(_reference(data))),
        examples={"tokens": 5.31529191312237},
        source="torchmetrics.functional.text.perplexity of equally long sequences",
    ),
    Metric(
        name="bits_per_token",
        doc="The cross-entropy in bits.",
        formula=r"\frac{1}{\ln 2} \frac{\sum_i w_i \ell_i}{\sum_i w_i}",
        low=0.0,
        high=math.inf,
        needs=("loss", "element_weight"),
        value=_bits_per_token,
        reference=lambda data: data.mean(data.loss) / math.log(2),
        examples={"tokens": 2.369801801233386},
        source="Gao et al. 2020 (The Pile), section 3.1",
    ),
    Metric(
        name="bits_per_byte",
        doc="The negative log-probability of all texts, in bits, by their length in bytes.",
        formula=r"\frac{1}{\ln 2} \frac{\sum_i w_i \ell_i}{\sum_s w_s b_s}",
        low=0.0,
        high=math.inf,
        needs=("loss", "bytes"),
        value=_bits_per_byte,
        reference=_per_byte,
        examples={"tokens": 0.658278278120385},
        source="Gao et al. 2020 (The Pile), section 3.1; lm-eval's bits_per_byte",
        kept=lambda spec: spec.bytes,
    ),
)
