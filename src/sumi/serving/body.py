"""A request's body: counted and timed while it arrives, and read as JSON away from the event loop.

    a body may take `body_s` seconds, and one more for each LEAST_RATE bytes of it that came

A body that is wrong in its form is refused as FastAPI refuses one.
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

__all__ = ["Arriving", "inlined", "json_body", "kind_of", "read_json", "too_large", "validated"]

LEAST_RATE: Final = 32 * 1024
"""Bytes a second."""
MOST_SIGNS: Final = 20_000
"""Of a JSON body's structure: `,`, `:`, `[` and `{`. Each may cost a Python object; our own bodies have some dozens."""
Model = TypeVar("Model", bound=BaseModel)


class Arriving:
    """A body on its way. refused: why it will not be read to its end, if so.

    most: bytes that are taken. body_s: see above. whole: called once all of it has come; it may raise ApiError.
    """

    def __init__(self, receive: Receive, most: int, body_s: float, whole: Callable[[], None]) -> None:
        self.most, self.came = most, 0
        self.refused: ApiError | None = None
        self._receive, self._body_s, self._on_whole = receive, body_s, whole
        self._is_whole, self._started = False, time.monotonic()
        self._timeout: asyncio.Timeout | None = None
        self._cut = False

    async def __call__(self) -> Message:
        """The next piece; after the last, what the server says of the connection."""
        if self.refused is not None:
            raise self.refused
        if self._is_whole:
            return await self._receive()
        try:
            left_s = self._started + self._body_s + self.came / LEAST_RATE - time.monotonic()
            async with asyncio.timeout(0 if self._cut else max(0, left_s)) as self._timeout:
                message = await self._receive()
        except TimeoutError:
            self._refuse(ApiError(408, "the request took too long to arrive; send it again, faster", retry=True))
        if message["type"] == "http.disconnect":
            self._refuse(ApiError(499, "the client closed the connection in the middle of its request"))
        self.came += len(message.get("body", b""))
        if self.came > self.most:
            self._refuse(too_large(self.most))
        if not message.get("more_body", False):
            self._is_whole = True
            try:
                self._on_whole()
            except ApiError as error:
                self._refuse(error)
        return message

    def cut(self) -> None:
        """Give up waiting for more; the request is answered with 408."""
        self._cut = True
        if self._timeout is not None:
            self._timeout.reschedule(asyncio.get_running_loop().time())

    def _refuse(self, error: ApiError) -> NoReturn:
        self.refused = error
        raise error


async def read_json(request: Request, kind: type[Model]) -> Model:
    """Read a JSON body as a model, in a thread; the same errors as where FastAPI reads it."""
    if kind_of(request) != "application/json":
        raise ApiError(415, "the body should be application/json", code="unsupported_media_type")
    data = await request.body()

    def read() -> Model:
        if sum(map(data.count, (b",", b":", b"[", b"{"))) > MOST_SIGNS:
            raise ApiError(400, f"the body has over {MOST_SIGNS} signs of structure, more than any request needs")
        return validated(lambda: kind.model_validate_json(data))

    return await asyncio.to_thread(read)


def validated(read: Callable[[], Model]) -> Model:
    """What `read` makes of a body; where that has not its form, the same error as from FastAPI's own reading."""
    try:
        return read()
    except ValidationError as error:
        raise RequestValidationError(error.errors()) from None


def kind_of(request: Request) -> str:
    """A body's type, without its parameters."""
    return request.headers.get("content-type", "").partition(";")[0].strip().casefold()


def json_body(kind: type[BaseModel]) -> dict[str, Any]:
    """What the OpenAPI document says of a JSON body that is read here and not by FastAPI."""
    schema = inlined(kind.model_json_schema())
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}


def inlined(schema: dict[str, Any]) -> dict[str, Any]:
    """A schema with its definitions put where they are meant, as the document has no room for them."""
    definitions = schema.pop("$defs", {})

    def put(node: Any) -> Any:
        if isinstance(node, dict):
            if reference := node.get("$ref"):
                return put(definitions[reference.rpartition("/")[2]])
            return {name: put(value) for name, value in node.items()}
        return [put(value) for value in node] if isinstance(node, list) else node

    return dict(put(schema))


def too_large(most: int) -> ApiError:
    """413."""
    return ApiError(413, f"the request is over {most // 2**20} MB, the most that is taken here")
