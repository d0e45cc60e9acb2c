"""What coverage-guided fuzzing has kept, once more: every decoder decodes it, or refuses it as it must."""

import pytest

from service.problems import Problem
from tests.fuzz import decoders
from tests.fuzz.corpus import kept


def test_good_requests_are_decoded_by_every_decoder() -> None:
    inputs = list(decoders.seed_inputs())
    assert {data[0] % len(decoders.ENTRIES) for data in inputs} == set(range(len(decoders.ENTRIES)))
    assert all(map(decoders.take, inputs))


def test_what_fuzzing_kept_is_decoded_or_refused() -> None:
    inputs = kept()
    assert len(inputs) > 100
    good = sum(map(decoders.take, inputs))
    assert 10 < good < len(inputs) - 10


def test_what_is_no_refusal_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(body: bytes, measure: object) -> None:
        raise Problem(400, "no")

    def fail(body: bytes, measure: object) -> None:
        raise RecursionError

    monkeypatch.setattr(decoders, "ENTRIES", [refuse, fail])
    assert not decoders.take(b"\0")
    with pytest.raises(RecursionError):
        decoders.take(b"\1")
