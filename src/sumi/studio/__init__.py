"""The studio: a page for artists on top of the API. A thin shell; all that it knows it asks of `serving`.

    sumi studio        http://127.0.0.1:8080/studio/

Gradio lays the page out and is mounted in the server's own application. What is drawn are jobs of the API, so a page
that is loaded again, or whose server was restarted, finds everything where it was.
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
"""Where the page lies: it holds nothing of anybody's, so it needs no key to load."""
STATIC = Path(__file__).with_name("static")
os.environ.update(GRADIO_ANALYTICS_ENABLED="False", HF_HUB_OFFLINE="1", HF_HUB_DISABLE_TELEMETRY="1")


def add_studio(app: FastAPI) -> None:
    """Put the page, and what it asks for beside the API, into an application of `sumi.serving`."""
    from sumi.studio import archive, how_it_works, svg

    for routes in (archive.routes, svg.routes, how_it_works.routes):
        app.include_router(routes(app.state.desk))
    for path in PAGES:
        app.add_api_route(path, lambda: RedirectResponse(f"{PATH}/"), include_in_schema=False)
    app.mount(f"{PATH}/own", StaticFiles(directory=STATIC))
    with ThreadPoolExecutor(1) as aside:  # Gradio needs an event loop, and leaves its own open where it finds none
        aside.submit(asyncio.run, mount(app)).result()


async def mount(app: FastAPI) -> None:
    """Mount Gradio's application, and put the shell around it."""
    import gradio as gr

    from sumi.studio.page import page, theme
    from sumi.studio.shell import Shell

    usual = app.state.desk.sumi.settings
    gr.mount_gradio_app(
        app, page(usual), path=PATH, theme=theme(), footer_links=[], run_history=False, ssr_mode=False,
        mcp_server=False, pwa=False, enable_monitoring=False, show_error=False,
    )  # fmt: skip
    mounted = app.routes[-1]
    assert isinstance(mounted, Mount)
    mounted.app = Shell(mounted.app)
