"""/docs and /redoc, from files of this package: no request leaves the host."""

import hashlib
from pathlib import Path

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from service.edge import NamedRoute

FOLDER = Path(__file__).parent / "static"
TYPES = {".js": "text/javascript", ".css": "text/css"}
# Both tools write styles into the page, and Redoc starts a worker; scripts come from files alone.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "connect-src 'self'; worker-src blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
PAGE_HEADERS = {"Content-Security-Policy": POLICY, "Referrer-Policy": "no-referrer"}
PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Lossmeter</title>
<link rel="icon" href="data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'%3E%3Cpath \
d='M1 14C4 4 8 11 15 2' fill='none' stroke='%23c33' stroke-width='2'/%3E%3C/svg%3E">
{head}
</head>
<body style="margin:0">
{body}
</body>
</html>
"""
SWAGGER = PAGE.format(
    head='<link rel="stylesheet" href="static/swagger-ui.css">',
    body="""<div id="docs"></div>
<script src="static/swagger-ui-bundle.js"></script>
<script src="static/docs.js"></script>""",
)
REDOC = PAGE.format(
    head="",
    body="""<redoc spec-url="openapi.json" hide-download-button></redoc>
<script src="static/redoc.standalone.js"></script>""",
)


def known(request: Request, tag: str) -> bool:
    """Whether the client says that it has what `tag` names (If-None-Match, RFC 9110 section 13.1.2)."""
    sent = request.headers.get("if-none-match", "")
    return any(one.strip().removeprefix("W/") in (tag, "*") for one in sent.split(","))


def _asset(path: Path) -> Route:
    content, kind = path.read_bytes(), TYPES[path.suffix]
    tag = f'"{hashlib.sha256(content).hexdigest()}"'
    headers = {"ETag": tag, "Cache-Control": "public, max-age=86400"}

    async def serve(request: Request) -> Response:
        if known(request, tag):
            return Response(status_code=304, headers=headers)
        return Response(content, media_type=kind, headers=headers)

    return NamedRoute(f"/static/{path.name}", serve)


def _page(path: str, html: str) -> Route:
    async def serve(request: Request) -> Response:
        return HTMLResponse(html, headers=PAGE_HEADERS)

    return NamedRoute(path, serve)


def routes() -> list[Route]:
    """The pages and the files that they load."""
    assets = [_asset(path) for path in sorted(FOLDER.iterdir()) if path.suffix in TYPES]
    return [_page("/docs", SWAGGER), _page("/redoc", REDOC), *assets]
