"""Explanations of a picture: which word drew what, how it emerged from noise, and which training drawings it resembles.

`prompt_words` leaves out each word in turn, and `heatmap` shows the changes. `trace` follows one picture through every
denoising step. `nearest_drawings` searches the training drawings, and `neighbor_sheet` shows them.
"""

__all__: list[str] = []  # the package exports its modules; each of them lists its names
