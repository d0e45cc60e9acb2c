"""The benchmark for cards: what it prints and where it refuses; that it compares what it should, on the CPU."""

import pytest

from bench import gpu


def test_without_a_card_it_ends_with_one_line() -> None:
    if "CUDAExecutionProvider" in __import__("onnxruntime").get_available_providers():
        pytest.skip("this onnxruntime may have a card")
    with pytest.raises(SystemExit) as ended:
        gpu.main()
    assert str(ended.value).startswith("bench-gpu needs a card: DEVICE is cuda, but this onnxruntime has no CUDA")


def test_the_table_has_shares_of_the_limit_and_ratios() -> None:
    there = gpu.Row(8, 10, "float32", "card", 1.0, 2.0, 3.0, 4.0)
    brought = gpu.Row(8, 10, "float32", "host", float("nan"), 2.0, 3.0, 4.0)
    head, rule, first, second = gpu.table([there, brought]).splitlines()
    assert head.count("|") == rule.count("|") == first.count("|") == second.count("|")
    assert first == "| 8x10 | float32 | card | 1.000 | 2.000 | 3.000 | 4.000 | 50% | 1.50 | 2.00 |"
    assert second == "| 8x10 | float32 | host |  | 2.000 | 3.000 | 4.000 |  | 1.50 | 2.00 |"


@pytest.mark.oracle
@pytest.mark.filterwarnings("ignore:.*torch:DeprecationWarning")  # which importing torch.compile's parts may raise
@pytest.mark.parametrize("dtype", gpu.DTYPES)
def test_its_calls_agree_with_pytorch(dtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torch", reason="PyTorch is not installed: make oracle")
    monkeypatch.setattr(gpu, "ROUNDS", 1)
    bench = gpu.Bench("cpu")
    bench.compiled = bench._eager  # what is compiled takes a compiler, and half a minute
    there, brought = bench.rows((64, 100), dtype)
    assert (there.where, brought.where) == ("card", "host")
    assert min(there.limit, there.ours, there.eager, brought.ours) > 0
    monkeypatch.setattr(bench, "_eager", lambda logits, targets: (logits.float()[:, 0], logits.sum()))
    with pytest.raises(AssertionError):
        next(bench.rows((64, 100), dtype))
