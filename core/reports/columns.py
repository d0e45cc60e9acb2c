"""The columns that reports are made of: per-sample values that one pass over the scores gives, by the name of the task.

Each is a union of three measures, one for each kind of scores.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

from core.declare import Dims, Example, Kind, Measure, Tensor
from core.inputs import CLASS_AXIS, CLASS_TARGETS, IGNORE_INDEX
from core.reports import class_columns, class_reference, label_columns
from core.rules import Between, Distribution, IndexOf, LogOfProbability, Rule

MULTICLASS = (
    *("loss", "predicted", "confidence", "target_probability", "rank", "margin", "entropy", "squared_probability"),
)
TOKENS = ("loss", "predicted", "target_probability", "rank", "entropy", "log_normalizer")
BINARY = ("loss", "probability")
MULTILABEL = ("loss", "labels", "positives", "predicted_positives", "true_positives")

TOLERANCE = 1e-3  # of the sum of probabilities that were rounded to float16
LOG_TOLERANCE = 1e-4

SCORES: dict[str, tuple[str, tuple[Rule, ...]]] = {
    "logits": ("Unnormalised scores, of which the probabilities are made.", ()),
    "log_probabilities": (
        "Natural logarithms of probabilities, used as they are.",
        (LogOfProbability(LOG_TOLERANCE),),
    ),
    "probabilities": ("Probabilities, used as they are.", (Between(0.0, 1.0),)),
}
BINARY_TARGETS = Tensor(
    "targets", Kind.INDEX, (...,), "1 for true, 0 for false.", rules=(IndexOf("labels", unless="ignore_index", size=2),)
)
THRESHOLD = Tensor(
    "threshold",
    Kind.FLOAT,
    (),
    "The least probability at which a label is predicted; compared with the scores as they are given.",
    rules=(Between(0.0, 1.0),),
    default=0.5,
)


def _with_scores(function: Callable[..., Any], kind: str) -> Callable[..., Any]:
    """`function` of scores of `kind`, which come under that name."""

    def renamed(*op: Any, **given: Any) -> Any:
        return function(*op, kind=kind, scores=given.pop(kind), **given)

    return renamed


def _union(task: Measure, dims: Dims, examples: dict[str, Example]) -> Measure:
    """What `task` says of scores of any kind, and its alternatives for each; its inputs are those beside the scores."""

    def of(kind: str) -> Measure:
        meaning, rules = SCORES[kind]
        if "classes" in dims and kind == "probabilities":
            rules = (*rules, Distribution(TOLERANCE))
        return replace(
            task,
            name=f"{task.name}_{kind}",
            inputs=(Tensor(kind, Kind.FLOAT, dims, meaning, rules=rules), *task.inputs),
            graph=_with_scores(task.graph, kind),
            reference=_with_scores(task.reference, kind),
            examples=(examples[kind],),
            mended=task.mended and kind != "probabilities",  # where NaN is refused
        )

    alternatives = tuple(of(kind) for kind in SCORES)
    mains = tuple(replace(one.main, one_of=True) for one in alternatives)
    every = (*mains, *task.inputs)
    return replace(task, inputs=every, examples=tuple(examples.values()), mended=False, alternatives=alternatives)


HALF, QUARTER = -0.6931471805599453, -1.3862943611198906  # log(1/2), log(1/4)
LOGITS = (0.2413112966571511, 1.001942848229244)

MULTICLASS_DOC = """What a report says of each sample that belongs to one of several classes, in nats and probabilities.

    loss = -log p[t]                        predicted = the class of the largest score
    confidence = p[predicted]               target_probability = p[t]
    rank = how many classes come before t   margin = p[t] - the largest p of the other classes
    entropy = -sum of p log p               squared_probability = sum of p^2

with p = softmax(logits[i]), exp(log_probabilities[i]) or probabilities[i], t = targets[i], and classes in the order of
falling scores, of equal ones the lower index first. NaN is the largest score, and makes every float NaN. A sample whose
target is ignore_index has 0 in every float, and -1 as predicted and rank.

Source: torch.nn.functional.cross_entropy; numpy.argmax for the order.
"""
TOKENS_DOC = """What a report says of each token of a batch of sequences, in nats and probabilities.

    loss = -log p[t]           predicted = the class of the largest score
    target_probability = p[t]  rank = how many classes come before t
    entropy = -sum of p log p  log_normalizer = log(sum of exp(logits))

with p = softmax(logits[i, j]), exp(log_probabilities[i, j]) or probabilities[i, j], t = targets[i, j], and classes in
the order of falling scores, of equal ones the lower index first; log_normalizer is 0 where no logits are given. NaN is
the largest score, and makes every float NaN. A token whose target is ignore_index has 0 in every float, and -1 as
predicted and rank.

Source: torch.nn.functional.cross_entropy; numpy.argmax for the order.
"""
BINARY_DOC = """What a report says of each element that is true or false, in nats and probabilities.

    loss = -(t log p + (1 - t) log(1 - p))  probability = p

with p = sigmoid(logits), exp(log_probabilities) or probabilities, and t = targets. The logarithms of probabilities that
are given are cut off at -100. An element whose target is ignore_index has 0 in both.

Source: torch.nn.functional.binary_cross_entropy.
"""
MULTILABEL_DOC = """What a report says of each sample with several labels, each true or false.

    loss = the mean of -(t log p + (1 - t) log(1 - p)) over the labels that are kept, in nats
    labels, positives, predicted_positives, true_positives = how many are kept, true, predicted, and both

with p = sigmoid(logits[i]), exp(log_probabilities[i]) or probabilities[i], and t = targets[i]. The logarithms of
probabilities that are given are cut off at -100. A label is predicted where its score is not below log(u / (1 - u)),
log u or u, with u = threshold, which is compared in float64; NaN is the largest score. Labels whose target is
ignore_index are not kept; a sample without any has 0 everywhere, and counts as ignored.

Source: torch.nn.functional.binary_cross_entropy.
"""
CLASSES_FORMULA = r"\ell_i = -\log p_{i,t_i}, \qquad H_i = -\sum_c p_{i,c} \log p_{i,c}"
LABELS_FORMULA = r"\ell = -\left( t \log p + (1-t) \log (1-p) \right)"


def _examples(**given: tuple[Any, Any, tuple[float, ...]]) -> dict[str, Example]:
    """A worked example for each kind of scores, of scores, targets and losses."""
    return {
        kind: Example(
            kind.replace("_", " ").capitalize(), {kind: scores, "targets": targets}, sum(losses) / len(losses), losses
        )
        for kind, (scores, targets, losses) in given.items()
    }


COLUMNS: dict[str, Measure] = {
    one.name: one
    for one in (
        _union(
            Measure(
                name="multiclass",
                doc=MULTICLASS_DOC,
                formula=CLASSES_FORMULA,
                source="torch.nn.functional.cross_entropy",
                inputs=(replace(CLASS_TARGETS, dims=("batch",)), IGNORE_INDEX),
                graph=partial(class_columns.graph, outputs=MULTICLASS),
                reference=partial(class_reference.reference, outputs=MULTICLASS),
                examples=(),
                outputs=MULTICLASS,
                indices=frozenset({"predicted", "rank"}),
                no_index=-1,
                mended=True,
                choices=(),
            ),
            ("batch", "classes"),
            _examples(
                logits=([[2.0, 0.5, -1.0], [0.1, 0.2, 0.3]], [0, 2], LOGITS),
                log_probabilities=([[HALF, QUARTER, QUARTER]], [0], (-HALF,)),
                probabilities=([[0.5, 0.25, 0.25]], [1], (-QUARTER,)),
            ),
        ),
        _union(
            Measure(
                name="tokens",
                doc=TOKENS_DOC,
                formula=CLASSES_FORMULA,
                source="torch.nn.functional.cross_entropy",
                inputs=(replace(CLASS_TARGETS, dims=("batch", "tokens")), IGNORE_INDEX),
                graph=partial(class_columns.graph, outputs=TOKENS),
                reference=partial(class_reference.reference, outputs=TOKENS),
                examples=(),
                outputs=TOKENS,
                indices=frozenset({"predicted", "rank"}),
                no_index=-1,
                mended=True,
                choices=(replace(CLASS_AXIS, default=-1, doc="The axis of the classes."),),
            ),
            ("batch", "tokens", "classes"),
            _examples(
                logits=([[[2.0, 0.5, -1.0], [0.1, 0.2, 0.3]]], [[0, 2]], LOGITS),
                log_probabilities=([[[HALF, QUARTER, QUARTER]]], [[0]], (-HALF,)),
                probabilities=([[[0.5, 0.25, 0.25]]], [[1]], (-QUARTER,)),
            ),
        ),
        _union(
            Measure(
                name="binary",
                doc=BINARY_DOC,
                formula=LABELS_FORMULA,
                source="torch.nn.functional.binary_cross_entropy",
                inputs=(BINARY_TARGETS, IGNORE_INDEX),
                graph=label_columns.binary_graph,
                reference=label_columns.binary_reference,
                examples=(),
                outputs=BINARY,
                choices=(),
            ),
            (...,),
            _examples(
                logits=([0.0, 2.0], [1, 0], (-HALF, 2.1269280110429727)),
                log_probabilities=([HALF, QUARTER], [1, 0], (-HALF, 0.2876820724517809)),
                probabilities=([0.5, 0.25], [0, 1], (-HALF, -QUARTER)),
            ),
        ),
        _union(
            Measure(
                name="multilabel",
                doc=MULTILABEL_DOC,
                formula=LABELS_FORMULA,
                source="torch.nn.functional.binary_cross_entropy",
                inputs=(replace(BINARY_TARGETS, dims=("batch", "labels")), IGNORE_INDEX, THRESHOLD),
                graph=label_columns.multilabel_graph,
                reference=label_columns.multilabel_reference,
                examples=(),
                outputs=MULTILABEL,
                indices=frozenset(MULTILABEL[1:]),
                choices=(),
            ),
            ("batch", "labels"),
            _examples(
                logits=([[0.0, 2.0]], [[1, 0]], (1.410037595801459,)),
                log_probabilities=([[HALF, QUARTER]], [[1, 1]], (1.0397207708399179,)),
                probabilities=([[0.5, 0.25]], [[1, -100]], (-HALF,)),
            ),
        ),
    )
}
