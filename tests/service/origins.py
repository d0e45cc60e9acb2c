"""Pages of other origins, and what their browser asks before they may."""

from httpx2 import Response
from starlette.testclient import TestClient

from tests.service.conftest import LOSS

PAGE = "https://a.example"
OTHER = "http://localhost:3000"


def preflight(
    client: TestClient, path: str = LOSS, method: str = "POST", headers: str = "content-type", origin: str = PAGE
) -> Response:
    asked = {"Origin": origin, "Access-Control-Request-Method": method, "Access-Control-Request-Headers": headers}
    return client.options(path, headers={name: value for name, value in asked.items() if value})
