"""`python -m sumi` is the same as `sumi`."""

from sumi.cli import main

main()
