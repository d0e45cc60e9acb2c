"""Means of what each sample (token, label) loses, and what follows from them."""

import math
from collections.abc import Callable

import numpy as np

from core.reports.declare import Metric
from core.reports.references import Data
from core.reports.view import Value, View, mapped


def _mean(part: str) -> Callable[[View], Value]:
    """The mean over the samples, or over their elements where they have several."""
    return lambda view: view.mean(part, "element_weight" if "element_weight" in view.parts else "weight")


def _perplexity(view: View) -> Value:
    return mapped(_mean("loss")(view), np.exp)


def _clipped(data: Data) -> float:
    eps = float(np.finfo(data.fields.get("dtype", "float32")).eps)
    if data.p.ndim == 2:
        own = data.p[np.arange(len(data.targets)), data.targets]
    else:
        own = np.where(data.targets == 1, data.p, 1 - data.p)
    return data.mean(-np.log(np.clip(own, eps, 1 - eps)))


def _brier(data: Data) -> float:
    if data.p.ndim == 1:
        return data.mean((data.p - data.targets) ** 2)
    true = np.zeros_like(data.p)
    true[np.arange(len(data.targets)), data.targets] = 1
    return data.mean(((data.p - true) ** 2).sum(axis=1))


def _entropy(data: Data) -> float:
    with np.errstate(all="ignore"):
        return data.mean(-np.where(data.p == 0, 0, data.p * data.log_p).sum(axis=1))


def _labels(data: Data) -> float:
    weight = data.weight[:, None] * data.there
    return float(np.where(data.there, data.loss * weight, 0).sum() / weight.sum()) if weight.sum() else math.nan


def _z_loss(data: Data) -> float:
    with np.errstate(all="ignore"):
        top = data.scores.max(axis=1, initial=-np.inf)
        return data.mean((top + np.log(np.exp(data.scores - top[:, None]).sum(axis=1))) ** 2)


ORDER = 1
METRICS = (
    Metric(
        name="cross_entropy",
        doc="Mean negative log-probability of the true class, in nats; over all tokens, for tokens.",
        formula=r"\frac{\sum_i w_i \ell_i}{\sum_i w_i}, \qquad \ell_i = -\ln p_{i,t_i}",
        low=0.0,
        high=math.inf,
        needs=("loss", "weight", "element_weight"),
        value=_mean("loss"),
        reference=lambda data: data.mean(data.loss),
        examples={"multiclass": 1.6426214370108014, "tokens": 1.6426214370108014},
        source="torch.nn.functional.cross_entropy",
    ),
    Metric(
        name="binary_cross_entropy",
        doc="Mean negative log-probability of the true outcome, in nats; over all labels that count, for multilabel.",
        formula=r"-\frac{\sum_i w_i (y_i \ln p_i + (1-y_i) \ln(1-p_i))}{\sum_i w_i}",
        low=0.0,
        high=math.inf,
        needs=("loss", "weight", "element_weight"),
        value=_mean("loss"),
        reference=lambda data: data.mean(data.loss) if data.p.ndim == 1 else _labels(data),
        examples={"binary": 0.458365451002229, "multilabel": 0.5970784983469223},
        source="torch.nn.functional.binary_cross_entropy_with_logits",
    ),
    Metric(
        name="perplexity",
        doc="The exponential of the cross-entropy. Not the mean of each sample's own perplexity.",
        formula=r"\exp\left(\frac{\sum_i w_i \ell_i}{\sum_i w_i}\right)",
        low=1.0,
        high=math.inf,
        needs=("loss", "weight", "element_weight"),
        value=_perplexity,
        reference=lambda data: float(np.exp(data.mean(data.loss))),
        examples={"multiclass": 5.168701192866156, "tokens": 5.168701192866156},
        source="torchmetrics.functional.text.perplexity",
    ),
    Metric(
        name="log_loss",
        doc="Cross-entropy with the probability of the truth clipped to [eps, 1 - eps], eps that of the dtype.",
        formula=r"-\frac{\sum_i w_i \ln \min(\max(p_{i,t_i}, \epsilon), 1-\epsilon)}{\sum_i w_i}",
        low=0.0,
        high=math.inf,
        needs=("log_loss", "weight"),
        value=_mean("log_loss"),
        reference=_clipped,
        examples={"multiclass": 1.6426214370108014, "binary": 0.45836545100222903},
        source="sklearn.metrics.log_loss",
    ),
    Metric(
        name="brier_score",
        doc="Mean squared difference of probabilities and truth, summed over the classes.",
        formula=r"\frac{\sum_i w_i \sum_c (p_{i,c} - [c = t_i])^2}{\sum_i w_i}",
        low=0.0,
        high=2.0,
        needs=("brier_score", "weight"),
        value=_mean("brier_score"),
        reference=_brier,
        examples={"multiclass": 0.8539619596343615},
        source="sklearn.metrics.brier_score_loss",
    ),
    Metric(
        name="brier_score",
        doc="Mean squared difference of the probability of the positive class and the truth.",
        formula=r"\frac{\sum_i w_i (p_i - y_i)^2}{\sum_i w_i}",
        low=0.0,
        high=1.0,
        needs=("brier_score", "weight"),
        value=_mean("brier_score"),
        reference=_brier,
        examples={"binary": 0.15600479405380205},
        source="sklearn.metrics.brier_score_loss",
    ),
    Metric(
        name="entropy",
        doc="Mean entropy of the predicted distributions, in nats: how unsure the model says it is.",
        formula=r"-\frac{\sum_i w_i \sum_c p_{i,c} \ln p_{i,c}}{\sum_i w_i}",
        low=0.0,
        high=math.inf,
        needs=("entropy", "weight", "element_weight"),
        value=_mean("entropy"),
        reference=_entropy,
        examples={"multiclass": 0.7179004993752109, "tokens": 0.7179004993752109},
        source="scipy.stats.entropy",
    ),
    Metric(
        name="z_loss",
        doc="Mean squared log of the normaliser of the logits, without a coefficient. Only of logits.",
        formula=r"\frac{\sum_i w_i (\ln \sum_c e^{x_{i,c}})^2}{\sum_i w_i}",
        low=0.0,
        high=math.inf,
        needs=("z_loss", "element_weight"),
        value=_mean("z_loss"),
        reference=_z_loss,
        examples={"tokens": 4.432171504494295},
        source="Chowdhery et al. 2022 (PaLM), section 5",
        kept=lambda spec: spec.scores == "logits",
    ),
)
