"""The studio: a page for artists on top of the API.

    sumi studio        http://127.0.0.1:8080/studio/

Gradio lays the page out, mounted in the server's own application. What the page draws are jobs of the API. A page that
is loaded again, or whose server restarted, finds everything where it was.
"""

from __future__ import annotations

import asyncio
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

from fastapi import FastAPI
from starlette.responses import RedirectResponse
from starlette.routing import Mount
from starlette.staticfiles import StaticFiles

__all__ = ["PAGES", "add_studio"]

PATH: Final = "/studio"
PAGES: Final = ("/", PATH)
"""The page's paths. The page itself holds nobody's data, so loading it needs no key."""
STATIC = Path(__file__).with_name("static")
os.environ.update(GRADIO_ANALYTICS_ENABLED="False", HF_HUB_OFFLINE="1", HF_HUB_DISABLE_TELEMETRY="1")


def add_studio(app: FastAPI) -> None:
    """Add the page, and the routes that it needs beside the API, to an application of `sumi.serving`."""
    from sumi.studio import archive, how_it_works, offers, svg

    for routes in (archive.routes, offers.routes, svg.routes, how_it_works.routes):
        app.include_router(routes(app.state.shared))
    for path in PAGES:
        app.add_api_route(path, lambda: RedirectResponse(f"{PATH}/"), include_in_schema=False)
    app.mount(f"{PATH}/own", StaticFiles(directory=STATIC))
    with ThreadPoolExecutor(1) as aside:  # where Gradio finds no event loop it leaves one open
        aside.submit(asyncio.run, mount(app)).result()


async def mount(app: FastAPI) -> None:
    """Mount Gradio's application inside the shell."""
    import gradio as gr

    from sumi.studio.page import page, theme
    from sumi.studio.shell import Shell

    sumi = app.state.shared.sumi
    gr.mount_gradio_app(
        app, page(sumi), path=PATH, theme=theme(), footer_links=[], run_history=False, ssr_mode=False,
        mcp_server=False, pwa=False, enable_monitoring=False, show_error=False,
    )  # fmt: skip
    mounted = app.routes[-1]
    assert isinstance(mounted, Mount)
    mounted.app = Shell(mounted.app)
