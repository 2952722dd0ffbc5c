"""The shipped model: what it is taught, how it is trained, and how it becomes a bundle."""
