"""One server for these tests, and Triton's client of it."""

from collections.abc import Iterator
from typing import Any

import pytest
from tritonclient.http import InferenceServerClient

from tests.service.live import listening


@pytest.fixture(scope="package")
def address() -> Iterator[str]:
    """The host and port of a server for the tests of this package."""
    with listening() as found:
        yield found


@pytest.fixture(scope="package")
def triton(address: str) -> Iterator[Any]:
    """Triton's client of that server."""
    with InferenceServerClient(address) as made:
        yield made
