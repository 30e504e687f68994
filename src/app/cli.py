"""The command line: `app` in the image, `python -m app` anywhere."""

from drydock.cli import main

__all__ = ["main"]
