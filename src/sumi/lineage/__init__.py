"""The lineage: every published system trained for the same time on the same pictures, measured and shown side by side.

`runner` trains one system and draws with it, `benchmark` measures its pictures, `html_page` and `docs_block` show them.
"""

__all__: list[str] = []  # the package exports its modules; each of them lists its names
