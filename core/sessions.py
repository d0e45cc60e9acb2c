"""The graph files, checked and opened once on one device. The only importer of onnxruntime."""

import logging
import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from core.declare import Measure
from core.errors import DeviceFailed, DeviceUnavailable, GraphDamaged, OutOfMemory
from core.variants import DTYPES, FOLDER, WIDENED, Variant, complete, manifest, read, variants, widening

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # read when it is imported
import onnxruntime as ort  # noqa: TID251

log = logging.getLogger("lossmeter.engine")

Found = TypeVar("Found")
NO_MEMORY = (
    *("Failed to allocate memory", "bad allocation", "bad_alloc", "out of memory", "ALLOC_FAILED"),
    "is smaller than requested bytes",  # of an arena that has a limit
)
FAILED = ("CUDA failure", "CUDA error")
PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}
# The card is the first that is visible: CUDA_VISIBLE_DEVICES says which. Sums over classes may be products, of whose
# factors TF32 would keep 10 bits.
CUDA_OPTIONS = {"use_tf32": "0"}
# A graph that does not run on the card as a whole does not open.
CUDA_ENTRIES = {"session.use_env_allocators": "1", "session.disable_cpu_ep_fallback": "1"}
NAMES = {"float": "float32", "double": "float64"}  # of dtypes, where onnxruntime's is not NumPy's


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

    Arguments: `measures`; `device` "auto", "cpu" or "cuda"; `graphs`, the folder of exported files; `memory_bytes` of a
    card that the graphs may take beside what they are given, 0 for as much as there is. Raises DeviceUnavailable or
    GraphDamaged.
    """

    def __init__(
        self, measures: Iterable[Measure], *, device: str = "auto", graphs: Path = FOLDER, memory_bytes: int = 0
    ) -> None:
        self.onnxruntime_version = ort.__version__
        self.digests = manifest(graphs)
        concrete = [one for measure in measures for one in measure.concrete]
        self.every = [(variant, dtype) for measure in concrete for variant in variants(measure) for dtype in DTYPES]
        plain = [variant.file(dtype) for variant, dtype in self.every]
        self._files = {name: read(graphs, name, self.digests) for name in plain}
        self.device = choose_device(device, ort.get_available_providers(), self._try_cuda)
        self.provider = PROVIDERS[self.device]
        names, halves = [self._name(*one) for one in self.every], WIDENED if self.device == "cuda" else ()
        for name in {*names, *map(widening, halves)} - self._files.keys():
            self._files[name] = read(graphs, name, self.digests)
        if self.device == "cuda":
            _share_memory(memory_bytes)
        self.opened = {name: self._open(name, self.provider) for name in names}
        self.wideners = {dtype: self._open(widening(dtype), self.provider) for dtype in halves}

    def graph(self, measure: Measure, dtype: str) -> tuple[bytes, str]:
        """The complete exported graph of `measure` in "float32" or "float64", and its SHA-256."""
        name = complete(measure).file(dtype)
        return self._files[name], self.digests[name]

    def attempt(self, variant: Variant, dtype: str, work: Callable[[Any], Found]) -> Found:
        """What `work` gives with the session of a graph. Raises DeviceFailed, or OutOfMemory, after which the next
        attempt finds a session that has nothing of it."""
        name = self._name(variant, dtype)
        try:
            return work(self.opened[name])
        except Exception as error:  # onnxruntime has no exception type of its own for this
            if not _is_full(error):
                if any(words in str(error) for words in FAILED):
                    raise DeviceFailed(str(error).splitlines()[0]) from error
                raise
            if self.device != "cpu":
                self._recover(name)
            raise OutOfMemory(f"there is not enough memory for the batch on {self.provider}") from error

    def _recover(self, name: str) -> None:
        """See that the next attempt on a card finds what this one did not: memory, which the arena keeps in pieces of
        the sizes that were asked for, and a session, for this one may fail for ever."""
        options = ort.RunOptions()
        options.add_run_config_entry("memory.enable_memory_arena_shrinkage", "gpu:0")
        for work in (
            lambda: self.wideners["float16"].run(None, {"halves": np.zeros(1, np.float16)}, options),
            lambda: self.opened.update({name: self._open(name, self.provider)}),
        ):
            try:
                work()
            except Exception as error:  # which is about memory too: this attempt has failed in any case
                log.warning("the card does not recover yet: %s", str(error).splitlines()[0])

    def placement(self, session: Any) -> dict[str, list[str]]:
        """The types of the nodes of `session` by the execution provider that runs them."""
        found: dict[str, list[str]] = {}
        for part in session.get_provider_graph_assignment_info():
            found.setdefault(part.ep_name, []).extend(node.op_type for node in part.get_nodes())
        return found

    def _name(self, variant: Variant, dtype: str) -> str:
        """The file of a graph for this device."""
        own = variant.file(dtype, self.device)
        return own if own in self.digests else variant.file(dtype)

    def _open(self, name: str, provider: str, card: Mapping[str, str] = CUDA_ENTRIES) -> Any:
        """A session; `card` are the entries of its configuration if it is one on a card."""
        options = ort.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        # A graph is one file: weights that it says stand in others would be looked for in the working directory.
        options.add_session_config_entry("session.model_external_initializers_file_folder_path", os.devnull)
        options.log_severity_level = 4  # what fails is raised
        options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
        more = CUDA_OPTIONS if provider == PROVIDERS["cuda"] else {}
        for entry, value in card.items() if more else ():
            options.add_session_config_entry(entry, value)
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
            providers = self._open(next(iter(self._files)), PROVIDERS["cuda"], {}).get_providers()
        except GraphDamaged as error:
            return str(error)
        finally:
            ort.set_default_logger_severity(2)
        return "" if PROVIDERS["cuda"] in providers else "onnxruntime opens no card: are its driver and the card here?"


def _share_memory(most: int) -> None:
    """Let the graphs on a card take their memory from one arena, of `most` bytes at most, 0 for no limit: else each
    would keep what its largest block took. For the whole process, and before they are opened."""
    where = ort.OrtMemoryInfo("Cuda", ort.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, ort.OrtMemType.DEFAULT)
    as_requested = 1  # kSameAsRequested: no more is taken than is asked for
    limits = {"arena_extend_strategy": as_requested} | ({"max_mem": most} if most else {})
    ort.create_and_register_allocator_v2(PROVIDERS["cuda"], where, {"device_id": "0"}, ort.OrtArenaCfg(limits))


def adopt(value: Any) -> tuple[tuple[str, int, tuple[int, ...], str, object], int]:
    """Where the array `value` of another library lies, by DLPack: the device, the address, the shape, the dtype, and
    what keeps it there; and the number of the device among those of its kind."""
    held = ort.OrtValue.from_dlpack(value)
    dtype = held.data_type().removeprefix("tensor(").removesuffix(")")
    found = held.device_name(), held.data_ptr(), tuple(held.shape()), NAMES.get(dtype, dtype), held
    return found, held.__dlpack_device__()[1]


def empty(shape: tuple[int, ...], dtype: np.dtype[Any], device: str) -> Any:
    """An array on `device`, not filled, that others take by DLPack; `data_ptr()` is its address. Raises OutOfMemory."""
    try:
        return ort.OrtValue.ortvalue_from_shape_and_type(shape, dtype.type, device, 0)
    except Exception as error:  # onnxruntime has no exception type of its own for this
        if not _is_full(error):
            raise
        raise OutOfMemory(f"there is not enough memory on {device} for the values") from error


def _is_full(error: Exception) -> bool:
    """Whether onnxruntime says that a device has no memory left."""
    return any(words in str(error) for words in NO_MEMORY)
