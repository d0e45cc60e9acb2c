"""Inputs and choices that several measures share, declared once."""

from core.declare import Choice, Kind, Role, Tensor
from core.rules import Between, IndexOf

CLASS_TARGETS = Tensor(
    "targets",
    Kind.INDEX,
    ("batch", ...),
    "The index of the true class of each sample.",
    rules=(IndexOf("classes", unless="ignore_index"),),
)
CLASS_WEIGHT = Tensor("weight", Kind.FLOAT, ("classes",), "Weight of each class.", default=1.0, neutral=True)
IGNORE_INDEX = Tensor("ignore_index", Kind.INDEX, (), "The target that marks a sample to skip.", default=-100)
LABEL_SMOOTHING = Tensor(
    "label_smoothing",
    Kind.FLOAT,
    (),
    "The share of the target that is spread evenly over all classes.",
    rules=(Between(0.0, 1.0),),
    default=0.0,
    neutral=True,
)
CLASS_AXIS = Choice(
    "class_axis",
    Role.LAYOUT,
    (),
    1,
    "The axis of the classes; -1 for logits of language models (batch, tokens, vocabulary). "
    "Always 0 for one unbatched sample.",
)


def reduction(*more: str) -> Choice:
    """The choice `reduction`, with `more` values than PyTorch's three."""
    said = "How the per-sample values become `loss`: their mean, their sum, or not at all."
    if "batchmean" in more:
        said += " `batchmean` is the sum divided by the batch size: the mathematical definition of the divergence."
    return Choice("reduction", Role.REDUCTION, ("mean", "sum", "none", *more), "mean", said)
