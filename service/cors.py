"""Cross-origin requests, for pages of the origins in the setting CORS_ORIGINS: by default there are none."""

from fastapi import FastAPI
from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response

from service.negotiation import INFERENCE_LENGTH
from service.problems import Problem
from service.settings import Settings

SENT = (
    "Accept",
    "Authorization",
    "Content-Encoding",
    "Content-Type",
    INFERENCE_LENGTH,
    "X-API-Key",
    "X-Request-ID",
    "X-Request-Timeout",
)
EXPOSED = ("ETag", INFERENCE_LENGTH, "Lossmeter-Device", "Retry-After", "Server-Timing", "X-Request-ID")
PREFLIGHT_SECONDS = 7200  # for which a browser may remember; Chromium remembers no longer


class Cors(CORSMiddleware):
    """Starlette's, whose refusals are problems like every other."""

    def preflight_response(self, request_headers: Headers) -> Response:
        """What a browser's question before a request is answered with. Raises Problem where the answer is no."""
        response = super().preflight_response(request_headers)
        if response.status_code != 200:
            raise Problem(response.status_code, str(response.body, "utf-8"))
        return response


def allow_origins(app: FastAPI, settings: Settings) -> None:
    """Let pages of the origins in `settings` ask `app`."""
    if settings.cors_origins:
        app.add_middleware(
            Cors,
            allow_origins=settings.cors_origins,
            allow_methods=("GET", "HEAD", "POST"),
            allow_headers=SENT,
            expose_headers=EXPOSED,
            max_age=PREFLIGHT_SECONDS,
        )
