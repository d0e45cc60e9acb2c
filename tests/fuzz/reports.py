"""Good requests for reports and for merges, in every form that carries one, small."""

from functools import cache

import numpy as np

from core.engine import Engine
from core.reports import storage
from core.reports.columns import COLUMNS
from core.reports.declare import Task
from core.reports.prepare import prepare
from core.reports.state import gather
from core.reports.tasks import TASKS
from tests.service.bodies import BINARY
from tests.service.carriers import Body
from tests.service.reporting import MERGE, batch, carry, lists_of, merge_bodies, size

KINDS = ("logits", "log_probabilities", "probabilities")
FORMS = ("lists", "base64", "safetensors")
ACCEPTED = ("application/json", BINARY["Content-Type"], "application/octet-stream")


@cache
def _states() -> dict[str, list[bytes]]:
    """The states of two shards of each task."""
    engine = Engine(COLUMNS.values(), device="cpu", threads=1)

    def of(task: Task, shard: str) -> bytes:
        job = prepare(task, {**batch(task, 1, samples=4, classes=3), "shard": shard})
        return storage.write(gather(job, engine.per_sample(job.batch)))

    found = {task.name: [of(task, shard) for shard in "ab"] for task in TASKS.values()}
    engine.close()
    return found


def report_seeds(seed: int) -> list[Body]:
    """A good request for each task of scores of each kind in each form, and merges of each task's states."""
    rng, found = np.random.default_rng(seed), []
    for task in TASKS.values():
        for form in FORMS:
            for kind, accepted in zip(KINDS, rng.permutation(ACCEPTED).tolist(), strict=True):
                arrays = batch(task, int(rng.integers(2**32)), samples=4, classes=3, kind=kind)
                others = lists_of(task, size(arrays)) | {
                    "columns": bool(rng.integers(2)),
                    "state": bool(rng.integers(2)),
                }
                body = carry(form, task.name, arrays, others)
                found.append(Body(body.path, body.content, body.headers | {"Accept": accepted}))
    return found + [Body(MERGE, *sent) for states in _states().values() for sent in merge_bodies(states)]
