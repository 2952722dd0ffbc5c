"""A request's body: counted and timed while it arrives, and read as JSON outside the event loop.

    a body may take body_timeout_s seconds, plus one for each MIN_BYTES_PER_S bytes of it that arrived

A malformed body is refused with the error that FastAPI would give.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any, Final, NoReturn, TypeVar

from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ValidationError
from starlette.requests import Request
from starlette.types import Message, Receive

from sumi.serving.errors import ApiError

__all__ = [
    "IncomingBody",
    "document_json_body",
    "inline_definitions",
    "make_too_large_error",
    "read_json",
    "read_media_type",
    "validate_body",
]

MIN_BYTES_PER_S: Final = 32 * 1024
MAX_STRUCTURE_CHARS: Final = 20_000
"""Most `,`, `:`, `[` and `{` of a JSON body. Each may cost a Python object; our own bodies have some dozens."""
Model = TypeVar("Model", bound=BaseModel)


class IncomingBody:
    """A body on its way; an ASGI `receive`.

    Args:
        receive: the server's own `receive`.
        max_bytes: size at which the body is refused.
        timeout_s: seconds that it may take, plus its allowance by size.
        on_complete: called once the body has arrived in full; it may raise ApiError.

    Attributes:
        refused: why the body was refused, if it was.
        received_bytes: size so far.
    """

    def __init__(self, receive: Receive, max_bytes: int, timeout_s: float, on_complete: Callable[[], None]) -> None:
        self.max_bytes, self.received_bytes = max_bytes, 0
        self.refused: ApiError | None = None
        self._receive, self._timeout_s, self._on_complete = receive, timeout_s, on_complete
        self._is_complete, self._started = False, time.monotonic()
        self._deadline: asyncio.Timeout | None = None
        self._is_aborted = False

    async def __call__(self) -> Message:
        """Return the next message; after the body, what the server reports of the connection."""
        if self.refused is not None:
            raise self.refused
        if self._is_complete:
            return await self._receive()
        try:
            left_s = self._started + self._timeout_s + self.received_bytes / MIN_BYTES_PER_S - time.monotonic()
            async with asyncio.timeout(0 if self._is_aborted else max(0, left_s)) as self._deadline:
                message = await self._receive()
        except TimeoutError:
            self._refuse(ApiError(408, "the request took too long to arrive; send it again, faster", retry=True))
        if message["type"] == "http.disconnect":
            self._refuse(ApiError(499, "the client closed the connection in the middle of its request"))
        self.received_bytes += len(message.get("body", b""))
        if self.received_bytes > self.max_bytes:
            self._refuse(make_too_large_error(self.max_bytes))
        if not message.get("more_body", False):
            self._is_complete = True
            try:
                self._on_complete()
            except ApiError as error:
                self._refuse(error)
        return message

    def abort(self) -> None:
        """Stop waiting for the rest; the request is answered with 408."""
        self._is_aborted = True
        if self._deadline is not None:
            self._deadline.reschedule(asyncio.get_running_loop().time())

    def _refuse(self, error: ApiError) -> NoReturn:
        self.refused = error
        raise error


async def read_json(request: Request, kind: type[Model]) -> Model:
    """Read a JSON body as a model, in a thread.

    Raises:
        ApiError: the body is not JSON by its type, or has too much structure.
        RequestValidationError: it does not fit the model.
    """
    if read_media_type(request) != "application/json":
        raise ApiError(415, "the body should be application/json", code="unsupported_media_type")
    data = await request.body()

    def read() -> Model:
        if sum(map(data.count, (b",", b":", b"[", b"{"))) > MAX_STRUCTURE_CHARS:
            raise ApiError(400, f"the body has more than {MAX_STRUCTURE_CHARS:,} commas, colons and brackets")
        return validate_body(lambda: kind.model_validate_json(data))

    return await asyncio.to_thread(read)


def validate_body(read: Callable[[], Model]) -> Model:
    """Return what `read` makes of a body; pydantic's ValidationError becomes FastAPI's RequestValidationError."""
    try:
        return read()
    except ValidationError as error:
        raise RequestValidationError(error.errors()) from None


def read_media_type(request: Request) -> str:
    """Return a body's media type, without its parameters."""
    return request.headers.get("content-type", "").partition(";")[0].strip().casefold()


def document_json_body(kind: type[BaseModel]) -> dict[str, Any]:
    """Return the OpenAPI document of a JSON body that the route reads itself."""
    schema = inline_definitions(kind.model_json_schema())
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}


def inline_definitions(schema: dict[str, Any]) -> dict[str, Any]:
    """Return a JSON schema with its $defs put where they are referenced."""
    definitions = schema.pop("$defs", {})

    def inline(node: Any) -> Any:
        if isinstance(node, dict):
            if reference := node.get("$ref"):
                return inline(definitions[reference.rpartition("/")[2]])
            return {name: inline(value) for name, value in node.items()}
        return [inline(value) for value in node] if isinstance(node, list) else node

    return dict(inline(schema))


def make_too_large_error(max_bytes: int) -> ApiError:
    """Return the error of a body over the limit (413)."""
    return ApiError(413, f"the request is over {max_bytes // 2**20} MB, the largest that this route takes")
