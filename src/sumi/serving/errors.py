"""Errors as clients see them: one shape, one status, and whether a retry may help.

    {"error": {"message", "type", "param", "code"}}        all four keys, always

OpenAI's clients obey `x-should-retry` before anything else: it is false wherever the same request would fail again.
Messages come from `SumiError`, which is written for people. Of a bug a client learns only that there was one.
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
from sumi.trust.policy import Decision, Reason

__all__ = [
    "RESPONSES",
    "ApiError",
    "InvalidJobError",
    "PlainJSON",
    "error_body",
    "make_failure_error",
    "make_moderation_error",
    "to_api_error",
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
    """What was wrong: a message, its kind, the parameter, a code for programs, and prompts that would work."""

    message: str
    type: str
    param: str | None
    code: str | None
    suggestions: list[str] | None = None


class ErrorBody(BaseModel):
    """The body of every error response."""

    error: ErrorDetail


RESPONSES: Final[dict[int | str, dict[str, Any]]] = {
    "4XX": {"model": ErrorBody, "description": "What was wrong with the request"},
    "5XX": {"model": ErrorBody, "description": "What the server could not do"},
}
"""Error responses of every route, for the OpenAPI document."""


class ApiError(Exception):
    """An error response.

    Args:
        status: the HTTP status.
        message: one line for people.
        code, param, kind: the fields of the body; code and kind default by status.
        retry_after_s: seconds after which to retry.
        retry: whether a retry may help; implied by `retry_after_s`.
        headers: further headers.
        suggestions: prompts that would work.
    """

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
        self.extra_headers, self.suggestions = dict(headers or {}), list(suggestions)

    @property
    def body(self) -> dict[str, Any]:
        """The body, as JSON values."""
        body = error_body(self.message, self.kind, self.param, self.code)
        if self.suggestions:
            body["error"]["suggestions"] = self.suggestions
        return body

    @property
    def headers(self) -> dict[str, str]:
        """The headers."""
        headers = dict(self.extra_headers)
        if self.status in RETRIED or self.status >= 500:
            headers["x-should-retry"] = str(self.retry).lower()
        if self.retry_after_s is not None:
            headers["Retry-After"] = str(max(1, math.ceil(self.retry_after_s)))
        return headers

    def response(self) -> PlainJSON:
        """Return the whole response."""
        return PlainJSON(self.body, self.status, self.headers)


class InvalidJobError(SumiError):
    """The model cannot draw what a job asks for. Every other error of a job is the server's."""


class PlainJSON(JSONResponse):
    """A JSON response in ASCII, which holds any text, even half a surrogate pair."""

    def render(self, content: Any) -> bytes:
        """Return the bytes; ValueError for NaN."""
        return json.dumps(content, allow_nan=False, separators=(",", ":")).encode("ascii")


def error_body(message: str, kind: str, param: str | None, code: str | None) -> dict[str, Any]:
    """Return an error body with its four keys."""
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


def make_moderation_error(subject: str, decision: Decision, review_id: str | None = None) -> ApiError:
    """Return the error of a text or picture that the policy holds back.

    Args:
        subject: prompt, input or output.
        decision: why; the message names the codes of the rules.
        review_id: of the review that it waits for; None where it is refused.
    """
    what = {"prompt": "the prompt", "input": "the picture", "output": "the picture that was drawn"}[subject]
    codes = ", ".join(dict.fromkeys(one.code for one in decision.reasons))
    message = f"{what} was refused by this server's content policy ({codes})"
    if review_id is not None:
        message = f"{what} waits for a review ({review_id}: {codes}); send the request again once it is approved"
    return ApiError(
        400, message, code="moderation_blocked" if review_id is None else "moderation_review",
        param={"prompt": "prompt", "input": "image", "output": None}[subject], kind="image_generation_user_error",
    )  # fmt: skip


def to_api_error(error: Exception) -> ApiError:
    """Return the error response to any exception."""
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
            return ApiError(503, "the server is stopping; try again soon", retry_after_s=2)
        case UnavailableError():
            return ApiError(503, "the database is busy or away; try again soon", retry_after_s=5)
        case DatabaseFaultError():
            return ApiError(500, "an internal error; the server's log has it", retry=False)
        case LostFileError():  # its message is for the operator
            return ApiError(500, "a stored file is missing or damaged", retry=False)
        case UnknownPromptError():
            return ApiError(400, str(error), code="unknown_prompt", param="prompt", suggestions=error.suggestions)
        case ContentPolicyError():
            reasons = [Reason(code, code, "block") for code in error.codes or error.categories]
            return make_moderation_error("prompt", Decision(tuple(reasons)))
        case SumiError():
            return ApiError(400, str(error))
        case RequestValidationError():
            return _invalid(error.errors())
        case HTTPException():
            return ApiError(error.status_code, _one_line(str(error.detail)), headers=error.headers)
        case _:
            return ApiError(500, "an internal error; the server's log has it", retry=False)


def make_failure_error(job: Job) -> ApiError:
    """Return the error response to a client that waited for a job that did not succeed."""
    if job.status == "canceled":
        return ApiError(409, "the job was canceled", code="canceled")
    error = job.error or {"code": "server_error", "message": "the job failed"}
    is_ours = error["code"] not in ("invalid_request", "moderation_blocked", "moderation_review")
    status = 500 if is_ours else 400
    return ApiError(status, error["message"], code=error["code"])


def _invalid(faults: Sequence[Any]) -> ApiError:
    """Return the error of the first fault of a malformed body."""
    fault = faults[0]
    place = [part for part in fault["loc"] if part not in ("body", "query", "path", "header")]
    names = [part for part in place if isinstance(part, str)]
    if fault["type"] == "json_invalid" or fault["type"] in ("model_attributes_type", "model_type"):
        return ApiError(400, "the body should be one JSON object", code="invalid_json")
    param = names[0][:100] if names else None
    if fault["type"] == "extra_forbidden":
        return ApiError(400, f"unknown parameter: {param!a}", param=param, code="unknown_parameter")
    if fault["type"] == "missing":
        message = "a body is needed" if param is None else f"missing parameter: {param!a}"
        return ApiError(400, message, param=param, code="missing_required_parameter")
    message = _one_line(fault["msg"].removeprefix("Value error, "))
    return ApiError(400, message if param is None else f"{param!a}: {message}", param=param, code="invalid_value")


def _one_line(text: str) -> str:
    return " ".join(text.split())[:500]
