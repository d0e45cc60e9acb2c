"""A client of the app, in this process, with the graphs loaded."""

from collections.abc import Iterator

import pytest
from starlette.testclient import TestClient

from service.app import create_app
from service.settings import Settings


@pytest.fixture(scope="session")
def client() -> Iterator[TestClient]:
    """A client of an app with the default settings."""
    with TestClient(create_app(Settings(device="cpu", threads=2)), raise_server_exceptions=False) as made:
        yield made
