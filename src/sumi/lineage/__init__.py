"""The lineage: every published system trained for the same time on the same pictures, measured and shown side by side.

`runner` trains one system and draws with it, `benchmark` measures its pictures, `page` and `docs_block` show them.
"""
