"""Whose each file is: one list, read by `make adopt`, `make update` and the tests.

What no pattern names is the template's. docs/fork.md says what each class means for a fork.
"""

from __future__ import annotations

import fnmatch

# The address and commit of the template that a fork began with, or was last updated to.
RECORD = ".template.toml"

FORK = "fork's"  # an update never touches it
SHARED = "shared"  # both change it: an update merges it line by line
GENERATED = "generated"  # a verb writes it; what can't be merged stays, and is written again
TEMPLATE = "template's"  # a fork leaves it as it is; merged all the same, if it does not

# As in fnmatch, where a * stands for slashes, too.
PATTERNS = {
    FORK: (
        "src/app/*",
        "tests/app/*",
        "README.md",
        "CHANGELOG.md",
        "LICENSE",
        ".github/CODEOWNERS",
        "deploy/kubernetes/overlays/*",
        RECORD,
    ),
    SHARED: (
        "pyproject.toml",
        "compose.yaml",
        "gunicorn.conf.py",
        "requirements/*.list",
        "deploy/seccomp.json",
        "deploy/monitoring/alertmanager.yaml",
        "deploy/kubernetes/base/*",
        "deploy/swarm/stack.yaml",
        "SECURITY.md",
        ".github/dependabot.yml",
        ".github/workflows/*",
    ),
    # By `make lock`; by `make docs`.
    GENERATED: ("requirements/*.txt", ".env.example", "docs/settings.md"),
}


def owners(path: str) -> list[str]:
    """The classes whose patterns name the file: at most one, or the list is wrong."""
    return [
        name
        for name, patterns in PATTERNS.items()
        if any(fnmatch.fnmatchcase(path, pattern) for pattern in patterns)
    ]


def owner(path: str) -> str:
    """Whose the file is: FORK, SHARED, GENERATED or TEMPLATE."""
    return next(iter(owners(path)), TEMPLATE)
