"""Who may ask: where API keys are set, only requests that carry one, probes and preflights excepted."""

from starlette.types import ASGIApp, Receive, Scope, Send

from service.body import listed
from service.edge import refusal
from service.keys import Keys
from service.problems import Problem
from service.telemetry import Record

PROBES = frozenset({"/livez", "/readyz", "/v2/health/live", "/v2/health/ready"})
FORMS = "`Authorization: Bearer KEY` or `X-API-Key: KEY`"


def credentials(scope: Scope) -> list[str]:
    """Every key that a request sends. A header in several lines is one text with commas, which is no key.

    Authorization in another scheme than Bearer is none of ours: a proxy's, perhaps, and left to it.
    """
    scheme, _, token = (listed(scope, b"authorization") or "").partition(" ")
    key = listed(scope, b"x-api-key")
    return ([token.strip()] if scheme.lower() == "bearer" else []) + ([] if key is None else [key])


class Guard:
    """ASGI middleware that answers with 401, before anything of the body is read, unless every key sent is known."""

    def __init__(self, app: ASGIApp, keys: Keys) -> None:
        self.app, self.keys = app, keys

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let one request pass, or answer it."""
        if scope["type"] == "http" and not self._open(scope):
            sent = credentials(scope)
            unknown = [key for key in sent if not self.keys.know(key)]
            if unknown or not sent:
                record: Record = scope["lossmeter.record"]
                detail = "the API key that was sent is not known" if sent else "an API key is missing"
                problem = Problem(401, f"{detail}: send one as {FORMS}", headers={"WWW-Authenticate": "Bearer"})
                await refusal(problem, record)(scope, receive, send)
                return
        await self.app(scope, receive, send)

    @staticmethod
    def _open(scope: Scope) -> bool:
        """Whether a request needs no key: GET and HEAD, which has become GET here, of probes, and OPTIONS."""
        return scope["method"] == "OPTIONS" or (scope["method"] == "GET" and scope["path"] in PROBES)
