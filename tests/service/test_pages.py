"""The documentation pages work without the internet."""

import re
from html.parser import HTMLParser

import pytest
from starlette.testclient import TestClient

PAGES = ["/docs", "/redoc"]


class Loads(HTMLParser):
    """What a page loads, and the scripts that stand in it."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.urls: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.urls += [value or "" for name, value in attrs if name in ("src", "href", "spec-url", "action", "srcset")]


@pytest.mark.parametrize("path", PAGES)
def test_a_page_loads_only_what_this_service_serves(client: TestClient, path: str) -> None:
    response = client.get(path)
    assert response.status_code == 200
    assert response.headers["Content-Type"] == "text/html; charset=utf-8"
    urls = [url for url in Loads(response.text).urls if not url.startswith("data:")]
    for url in list(urls):
        if url.endswith("/docs.js"):
            urls += re.findall(r'url: "([^"]+)"', client.get(f"/{url}").text)
    assert "openapi.json" in urls
    assert len(urls) >= 2
    for url in urls:
        assert not re.match(r"(?i)(https?:)?//", url), url
        loaded = client.get(f"/{url}")
        assert loaded.status_code == 200, url
        assert len(loaded.content) > 100


@pytest.mark.parametrize("path", PAGES)
def test_no_address_elsewhere_stands_in_a_page(client: TestClient, path: str) -> None:
    page = client.get(path).text.replace("http://www.w3.org/2000/svg", "")
    assert not re.search(r"(?i)https?:|@import|//[a-z]", page)


@pytest.mark.parametrize("path", PAGES)
def test_no_script_stands_in_a_page(client: TestClient, path: str) -> None:
    page = client.get(path).text
    assert re.findall(r"<script[^>]*>(.*?)</script>", page, re.DOTALL) == [""] * page.count("<script")
    assert not re.search(r"(?i)\son[a-z]+=|javascript:", page)


@pytest.mark.parametrize("path", PAGES)
def test_the_policy_of_a_page_lets_nothing_in_from_elsewhere(client: TestClient, path: str) -> None:
    headers = client.get(path).headers
    rules = dict(rule.strip().partition(" ")[::2] for rule in headers["Content-Security-Policy"].split(";"))
    assert rules["script-src"] == "'self'"
    for rule in ("default-src", "frame-ancestors", "base-uri", "form-action"):
        assert rules[rule] == "'none'"
    assert headers["Referrer-Policy"] == "no-referrer"
    for sources in rules.values():
        assert not set(sources.split()) - {"'self'", "'none'", "'unsafe-inline'", "data:", "blob:"}


def test_the_pages_are_written_in_their_own_tools(client: TestClient) -> None:
    assert "SwaggerUIBundle(" in client.get("/static/docs.js").text
    assert "static/docs.js" in client.get("/docs").text
    assert "<redoc " in client.get("/redoc").text


@pytest.mark.parametrize(
    ("name", "kind"),
    [("swagger-ui.css", "text/css"), ("swagger-ui-bundle.js", "javascript"), ("redoc.standalone.js", "javascript")],
)
def test_an_asset_has_its_type_and_is_not_sent_twice(client: TestClient, name: str, kind: str) -> None:
    response = client.get(f"/static/{name}")
    assert kind in response.headers["Content-Type"]
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    tag = response.headers["ETag"]
    for known in (tag, f"W/{tag}"):
        again = client.get(f"/static/{name}", headers={"If-None-Match": known})
        assert (again.status_code, again.content) == (304, b""), known
    assert client.get(f"/static/{name}", headers={"If-None-Match": '"other"'}).content == response.content


def test_the_document_is_where_the_pages_look_for_it(client: TestClient) -> None:
    response = client.get("/openapi.json")
    assert response.headers["Content-Type"] == "application/json"
    assert response.json()["openapi"].startswith("3.1")
