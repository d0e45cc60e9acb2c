"""What can be switched off is not there then."""

import pytest

from tests.service.conftest import GOOD, JSON, LOSS, problem, serving

DOCUMENTS = ["/docs", "/redoc", "/openapi.json", "/static/docs.js", "/static/redoc.standalone.js"]


@pytest.mark.parametrize(
    ("settings", "gone", "there"),
    [({"docs": False}, DOCUMENTS, ["/metrics"]), ({"metrics": False}, ["/metrics"], DOCUMENTS)],
)
def test_what_is_switched_off_is_not_found(settings: dict[str, bool], gone: list[str], there: list[str]) -> None:
    with serving(**settings) as client:
        for path in gone:
            assert problem(client.get(path), 404)["detail"] == f"there is nothing at {path}"
            problem(client.post(path), 404)
        for path in [*there, "/livez", "/readyz", "/v1/losses"]:
            assert client.get(path).status_code == 200
        assert client.post(LOSS, content=GOOD, headers=JSON).status_code == 200


def test_the_document_lists_no_metrics_that_are_not_there() -> None:
    with serving(metrics=False) as client:
        assert "/metrics" not in client.get("/openapi.json").json()["paths"]
