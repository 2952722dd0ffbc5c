"""Curation: a data set examined before anything learns from it.

`scan` opens every picture once. From the scans `check` says what would go wrong, `duplicates` finds pictures that are
there twice, and `rights` says whose they are and which may be trained on.
"""
