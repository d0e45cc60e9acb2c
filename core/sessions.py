"""The graph files, checked and opened once on one device. The only importer of onnxruntime."""

import logging
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

from core.declare import Measure
from core.errors import DeviceUnavailable, GraphDamaged, OutOfMemory
from core.variants import DTYPES, FOLDER, Variant, complete, manifest, read, variants

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # read when it is imported
import onnxruntime as ort  # noqa: TID251

log = logging.getLogger("lossmeter.engine")

Found = TypeVar("Found")
NO_MEMORY = ("Failed to allocate memory", "bad allocation", "bad_alloc", "out of memory", "ALLOC_FAILED")
PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}


def choose_device(wanted: str, available: Iterable[str], try_cuda: Callable[[], str]) -> str:
    """ "cpu" or "cuda" for `wanted` "auto", "cpu" or "cuda". Raises DeviceUnavailable.

    `available` are the execution providers of this onnxruntime; `try_cuda` opens a card and returns "", or says
    why it cannot.
    """
    if wanted == "cpu":
        return "cpu"
    if PROVIDERS["cuda"] not in available:
        reason = f"this onnxruntime has no {PROVIDERS['cuda']}, only {', '.join(available)}: install onnxruntime-gpu"
    else:
        reason = try_cuda()
        if not reason:
            return "cuda"
        if wanted == "auto":
            log.warning("the CPU computes: %s", reason)
    if wanted == "cuda":
        raise DeviceUnavailable(f"DEVICE is cuda, but {reason}")
    return "cpu"


class Sessions:
    """A session for each graph of some measures. Thread-safe.

    Arguments: `measures`; `device` "auto", "cpu" or "cuda"; `graphs`, the folder of exported files. Raises
    DeviceUnavailable or GraphDamaged.
    """

    def __init__(self, measures: Iterable[Measure], *, device: str = "auto", graphs: Path = FOLDER) -> None:
        self.onnxruntime_version = ort.__version__
        self.digests = manifest(graphs)
        self.every = [(variant, dtype) for measure in measures for variant in variants(measure) for dtype in DTYPES]
        names = [variant.file(dtype) for variant, dtype in self.every]
        self._files = {name: read(graphs, name, self.digests) for name in names}
        self.device = choose_device(device, ort.get_available_providers(), self._try_cuda)
        self.provider = PROVIDERS[self.device]
        self.opened = {name: self._open(name, self.provider) for name in names}

    def graph(self, measure: Measure, dtype: str) -> tuple[bytes, str]:
        """The complete exported graph of `measure` in "float32" or "float64", and its SHA-256."""
        name = complete(measure).file(dtype)
        return self._files[name], self.digests[name]

    def attempt(self, variant: Variant, dtype: str, work: Callable[[Any], Found]) -> Found:
        """What `work` gives with the session of a graph. Raises OutOfMemory; the next attempt finds a session that
        has nothing of it."""
        name = variant.file(dtype)
        try:
            return work(self.opened[name])
        except Exception as error:  # onnxruntime has no exception type of its own for this
            if not any(words in str(error) for words in NO_MEMORY):
                raise
            if self.device != "cpu":
                self.opened[name] = self._open(name, self.provider)  # after this a card's may fail for ever
            raise OutOfMemory(f"there is not enough memory for the batch on {self.provider}") from error

    def _open(self, name: str, provider: str) -> Any:
        options = ort.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        # A graph is one file: weights that it says stand in others would be looked for in the working directory.
        options.add_session_config_entry("session.model_external_initializers_file_folder_path", os.devnull)
        options.log_severity_level = 4  # what fails is raised
        # Sums over classes are products with ones, and TF32 would keep 10 bits of each factor.
        more = {"use_tf32": "0"} if provider == PROVIDERS["cuda"] else {}
        try:
            return ort.InferenceSession(self._files[name], options, providers=[(provider, more)])
        except Exception as error:  # onnxruntime has no exception type of its own for this
            raise GraphDamaged(f"the graph {name} cannot be loaded: {str(error).splitlines()[0]}") from error

    def _try_cuda(self) -> str:
        """ "" if a card can be opened, else why not."""
        if hasattr(ort, "preload_dlls"):
            ort.preload_dlls()  # the CUDA libraries that pip installed
        ort.set_default_logger_severity(4)  # what it would say at length is said below in one line
        try:
            providers = self._open(next(iter(self._files)), PROVIDERS["cuda"]).get_providers()
        except GraphDamaged as error:
            return str(error)
        finally:
            ort.set_default_logger_severity(2)
        return "" if PROVIDERS["cuda"] in providers else "onnxruntime opens no card: are its driver and the card here?"
