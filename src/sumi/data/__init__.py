"""Training pictures: artwork with its rights, the words for it, and scenes composed from it."""
