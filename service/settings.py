"""Every knob, with its unit, default and description: environment variables, LOSSMETER_ and the name."""

import os
import re
from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import AfterValidator, ByteSize, Field, ValidationError, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from service.keys import KeysInFile, ListedKeys

PREFIX = "LOSSMETER_"
SECRET = frozenset({"api_keys", "api_keys_file"})  # whose values are never shown, not even a misplaced one
Limit = Annotated[ByteSize, Field(ge=1, le=2**50)]
LEAST_DEVICE_MEMORY = 2**28
Seconds = Annotated[float, Field(gt=0, le=86400)]


_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://([a-z0-9._-]+|\[[0-9a-f:.]+\])(:[0-9]{1,5})?")


def _origin(text: str) -> str:
    origin = text.lower()  # as browsers send it
    if origin != "*" and not _ORIGIN.fullmatch(origin):
        raise PydanticCustomError("origin", "must be * or scheme://host[:port], without a path or a slash at the end")
    return origin


Origin = Annotated[str, AfterValidator(_origin)]


def _seconds_of_watch(seconds: float) -> float:
    if 0 < seconds < 1:  # the loop turns ten times a second, if nothing keeps it
        raise PydanticCustomError("watch", "must be 0, which switches it off, or at least 1")
    return seconds


def _enough(size: ByteSize) -> ByteSize:
    if 0 < size < LEAST_DEVICE_MEMORY:
        raise PydanticCustomError("enough", "must be 0, which sets no limit, or at least 256MiB")
    return size


class SettingsError(Exception):
    """A setting is not what it must be; the message is one line."""


class Settings(BaseSettings):
    """The settings of one process."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, hide_input_in_errors=True)

    host: str = Field("127.0.0.1", min_length=1, description="Address to listen on.")
    port: int = Field(8000, ge=0, le=65535, description="Port to listen on; 0 takes a free one.")
    workers: int = Field(1, ge=1, le=256, description="Processes that share the port.")
    threads: int = Field(
        0,
        ge=0,
        le=1024,
        description="Threads that compute in a worker; 0 divides what CPU affinity and the cgroup's quota allow.",
    )
    device: Literal["auto", "cpu", "cuda"] = Field(
        "auto", description="Where the graphs run: auto takes CUDA where onnxruntime has it and there is a card."
    )
    device_memory_bytes: Annotated[ByteSize, AfterValidator(_enough)] = Field(
        ByteSize(0), le=2**50, description="Most bytes of the card for a worker's batches; 0 for as much as there is."
    )
    device_full: Literal["refuse", "cpu"] = Field(
        "refuse", description="What becomes of a batch that the card has too little memory for: 503, or the CPU's work."
    )
    max_body_bytes: Limit = Field(ByteSize(2**30), description="Largest request body, in bytes (1GiB is taken too).")
    max_json_bytes: Limit = Field(ByteSize(2**25), description="Largest JSON body, of a request or answer, in bytes.")
    max_inflight_bytes: Limit = Field(
        ByteSize(2**31),
        validate_default=True,
        description="Most bytes of bodies and results in a worker at once, at least MAX_BODY_BYTES.",
    )
    max_elements: int = Field(2**30, ge=1, description="Most elements of an input, or of what the inputs broadcast to.")
    queue_seconds: float = Field(
        0.5, ge=0, le=3600, description="Longest that work should wait for a thread; what would wait longer gets a 503."
    )
    drain_seconds: float = Field(
        5, ge=0, le=3600, description="Seconds after SIGTERM in which all but /readyz is answered as before."
    )
    grace_seconds: float = Field(
        20, ge=0, le=3600, description="Seconds after those for requests that are being answered."
    )
    watchdog_seconds: Annotated[float, AfterValidator(_seconds_of_watch)] = Field(
        30, ge=0, le=3600, description="Seconds without a turn of the event loop that end the process; 0: never."
    )
    head_seconds: Seconds = Field(10, description="Most seconds until a request's head is whole, else 408.")
    body_seconds: Seconds = Field(
        10, description="Most seconds without a byte of a body, and after them at 64 KiB/s or more, else 408."
    )
    send_seconds: Seconds = Field(30, description="Most seconds in which a client takes nothing of its answer.")
    idle_seconds: int = Field(75, ge=1, description="Seconds that a connection is kept without a request.")
    cors_origins: Annotated[tuple[Origin, ...], NoDecode] = Field(
        (),
        description="Origins whose browser pages may ask, comma-separated (https://example.org), or * for all.",
    )
    api_keys: Annotated[ListedKeys, NoDecode] = Field(
        (),
        description="Keys of which every request must carry one, probes excepted; comma-separated, each of at least 16"
        " visible ASCII characters.",
    )
    api_keys_file: Annotated[KeysInFile, NoDecode] = Field(
        (), description="File with more such keys, one a line, read at start; # begins a comment line."
    )
    docs: bool = Field(True, description="Whether /docs, /redoc, /static and /openapi.json are there.")
    metrics: bool = Field(True, description="Whether /metrics is there.")
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="Least level that is logged.")
    log_format: Literal["text", "json"] = Field("text", description="Form of a log line.")
    traces: bool = Field(
        False, description="Send OpenTelemetry traces, as the OTEL_ variables say; needs pip install 'lossmeter[otel]'."
    )

    @field_validator("cors_origins", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return [word.strip() for word in value.split(",") if word.strip()] if isinstance(value, str) else value

    @field_validator("max_inflight_bytes")
    @classmethod
    def _holds_a_body(cls, value: ByteSize, others: ValidationInfo) -> ByteSize:
        least: ByteSize = others.data.get("max_body_bytes", value)
        if value == cls.model_fields["max_inflight_bytes"].default:
            return max(value, least)
        if value < least:
            raise PydanticCustomError("inflight", "must be at least MAX_BODY_BYTES, which is {least}", {"least": least})
        return value


def load() -> Settings:
    """The settings of this process's environment. Raises SettingsError naming every one that is wrong."""
    try:
        return Settings()
    except ValidationError as error:
        wrong = (_told(str(fault["loc"][0]), fault["input"], fault["msg"]) for fault in error.errors())
        raise SettingsError("; ".join(wrong)) from None


def _told(name: str, value: object, message: str) -> str:
    shown = "" if name in SECRET else f" is {str(value)[:64]!r}"
    return f"{PREFIX}{name.upper()}{shown}: {message}"


def unknown(environment: Mapping[str, str] = os.environ) -> list[str]:
    """Variables that look like settings and are none: misspelt, or of another version."""
    known = {PREFIX + name.upper() for name in Settings.model_fields} | {f"{PREFIX}URL"}  # which clients read
    return sorted(name for name in environment if name.upper().startswith(PREFIX) and name.upper() not in known)
