"""One good batch of cross_entropy as arrays, the types of class indices, and what requests with tensors say."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
INFER = "/v2/models/cross_entropy/infer"
LENGTH = "Inference-Header-Content-Length"
BINARY = {"Content-Type": "application/x-safetensors"}
LOGITS = np.array([[2.0, 0.5, -1.0], [0.125, 0.25, 0.375]], np.float32)  # exact in every float type
TARGETS = np.array([0, 2])
BATCH: dict[str, Array] = {"logits": LOGITS, "targets": TARGETS}
INTEGERS = [f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)]
