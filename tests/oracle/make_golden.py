"""`make golden`: ask PyTorch for its answers to some random cases, and keep them."""

from tests.oracle import golden
from tests.oracle.cases import random_cases
from tests.oracle.torch_oracle import ask

SEED, COUNT, LARGEST = 20_130, 3600, 120


def main() -> None:
    """Write the golden file; large cases are left to the live comparison."""
    rows = []
    for case in random_cases(SEED, COUNT):
        if sum(getattr(value, "size", 1) for value in case.fields.values()) <= LARGEST:
            answer = ask(case)
            rows.append((case, answer.per_sample, answer.loss, answer.refused))
    golden.write(rows)
    print(f"{len(rows)} cases in {golden.FILE.name}, {golden.FILE.stat().st_size} bytes")


if __name__ == "__main__":
    main()
