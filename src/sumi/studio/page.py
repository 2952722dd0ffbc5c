"""The page, as Gradio lays it out: four tabs, the controls, and places that the scripts in `static/` fill.

No Gradio function runs when somebody draws. The scripts read Gradio's controls and send jobs to the API, where a job
outlives the page, the connection and the server.
"""

from __future__ import annotations

from typing import Final

import gradio as gr

from sumi.pipelines import Artist, Settings
from sumi.studio import how_it_works

__all__ = ["page", "theme"]

CHECKS: Final = """
## Where does a picture come from?

The server reads the signature in the file, the recipe in its metadata and the watermark in its pixels, and looks for
similar pictures in your gallery. The file is not kept.
"""
MAX_PICTURES, MAX_CANDIDATES, MAX_STEPS, MAX_GUIDANCE = 12, 24, 100, 12
"""Largest values of the controls; the API allows more."""


def page(sumi: Artist) -> gr.Blocks:
    """Return the page for a model: its controls start at the model's own settings."""
    with (blocks := gr.Blocks(title="Sumi", analytics_enabled=False, fill_width=True)):
        gr.Row(elem_id="masthead")
        with gr.Tabs(elem_id="tabs"):
            with gr.Tab("Draw", id="draw", elem_id="draw-tab"):
                _draw(sumi.settings)
            with gr.Tab("Gallery", id="gallery", elem_id="gallery-tab"):
                gr.Column(elem_id="gallery")
            with gr.Tab("Teach", id="teaching", elem_id="teach-tab", render_children=True):
                gr.Column(elem_id="teach")
            how_it_works.add_tab()
            with gr.Tab("Check", id="check", elem_id="check-tab"):
                gr.Markdown(CHECKS, elem_id="check-words")
                gr.Column(elem_id="checks")
    return blocks


def _draw(usual: Settings) -> None:
    with gr.Column(elem_id="workspace"):
        with gr.Row(elem_id="ask"):
            gr.Textbox(
                label="What should be drawn?", placeholder="a red fox", lines=1, max_lines=3, elem_id="prompt",
                max_length=500, interactive=True,
            )  # fmt: skip
            gr.Button("Draw", variant="primary", elem_id="draw", scale=0)
        gr.Row(elem_id="examples")
        gr.Column(elem_id="upload")
        with gr.Accordion("Settings", open=True, elem_id="settings"):
            _settings(usual)
        gr.Column(elem_id="queue")
        gr.Column(elem_id="feed")


def _settings(usual: Settings) -> None:
    gr.Column(elem_id="style")
    gr.Column(elem_id="adapters")
    gr.Slider(1, MAX_PICTURES, value=4, step=1, label="Pictures", elem_id="n", buttons=[], interactive=True)
    gr.Slider(
        1, MAX_CANDIDATES, value=1, step=1, label="Best of", elem_id="best-of", buttons=[], interactive=True,
        info="Draws so many, keeps those that fit best",
    )  # fmt: skip
    gr.Slider(
        1, max(MAX_STEPS, usual.steps), value=usual.steps, step=1, label="Steps", elem_id="steps", buttons=[],
        interactive=True,
    )  # fmt: skip
    gr.Slider(
        1, max(MAX_GUIDANCE, usual.guidance), value=usual.guidance, step=0.5, label="Guidance",
        elem_id="guidance", buttons=[], interactive=True,
    )  # fmt: skip
    gr.Textbox(label="Seed", placeholder="random", lines=1, max_length=20, elem_id="seed", interactive=True)
    gr.Radio(
        [("As in the prompt", "auto"), ("Transparent", "transparent"), ("White", "opaque"), ("A colour", "colour")],
        value="auto", label="Background", elem_id="background", interactive=True,
    )  # fmt: skip
    gr.Column(elem_id="colour")
    gr.Textbox(
        label="Leave out", placeholder="what to stay away from", lines=1, max_length=400, elem_id="negative",
        interactive=True,
    )  # fmt: skip


def theme() -> gr.themes.Base:
    """Return Gradio's theme without its colours and web fonts; `static/studio.css` does the rest."""
    return gr.themes.Base(font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"])
