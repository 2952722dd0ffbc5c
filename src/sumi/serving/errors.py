"""Everything that goes wrong, as a client is told it: one shape, one status, and whether asking again may help.

    {"error": {"message", "type", "param", "code"}}        all four keys, always

`x-should-retry` is what OpenAI's clients obey before anything else: false wherever the same request would only fail
the same way. Messages come from `SumiError`, which is written for people; of a bug nothing is told but that it was one.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse

from sumi.errors import SumiError
from sumi.pipelines.interpreted import UnknownPromptError
from sumi.serving.engine import OverloadError
from sumi.serving.job_handle import StoppedError
from sumi.store import ConflictError, DatabaseFaultError, Job, LostFileError, OverLimitError, UnavailableError
from sumi.trust import ContentPolicyError

__all__ = [
    "RESPONSES",
    "ApiError",
    "PlainJSON",
    "RefusedError",
    "as_api_error",
    "error_body",
    "failure",
    "moderation_blocked",
]

RETRIED: Final = (408, 409, 429)
_TYPES: Final = {
    401: "authentication_error", 403: "permission_error", 404: "not_found_error", 409: "conflict_error",
    429: "rate_limit_error",
}  # fmt: skip
_CODES: Final = {
    401: "invalid_api_key", 403: "forbidden", 404: "not_found", 405: "method_not_allowed", 408: "request_timeout",
    409: "conflict",
    413: "request_too_large", 429: "rate_limit_exceeded", 500: "server_error", 503: "unavailable",
}  # fmt: skip


class ErrorDetail(BaseModel):
    """What was wrong, of which kind, in which parameter, a code for programs, and prompts that would work."""

    message: str
    type: str
    param: str | None
    code: str | None
    suggestions: list[str] | None = None


class ErrorBody(BaseModel):
    """The body of every answer that is not a success."""

    error: ErrorDetail


RESPONSES: Final[dict[int | str, dict[str, Any]]] = {
    "4XX": {"model": ErrorBody, "description": "What was wrong with the request"},
    "5XX": {"model": ErrorBody, "description": "What the server could not do"},
}
"""For every route of the OpenAPI document."""


class ApiError(Exception):
    """An answer that is no success. retry_after_s: when to come back; retry: whether to, if that is not said."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        code: str | None = None,
        param: str | None = None,
        kind: str | None = None,
        retry_after_s: float | None = None,
        retry: bool = False,
        headers: Mapping[str, str] | None = None,
        suggestions: Sequence[str] = (),
    ) -> None:
        super().__init__(message)
        self.status, self.message, self.param = status, message, param
        self.code = code or _CODES.get(status, "invalid_request")
        self.kind = kind or _TYPES.get(status, "invalid_request_error" if status < 500 else "server_error")
        self.retry_after_s, self.retry = retry_after_s, retry or retry_after_s is not None
        self.more, self.suggestions = dict(headers or {}), list(suggestions)

    @property
    def body(self) -> dict[str, Any]:
        """As JSON values."""
        body = error_body(self.message, self.kind, self.param, self.code)
        if self.suggestions:
            body["error"]["suggestions"] = self.suggestions
        return body

    @property
    def headers(self) -> dict[str, str]:
        """What goes with it."""
        headers = dict(self.more)
        if self.status in RETRIED or self.status >= 500:
            headers["x-should-retry"] = str(self.retry).lower()
        if self.retry_after_s is not None:
            headers["Retry-After"] = str(max(1, math.ceil(self.retry_after_s)))
        return headers

    def response(self) -> PlainJSON:
        """The whole answer."""
        return PlainJSON(self.body, self.status, self.headers)


class RefusedError(SumiError):
    """The model cannot draw what a job asks for; every other error of a job is the server's."""


class PlainJSON(JSONResponse):
    """JSON in ASCII, which any text survives, half a character too."""

    def render(self, content: Any) -> bytes:
        """To bytes; NaN is a ValueError."""
        return json.dumps(content, allow_nan=False, separators=(",", ":")).encode("ascii")


def error_body(message: str, kind: str, param: str | None, code: str | None) -> dict[str, Any]:
    """The four keys."""
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


def moderation_blocked() -> ApiError:
    """What a client is told of a prompt that the policy does not let be drawn."""
    return ApiError(
        400, "the policy of this server does not let that be drawn", code="moderation_blocked", param="prompt",
        kind="image_generation_user_error",
    )  # fmt: skip


def as_api_error(error: Exception) -> ApiError:
    """What a client is told of any exception."""
    match error:
        case ApiError():
            return error
        case OverloadError():
            return ApiError(429, str(error), code="overloaded", retry_after_s=error.retry_after_s)
        case OverLimitError():
            return ApiError(429, str(error), retry_after_s=error.retry_after_s)
        case ConflictError():
            return ApiError(409, str(error), code="idempotency_key_in_use")
        case StoppedError():
            return ApiError(503, "the server is stopping; ask again soon", retry_after_s=2)
        case UnavailableError():
            return ApiError(503, "the database is busy or away; ask again soon", retry_after_s=5)
        case DatabaseFaultError():
            return ApiError(500, "this is a fault of the server, and is written in its log", retry=False)
        case LostFileError():  # its message is for whoever keeps the server
            return ApiError(500, "a file that was kept is missing or damaged", retry=False)
        case UnknownPromptError():
            return ApiError(400, str(error), code="unknown_prompt", param="prompt", suggestions=error.suggestions)
        case ContentPolicyError():
            return moderation_blocked()
        case SumiError():
            return ApiError(400, str(error))
        case RequestValidationError():
            return _invalid(error.errors())
        case HTTPException():
            return ApiError(error.status_code, _one_line(str(error.detail)), headers=error.headers)
        case _:
            return ApiError(500, "this is a fault of the server, and is written in its log", retry=False)


def failure(job: Job) -> ApiError:
    """What a client that waited for a job is told where it did not succeed."""
    if job.status == "canceled":
        return ApiError(409, "the job was canceled", code="canceled")
    error = job.error or {"code": "server_error", "message": "the job failed"}
    status = 400 if error["code"] == "invalid_request" else 500
    return ApiError(status, error["message"], code=error["code"])


def _invalid(faults: Sequence[Any]) -> ApiError:
    """The first fault of a body that does not have its form."""
    fault = faults[0]
    place = [part for part in fault["loc"] if part not in ("body", "query", "path", "header")]
    names = [part for part in place if isinstance(part, str)]
    if fault["type"] == "json_invalid" or fault["type"] in ("model_attributes_type", "model_type"):
        return ApiError(400, "the body should be one JSON object", code="invalid_json")
    param = names[0][:100] if names else None
    if fault["type"] == "extra_forbidden":
        return ApiError(400, f"unknown parameter: {_shown(param)}", param=param, code="unknown_parameter")
    if fault["type"] == "missing":
        said = "a body is needed" if param is None else f"missing parameter: {_shown(param)}"
        return ApiError(400, said, param=param, code="missing_required_parameter")
    said = _one_line(fault["msg"].removeprefix("Value error, "))
    return ApiError(400, said if param is None else f"{_shown(param)}: {said}", param=param, code="invalid_value")


def _shown(name: str | None) -> str:
    return ascii(name)


def _one_line(text: str) -> str:
    return " ".join(text.split())[:500]
