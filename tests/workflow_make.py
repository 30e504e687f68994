"""What the workflows get as `make` where tests/drydock/pipeline/test_workflows.py runs them.

It takes the release's own steps: publish, join, sign, verify, tag. What GitHub alone has is
replaced: its registry by one on loopback, Sigstore's certificate by a rehearsal's. What the other
tests prove, and would take an hour, is noted only.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from pathlib import Path

# The folder that the test has made: a registry's address, a key, images to build.
FOLDER = Path(os.environ["REHEARSAL"])
sys.path.insert(0, str(Path.cwd() / "scripts"))


def build() -> None:
    """Build one of two small images, as the job of a platform would; note its name down here."""
    for platform in ("amd64", "arm64"):
        with contextlib.suppress(FileExistsError):
            (FOLDER / f"{platform}.taken").touch(exist_ok=False)
            name = (FOLDER / "image").read_text() + platform
            command = ["docker", "build", "--quiet", "--provenance=false", "--tag", name]
            command += ["--platform", f"linux/{platform}", str(FOLDER / "context")]
            subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
            Path(".image").write_text(name)
            return


def release(verb: str) -> None:
    """Do what a release does, with a rehearsal's registry and key."""
    import publish
    import rehearse
    import sign

    reference, who = os.environ.get("IMAGE", ""), os.environ.get("IDENTITY", "")
    signer, expected = rehearse.with_key(FOLDER / "key", who)
    if verb == "publish":
        os.environ["IMAGE"] = Path(".image").read_text()
        name = os.environ["REPOSITORY"].partition("/")[2]
        repository = f"{(FOLDER / 'address').read_text()}/{name}"
        print(publish.publish(repository, optional=bool(os.environ["OPTIONAL"])))
    elif verb == "join":
        print(publish.join(os.environ["IMAGES"].split()))
    elif verb == "sign" and (FOLDER / "forgetful").exists():
        sign.sign(reference, signer)
    elif verb == "sign":
        publish.sign_all(reference, signer, who)
    elif verb == "verify":
        publish.verify(reference, expected)
    else:
        extra = os.environ["EXTRA_TAGS"].split()
        publish.tag(reference, publish.names() + extra, expected)


def main() -> None:
    """Note the call, and do what can be done here."""
    verb = sys.argv[1]
    with (FOLDER / "calls").open("a") as calls:
        calls.write(f"{' '.join(sys.argv[1:])}\n")
    if verb == "image":
        build()
    elif verb in ("publish", "join", "sign", "verify", "tag"):
        release(verb)
    elif verb == "outdated" and "IMAGE=fixed" not in sys.argv:
        print("a table of what is outdated")
        raise SystemExit(1)


if __name__ == "__main__":
    main()
