"""Bring an image into a registry, each step a verb: publish, join, sign, verify, tag.

The order is the point: what is pushed has no tag until its signatures and attestations have been
verified, so a name that people pull never means an image that was not.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import re
import sys
import tempfile
from pathlib import Path

import engine
import image
import layout
import provenance
import registry
import sign
import vex
from common import ROOT, die, entry, say, step

GITHUB = "https://token.actions.githubusercontent.com"  # who vouches for a workflow's identity


def words(variable: str, example: str) -> list[str]:
    """Return the words of an environment variable, or end with one line if there are none."""
    found = os.environ.get(variable, "").split()
    if not found:
        die(f"{variable} is missing, for instance {variable}={example}")
    return found


def word(variable: str, example: str) -> str:
    """Return the one word of an environment variable, or end with one line."""
    found = words(variable, example)
    if len(found) > 1:
        die(f"{variable}={os.environ[variable]}: expected one word, for instance {example}")
    return found[0]


def identity() -> str:
    """Return who signs, or has to have signed: on GitHub the workflow, as its certificate says."""
    return word(
        "IDENTITY", "https://github.com/owner/name/.github/workflows/release.yml@refs/tags/v1.2.3"
    )


def expected() -> sign.Expected:
    """Who has to have signed, by IDENTITY and ISSUER."""
    return sign.Expected(identity(), os.environ.get("ISSUER") or GITHUB)


def publish(repository: str, *, optional: bool = False) -> str:
    """Push $IMAGE, which the engine has, by its digest; return `repository@sha256:...`.

    Empty if the push is `optional` and the registry says that it is not allowed.
    """
    name = image.name()
    registry.checked(repository)
    image.find()
    with tempfile.TemporaryDirectory() as temporary:
        saved = registry.save(name, Path(temporary))
        digest = registry.push(saved, repository, optional=optional)
    if not digest:
        return ""
    say(f"pushed {name}, without a tag")
    return f"{repository}@{digest}"


def join(references: list[str]) -> str:
    """Push an index of images of one repository; return `repository@sha256:...`."""
    places = [registry.split(reference) for reference in references]
    repositories = {repository for repository, _ in places}
    if len(repositories) > 1:
        die(f"IMAGES: an index names images of one repository, not of {sorted(repositories)}")
    (repository,) = repositories
    with tempfile.TemporaryDirectory() as temporary:
        digest = registry.join(repository, [digest for _, digest in places], Path(temporary))
    say(f"joined {len(places)} to one index, without a tag")
    return f"{repository}@{digest}"


def attest(reference: str, signer: sign.Signer, who: str) -> None:
    """Attest what one image is: SBOMs, provenance, which vulnerabilities do not concern it.

    The SBOMs are made from what the registry has; `who` built the image.
    """
    with tempfile.TemporaryDirectory() as temporary:
        out = Path(temporary)
        folder = out / "image"
        registry.pull(reference, folder)
        command = [sys.executable, str(ROOT / "scripts/sbom.py"), "--layout", str(folder)]
        step(f"SBOM of {reference}", [*command, "--out", str(out)])
        config = layout.load(folder).config
        statement = out / "provenance.json"
        statement.write_text(json.dumps(provenance.predicate(config, who)))
        for kind, name in {**sign.SBOMS, sign.PROVENANCE: statement.name}.items():
            sign.attest(reference, kind, out / name, signer)
        for file in sorted(vex.FOLDER.glob("*.json")):
            sign.attest(reference, sign.EXCEPTIONS, file, signer)


def sign_all(reference: str, signer: sign.Signer, who: str) -> None:
    """Sign an index and its images as `who`; attest what each image is."""
    repository, _ = registry.split(reference)
    with tempfile.TemporaryDirectory() as temporary:
        images = registry.images_in(reference, Path(temporary))
    for each in images:
        attest(f"{repository}@{each}", signer, who)
    sign.sign(reference, signer)
    say(f"signed {reference} and its {len(images)} image(s); attested SBOMs and provenance")


def verify(reference: str, who: sign.Expected) -> None:
    """Verify as a consumer does, and show what was found."""
    images = sign.verify(reference, who)
    say(f"verified {reference}")
    for digest, platform in images.items():
        print(f"{platform}  {digest}  signature, SBOMs, provenance, each byte")


def names() -> list[str]:
    """Return the tags for what was built from this commit, today.

    The commit's and the day's; a version's, with those of its series, where git has tagged the
    commit as one (1.2 follows 1.2.3, but not 1.2.4-rc.1); else a branch's, on GitHub.
    """
    tags = [f"sha-{image.git('rev-parse', '--short=12', 'HEAD')}"]
    tags.append(datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d"))
    version = image.git("describe", "--tags", "--exact-match", "--match", "v[0-9]*", "HEAD")
    if version:
        release = re.fullmatch(r"v((\d+\.\d+)\.\d+)", version)
        tags += list(release.groups()) if release else [version.removeprefix("v")]
    elif os.environ.get("GITHUB_REF_TYPE") == "branch":
        tags.append(re.sub(r"[^\w.-]", "-", os.environ["GITHUB_REF_NAME"], flags=re.ASCII))
    return tags


def tag(reference: str, tags: list[str], who: sign.Expected) -> None:
    """Put the tags on, if all can be verified: a name never means an image that was not."""
    registry.check_tags(tags)
    verify(reference, who)
    with tempfile.TemporaryDirectory() as temporary:
        registry.tag(reference, tags, Path(temporary))
    say(f"tagged {reference}: {' '.join(tags)}")


def main() -> None:
    """Do what the command line asks for; the rest comes from the environment."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("verb", choices=("publish", "join", "sign", "verify", "tag"))
    chosen = parser.parse_args().verb
    engine.main()
    if chosen == "publish":
        repository = word("REPOSITORY", "registry.example/name")
        print(publish(repository, optional=bool(os.environ.get("OPTIONAL"))))
    elif chosen == "join":
        print(join(words("IMAGES", '"registry.example/name@sha256:... ...@sha256:..."')))
    elif chosen == "sign":
        sign_all(image.name(), sign.Signer(), identity())
    elif chosen == "verify":
        verify(image.name(), expected())
    else:
        tags = os.environ.get("TAGS", "").split() or names()
        tag(image.name(), tags + os.environ.get("EXTRA_TAGS", "").split(), expected())


if __name__ == "__main__":
    with entry():
        main()
