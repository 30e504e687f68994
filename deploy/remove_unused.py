"""Remove from a site-packages what a list names, and from the records of the wheels as well.

    remove_unused.py LIST SITE_PACKAGES

The records go on listing exactly what is there, for scanners and for the contract.
"""

from __future__ import annotations

import csv
import shutil
import sys
from pathlib import Path


def main(listing: Path, site: Path) -> None:
    """Remove each path of `listing` from `site`; what is gone already is no error.

    Raises:
        SystemExit: with one line, if a path leads out of `site`.

    """
    for line in listing.read_text().splitlines():
        pattern = line.partition("#")[0].strip()
        if pattern.startswith("/") or ".." in Path(pattern).parts:
            sys.exit(f"error: {listing}: {pattern}: expected a path in site-packages")
        for path in list(site.glob(pattern)) if pattern else ():
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
    for record in site.glob("*.dist-info/RECORD"):
        rows = record.read_bytes().decode().splitlines(keepends=True)
        kept = [row for row in rows if (site / next(csv.reader([row]))[0]).exists()]
        record.write_bytes("".join(kept).encode())


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
