"""What the tests of a release share: small images to release, and what a registry names."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import registry

if TYPE_CHECKING:
    from pathlib import Path

REVISION = "0123456789abcdef0123456789abcdef01234567"
# The one file is one that the check of the SBOM knows.
DOCKERFILE = f"""
FROM scratch
COPY passwd /etc/passwd
LABEL org.opencontainers.image.revision={REVISION}
HEALTHCHECK CMD ["/check"]
"""


def lay(context: Path) -> None:
    """Write the context of a build, which needs no emulation for another platform."""
    (context / "Dockerfile").write_text(DOCKERFILE)
    (context / "passwd").write_text("nobody:x:65534:65534::/:/\n")


def tags(repository: str, folder: Path) -> set[str]:
    """The tags that people would pull; cosign keeps signatures and attestations as tags as well."""
    command = ("skopeo", "list-tags", "--tls-verify=false", f"docker://{repository}")
    done = registry.tool(folder, *command)
    found = json.loads(done.stdout)["Tags"] if done.returncode == 0 else []
    return {tag for tag in found if not tag.startswith("sha256-")}
