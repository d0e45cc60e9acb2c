"""What PyTorch answers to a case. The only importer of torch."""

import math
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from tests.oracle.cases import Case

Array = NDArray[Any]
torch.set_num_threads(1)  # the cases are small: a second thread only costs


@dataclass
class Answer:
    """PyTorch's unreduced and reduced values, or why it refuses the request."""

    per_sample: Array | None = None
    loss: float | None = None
    refused: str = ""


def ask(case: Case) -> Answer:
    """Run `case` through torch.nn.functional on CPU.

    PyTorch wants its inputs in exact types, where the service is lenient: halves are computed in float32, inputs and
    targets are promoted, weights follow, and the class axis is moved to where PyTorch has it.
    """
    fields = dict(case.fields)
    main, targets = _two(fields)
    floats = [fields[name].dtype for name in (main, targets) if fields[name].dtype.kind == "f"]
    dtype = np.float64 if np.float64 in floats else np.float32
    tensors: dict[str, torch.Tensor] = {}
    for name, value in fields.items():
        if isinstance(value, np.ndarray):
            if value.dtype.kind == "f":
                with np.errstate(over="ignore"):
                    narrow = value.astype(dtype)
                if (np.isinf(narrow) & np.isfinite(value)).any():
                    return Answer(refused=f"{name} does not fit")
                value = narrow
            tensors[name] = torch.from_numpy(np.array(value))
    if tensors[main].ndim == 1 and tensors[targets].shape == (1,) and tensors[main].shape != (1,):
        tensors[targets] = tensors[targets].reshape(())  # PyTorch takes it as the one sample too, but not smoothed
    x = tensors[main]
    axis = fields.get("class_axis", 1)
    if x.ndim > 1 and case.measure in ("cross_entropy", "soft_cross_entropy", "nll_loss"):
        x = x.movedim(axis, 1)
        if case.measure == "soft_cross_entropy":
            tensors[targets] = tensors[targets].movedim(axis, 1)
    options = {name: fields[name] for name in ("ignore_index", "label_smoothing", "log_target") if name in fields}
    weights = {name: tensors[name] for name in ("weight", "pos_weight") if name in tensors}
    name = "cross_entropy" if case.measure == "soft_cross_entropy" else case.measure
    function = getattr(F, name)
    reduction = fields.get("reduction", "mean")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            per_sample = function(x, tensors[targets], **weights, **options, reduction="none")
            loss = function(x, tensors[targets], **weights, **options, reduction=reduction)
    except (RuntimeError, ValueError, IndexError, TypeError) as error:
        return Answer(refused=str(error).splitlines()[0])
    return Answer(per_sample.numpy(), math.nan if reduction == "none" else float(loss))


def _two(fields: dict[str, Any]) -> tuple[str, str]:
    """The names of the input and the targets."""
    return next(name for name in ("logits", "log_probabilities", "probabilities") if name in fields), "targets"


def distributions(p: Array, q: Array, base: str, normalize: bool) -> dict[str, Array]:
    """H(p, q), H(p) and D(p || q) of rows, from torch.special in float64; PyTorch has no loss of them."""
    x, y = (torch.from_numpy(np.array(rows, np.float64)) for rows in (p, q))
    if normalize:
        x, y = x / x.sum(-1, keepdim=True), y / y.sum(-1, keepdim=True)
    scale = {"e": 1.0, "2": math.log(2.0), "10": math.log(10.0)}[base]
    cross = -torch.special.xlogy(x, y).sum(-1) / scale
    entropy = torch.special.entr(x).sum(-1) / scale
    return {"per_sample": cross.numpy(), "entropy": entropy.numpy(), "kl_divergence": (cross - entropy).numpy()}
