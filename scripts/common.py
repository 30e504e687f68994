"""What the scripts share: how they print, how they run other programs, how they fail."""

from __future__ import annotations

import contextlib
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

ROOT = Path(__file__).resolve().parent.parent


def say(message: str) -> None:
    """Print one line of progress to standard error; standard output is for results."""
    print(f"==> {message}", file=sys.stderr, flush=True)


def die(message: str) -> NoReturn:
    """End with one clear message and status 1; never with a traceback."""
    print(f"error: {message}", file=sys.stderr, flush=True)
    raise SystemExit(1)


@contextlib.contextmanager
def entry() -> Iterator[None]:
    """Turn what a user can cause into one line and a status; wraps every script's main()."""
    try:
        yield
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        raise SystemExit(130) from None
    except FileNotFoundError as error:
        die(f"{error.filename} is missing")
    except OSError as error:
        die(f"{error.filename or 'input or output'}: {error.strerror}")


NOT_INSTALLED = 127  # a shell's status for a command that it does not find


def capture(*command: str) -> subprocess.CompletedProcess[str]:
    """Run a short command and keep what it prints; status 127 where it is not installed."""
    try:
        return subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return subprocess.CompletedProcess(
            command, NOT_INSTALLED, "", f"{command[0]} is not installed"
        )


def output(*command: str) -> str | None:
    """Return what the command prints on standard output, stripped; None if it fails."""
    done = capture(*command)
    return done.stdout.strip() if done.returncode == 0 else None


def git(*arguments: str, text: str | None = None, env: Mapping[str, str] | None = None) -> str:
    """Run git in this checkout and return what it prints, stripped.

    `text` goes to its standard input, `env` is added to the environment.

    Raises:
        SystemExit: with its reason in one line, if it fails. Whoever calls this has changed nothing
            yet, or takes it back.
    """
    done = subprocess.run(
        ["git", "-C", str(ROOT), *arguments],
        input=text,
        stdin=subprocess.DEVNULL if text is None else None,
        env={**os.environ, **(env or {})},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        reason = " ".join(done.stderr.split()) or f"status {done.returncode}"
        die(f"git {arguments[0]} failed, and nothing was changed: {reason}")
    return done.stdout.strip()


def step(
    title: str, command: Sequence[str], env: Mapping[str, str] | None = None, *, hint: str = ""
) -> None:
    """Run a long command under one line of progress, with the seconds gone by.

    Its own output is not shown. If it fails, its last lines are, and this program ends with one
    line and status 1; `hint` says in that line what to do.
    """
    say(f"{title} ...")
    start = time.monotonic()
    live = sys.stderr.isatty()
    with tempfile.TemporaryFile("w+", errors="replace") as log:
        try:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, **(env or {})},
            )
        except FileNotFoundError:
            die(f"{title}: {command[0]} is not installed")
        while True:
            try:
                # A terminal gets a counter, a log a line every 15 seconds.
                process.wait(1 if live else 15)
                break
            except subprocess.TimeoutExpired:
                seconds = f"    {time.monotonic() - start:.0f} s"
                print(seconds, end="\r" if live else "\n", file=sys.stderr, flush=True)
        if process.returncode != 0:
            log.seek(0)
            sys.stderr.writelines(f"    {line}" for line in log.readlines()[-15:])
            reason = f"{title}: {command[0]} ended with status {process.returncode}"
            die(f"{reason}. {hint}" if hint else reason)
    print(f"    done in {time.monotonic() - start:.0f} s", file=sys.stderr, flush=True)


def on_debian() -> bool:
    """Whether this machine is a Debian, an Ubuntu, or one derived from them."""
    try:
        release = platform.freedesktop_os_release()
    except OSError:
        return False
    return bool({"debian", "ubuntu"} & {release["ID"], *release.get("ID_LIKE", "").split()})


def may_install() -> bool:
    """Whether packages can be installed here: a Debian or Ubuntu, as root."""
    return os.geteuid() == 0 and on_debian()


def announce(what: str, reason: str) -> None:
    """Say that `what` is about to be installed on this machine, for it is a person's as well.

    Whoever sits at the terminal is asked. Nobody does where there is no terminal, or where CI or
    ENGINE_INSTALL=always says so. After a no, or with ENGINE_INSTALL=never, the program ends.
    """
    choice = os.environ.get("ENGINE_INSTALL", "")
    plan = f"{reason}: about to install {what} on this machine, as root"
    if choice not in ("", "always", "never"):
        die(f"ENGINE_INSTALL={choice}: expected always or never; without it, you are asked")
    if choice == "never":
        die(f"{reason}, and ENGINE_INSTALL=never forbids to install it; install {what}")
    if choice == "always" or os.environ.get("CI", "") not in ("", "false", "0"):
        say(plan)
    elif not sys.stdin.isatty():
        say(f"{plan} (nobody to ask here; ENGINE_INSTALL=never would forbid it)")
    elif not says_yes(f"{plan}, from the distribution's packages. Go on?"):
        die(f"nothing was installed; install {what} by hand")


def says_yes(question: str) -> bool:
    """Whether the person at the terminal says yes; nothing at all is a no."""
    print(f"{question} [y/N] ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def apt_get(title: str, *arguments: str, hint: str = "") -> None:
    """Run apt-get without questions and without recommended packages."""
    command = ("apt-get", "-y", "--no-install-recommends", *arguments)
    step(title, command, env={"DEBIAN_FRONTEND": "noninteractive"}, hint=hint)
