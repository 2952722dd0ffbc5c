"""Whole published systems, one file each, over the nouns of the rooms below."""
