"""The service on a card: what says so, and what becomes of a batch that the card has too little memory for.

The card's memory is the host's, see tests.core.host_card.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
from starlette.testclient import TestClient

from core.errors import DeviceFailed
from core.sessions import Sessions
from tests.core.host_card import HostRuntime, instead_of_a_card
from tests.service.carriers import CARRIERS, carry
from tests.service.conftest import GOOD, JSON, LOSS, answer, serving

DEVICE = "Lossmeter-Device"
LITTLE = 2**22  # bytes of a card, enough for a small batch


@contextmanager
def served(runtime: HostRuntime, **settings: Any) -> Iterator[TestClient]:
    """A client of the app on that card."""
    with instead_of_a_card(runtime), serving(device="cuda", **settings) as client:
        yield client


def large(rows: int = 2**19) -> bytes:
    """A safetensors body."""
    arrays: dict[str, Any] = {"logits": np.zeros((rows, 4), np.float32), "targets": np.zeros(rows, np.int64)}
    return carry("safetensors", "cross_entropy", arrays, {}, "float32").content


@pytest.mark.parametrize("carrier", CARRIERS)
def test_an_answer_names_the_device_that_computed_it(client: TestClient, carrier: str) -> None:
    arrays: dict[str, Any] = {"logits": np.zeros((2, 4), np.float32), "targets": np.zeros(2, np.int64)}
    body = carry(carrier, "cross_entropy", arrays, {}, "float32")
    assert client.post(body.path, content=body.content, headers=body.headers).headers[DEVICE] == "cpu"
    with served(HostRuntime()) as on_card:
        found = on_card.post(body.path, content=body.content, headers=body.headers)
        assert found.status_code == 200
        assert found.headers[DEVICE] == "cuda"
        assert "lossmeter-device" not in on_card.post(LOSS, content=b"{}", headers=JSON).headers


def test_info_and_metrics_name_the_card_and_its_limit() -> None:
    runtime = HostRuntime()
    with served(runtime, device_memory_bytes=2**28) as client:
        assert runtime.arenas[0][-1].max_mem == 2**27  # the graphs' half
        found = answer(client.get("/v1/info"))
        assert (found["device"], found["execution_provider"]) == ("cuda", "CUDAExecutionProvider")
        assert found["limits"]["device_memory_bytes"] == 2**28
        assert 'device="cuda"' in client.get("/metrics").text


def test_what_a_card_has_no_memory_for_is_a_503_and_the_next_request_is_answered() -> None:
    runtime = HostRuntime()
    headers = {"Content-Type": "application/x-safetensors"}
    with served(runtime) as client:
        runtime.most = LITTLE
        refused = client.post(LOSS, content=large(), headers=headers)
        assert refused.status_code == 503
        assert refused.headers["Retry-After"] == "1"
        assert refused.headers["Content-Type"] == "application/problem+json"
        assert "the card is full" in refused.json()["detail"]
        assert client.post(LOSS, content=GOOD, headers=JSON).headers[DEVICE] == "cuda"
        runtime.most = 2**40
        assert client.post(LOSS, content=large(), headers=headers).headers[DEVICE] == "cuda"


def test_or_the_cpu_computes_it_and_the_answer_says_so() -> None:
    runtime = HostRuntime()
    headers = {"Content-Type": "application/x-safetensors"}
    with served(runtime, device_full="cpu") as client:
        runtime.most = LITTLE
        found = client.post(LOSS, content=large(), headers=headers, params={})
        assert found.status_code == 200
        assert found.headers[DEVICE] == "cpu"
        assert client.post(LOSS, content=GOOD, headers=JSON).headers[DEVICE] == "cuda"


def test_a_card_that_has_failed_makes_the_service_neither_ready_nor_live(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        raise DeviceFailed("cudaMemcpyAsync failed with 700: an illegal memory access was encountered")

    with served(HostRuntime()) as client:
        assert client.get("/livez").status_code == 200
        monkeypatch.setattr(HostRuntime, "send", fail)
        assert client.post(LOSS, content=GOOD, headers=JSON).status_code == 503
        monkeypatch.undo()
        for path in ("/livez", "/readyz", "/v2/health/live", "/v2/health/ready"):
            assert client.get(path).status_code == 503
        assert "failed with 700" in client.get("/livez").json()["detail"]
        assert client.post(LOSS, content=GOOD, headers=JSON).status_code == 503


def test_the_event_loop_never_waits_for_a_card(monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[str] = []
    real = Sessions.attempt

    def spy(*arguments: Any) -> Any:
        ran.append(threading.current_thread().name)
        return real(*arguments)

    with served(HostRuntime()) as client:
        monkeypatch.setattr(Sessions, "attempt", spy)
        answer(client.post(LOSS, content=GOOD, headers=JSON))
    assert ran
    assert all(name.startswith(("request", "block")) for name in ran)


def test_a_card_without_memory_to_start_on_ends_the_start() -> None:
    with pytest.raises(Exception, match="the graphs do not start on cuda: the card is full"), served(HostRuntime(0)):
        pass
