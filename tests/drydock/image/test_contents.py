"""What is in the image, and what is not."""

from __future__ import annotations

import json
import re
import stat
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import pytest

import contents
from bounds import of_the_fork
from checkouts import CHECKOUT
from containers import docker
from contents import STATUS, packages, stanza

if TYPE_CHECKING:
    from rootfs import Root

PROGRAMS = re.compile(r"/(s?bin|libexec)/")

SHELLS = {"sh", "bash", "dash", "ash", "zsh", "ksh", "csh", "tcsh", "fish", "busybox", "toybox"}
PACKAGE_MANAGERS = {
    "apt",
    "apt-get",
    "dpkg",
    "dpkg-deb",
    "rpm",
    "yum",
    "dnf",
    "apk",
    "pacman",
    "nix",
}
COMPILERS = {"gcc", "g++", "cc", "c++", "cpp", "clang", "tcc", "ld", "as", "make", "rustc", "go"}
INSTALLERS = {"pip", "uv", "uvx", "pipx", "poetry", "conda", "easy_install", "hatch", "ensurepip"}
INTERPRETERS = {"perl", "ruby", "node", "lua", "awk", "gawk", "mawk", "sed", "vi", "tclsh"}
NETWORK_TOOLS = {"curl", "wget", "nc", "ncat", "socat", "ssh", "telnet", "openssl", "gdb", "strace"}


def names(root: Root) -> set[str]:
    """The name of every program, with and without its version, that the fork does not list."""
    allowed = of_the_fork()["programs"]
    programs = {
        path.rpartition("/")[2]
        for path, member in root.members.items()
        if not member.isdir()
        and (PROGRAMS.search(path) or member.mode & 0o111)
        and path not in allowed
    }
    return programs | {re.sub(r"[-.\d]+$", "", name) for name in programs}


def test_has_no_shell(root: Root) -> None:
    assert not names(root) & SHELLS


def test_has_no_package_manager(root: Root) -> None:
    assert not names(root) & PACKAGE_MANAGERS


def test_has_no_compiler(root: Root) -> None:
    assert not names(root) & COMPILERS
    headers = [path for path in root.members if path.endswith((".h", ".a", ".o"))]
    assert not headers, "those of a wheel go into requirements/unused.list"


def test_has_no_python_installer(root: Root) -> None:
    assert not names(root) & INSTALLERS
    modules = {path.rpartition("/")[2] for path, m in root.members.items() if m.isdir()}
    assert not modules & (INSTALLERS | {"setuptools", "wheel", "_distutils_hack"})


def test_has_no_other_interpreter_and_no_network_tool(root: Root) -> None:
    assert not names(root) & (INTERPRETERS | NETWORK_TOOLS)


def test_nothing_but_python_and_its_scripts_can_be_run(root: Root) -> None:
    """Whatever the name: no other ELF program, and no script for an interpreter other than it."""
    allowed = of_the_fork()["programs"]
    assert all(allowed.values()), "each program has its reason"
    for path, member in root.files():
        if not member.mode & 0o111 or path in allowed:
            continue
        start = root.read(path)[:64]
        if start.startswith(b"#!"):
            interpreter = start[2:].split()[0].decode()
            assert root.real(interpreter).startswith("/usr/bin/python3"), path
        elif start.startswith(b"\x7fELF"):
            library = re.search(r"\.so(\.|$)", path) or "/ld-linux" in path
            assert library or path.startswith("/usr/bin/python3"), path


def test_has_no_setuid_and_no_setgid_file(root: Root) -> None:
    special = stat.S_ISUID | stat.S_ISGID
    assert not [path for path, member in root.members.items() if member.mode & special]


def test_has_no_file_capabilities(root: Root) -> None:
    """They would give a program rights that its user does not have."""
    for member in root.members.values():
        assert not [key for key in member.pax_headers if "security.capability" in key]


def test_nothing_is_writable_by_all_but_tmp_and_data_which_are_sticky(root: Root) -> None:
    writable = {p for p, m in root.members.items() if m.mode & 0o002 and not m.issym()}
    assert writable == {"/tmp", "/data"}
    assert all(root.members[path].mode & stat.S_ISVTX for path in writable)


def test_every_file_belongs_to_root(root: Root) -> None:
    """So that no user that the service runs as can change it."""
    assert not [p for p, m in root.members.items() if m.uid != 0 or m.gid != 0]


def test_every_link_leads_somewhere(root: Root) -> None:
    broken = [p for p, m in root.members.items() if m.issym() and root.real(p) not in root]
    assert not [p for p in broken if not root.real(p).startswith(("/proc", "/dev"))]


def test_every_debian_package_is_listed_for_scanners(root: Root) -> None:
    assert packages(root)
    for package in packages(root):
        fields = stanza(root, package)
        assert fields["Package"] == package
        assert fields["Version"]
        assert fields["Architecture"]
        assert STATUS + package + ".md5sums" in root


def test_every_debian_package_has_its_copyright_file(root: Root) -> None:
    for package in packages(root):
        assert root.real(f"/usr/share/doc/{package}/copyright") in root, package


def test_the_dependencies_of_every_package_are_listed_or_known_not_to_be_needed(
    root: Root,
) -> None:
    scripts_only = {"debconf", "openssl", "awk"}  # used when a package is installed
    terminal_only = {"libncursesw6", "libreadline8t64", "libtinfo6"}  # curses, readline
    # dbm.ndbm; passwords of a server of SASL; ciphers of the last century
    unused = {"libdb5.3t64", "libsasl2-modules-db", "openssl-provider-legacy"}
    chosen = of_the_fork()["not-needed"]
    assert all(chosen.values()), "each package has its reason"
    provided = set(packages(root)) | scripts_only | terminal_only | unused | set(chosen)
    for package in packages(root):
        provided |= set(re.findall(r"[\w.+-]+", stanza(root, package).get("Provides", "")))
    for package in packages(root):
        fields = stanza(root, package)
        for need in (fields.get("Depends", "") + "," + fields.get("Pre-Depends", "")).split(","):
            choices = {re.split(r"[\s(:]", choice.strip())[0] for choice in need.split("|")}
            assert choices & (provided | {""}), (
                f"{package} needs {need.strip()}: add it to requirements/debian.list, or say in"
                " pyproject.toml, [tool.drydock.not-needed], why not"
            )


def test_every_file_is_accounted_for_and_as_its_package_made_it(root: Root) -> None:
    """The list that scanners read is true: no file comes from elsewhere, none was changed."""
    assert not contents.problems(root)


def test_no_wheel_brings_a_shared_library_of_its_own(root: Root) -> None:
    """Debian would never patch it, and most scanners would not list it."""
    chosen = of_the_fork()["bundled"]
    assert all(chosen.values()), "each library has its reason"
    for path in contents.bundled(root):
        name = PurePosixPath(path.partition("/site-packages/")[2])
        assert [pattern for pattern in chosen if name.match(pattern)], (
            f"{path}: take the library from Debian (docs/build.md, The database driver), or say in"
            " pyproject.toml, [tool.drydock.bundled], why not"
        )


@pytest.mark.database
def test_the_database_driver_is_compiled_and_uses_debian_s_libraries(
    root: Root, image: str
) -> None:
    """Whose fixes then arrive with Debian's; with one OpenSSL for it and Python, not two."""
    code = """
import json, ssl
from psycopg import pq
with open("/proc/self/maps") as maps:
    mapped = {line.split()[-1] for line in maps if ".so" in line}
print(json.dumps([pq.__impl__, sorted(mapped)]))
"""
    done = docker("run", "--rm", "--network", "none", image, "python3", "-c", code)
    implementation, mapped = json.loads(done.stdout)
    assert implementation == "c"
    listed = {
        root.real("/" + line.partition("  ")[2])
        for package in packages(root)
        for line in root.read(f"{STATUS}{package}.md5sums").decode().splitlines()
    }
    libraries = {path for path in mapped if ".cpython-" not in path}
    assert libraries <= listed, libraries - listed
    for name in ("libpq", "libssl", "libcrypto", "libgssapi_krb5", "libldap"):
        assert len([path for path in libraries if f"/{name}.so" in path]) == 1, name


def test_all_python_code_that_is_imported_is_compiled(root: Root) -> None:
    """A root that can't be written would compile it again at every start."""
    # What runs once.
    apart = re.compile(r"/(app|drydock)/(migrations/|__main__\.py|gunicorn\.conf\.py)|/tests?/")
    minor = root.real("/usr/bin/python3").rpartition(".")[2]
    tag = f"cpython-3{minor}"
    for path, _ in root.files():
        if path.endswith(".py") and not apart.search(path):
            folder, _, name = path.removesuffix(".py").rpartition("/")
            assert f"{folder}/__pycache__/{name}.{tag}.pyc" in root, path


def test_bytecode_never_asks_for_the_time_of_its_source(root: Root) -> None:
    """Flags 1 in the header: unchecked hash (PEP 552), the same in every build."""
    for path, _ in root.files():
        if path.endswith(".pyc"):
            assert root.read(path)[4:8] == b"\x01\x00\x00\x00", path


def test_has_no_tests_no_caches_and_no_sources_of_the_build(root: Root) -> None:
    """What a wheel brings along of these can be left out: requirements/unused.list."""
    unwanted = re.compile(
        r"/(\.git|\.cache|\.venv|\.env|node_modules|pytest|_pytest|coverage|Dockerfile|"
        r"pyproject\.toml|requirements.*\.txt|conftest\.py|test_[^/]*\.py|[^/]*\.whl|[^/]*\.deb|"
        r"direct_url\.json)(/|$)"
    )
    assert not [path for path in root.members if unwanted.search(path)]


def test_what_no_service_reads_is_left_out(root: Root) -> None:
    """The Dockerfile misses no path that is gone: one that has moved shows here."""
    unread = re.compile(
        r"/usr/(games|include|src|share/(man|info|lintian|misc|bug))/|/gconv/|/usr/lib/python3[^/]*/test/"
        r"|/bin/activate|/usr/share/doc/(?!.*/copyright$)"
    )
    assert not [path for path, _ in root.files() if unread.search(path)]


def test_what_the_list_of_the_unused_names_is_left_out(root: Root) -> None:
    lines = (CHECKOUT / "requirements/unused.list").read_text().splitlines()
    patterns = [word for line in lines if (word := line.partition("#")[0].strip())]
    (site,) = (p for p in root.members if p.endswith("/site-packages") and "/opt/venv/" in p)
    for path in root.members:
        name = PurePosixPath(path.removeprefix(site + "/"))
        assert not [p for p in patterns for part in (name, *name.parents) if part.match(p)], path


def test_files_carry_no_path_of_the_build(root: Root) -> None:
    """Neither in tracebacks (bytecode) nor in records; nor a path of the machine that built it."""
    here = str(Path(__file__).parents[3]).encode()
    paths = re.compile(
        rb"(/rootfs/|/project/(opt|app)/|/wheel/[\w.]+whl|/debs/|/pip/bin|/src/src|"
        + re.escape(here)
        + b")"
    )
    for path, _ in root.files():
        if path.startswith(("/opt/", "/app/", "/etc/")) or path.endswith(".pyc"):
            assert not paths.search(root.read(path)), path


def test_every_module_of_the_standard_library_can_be_imported(image: str) -> None:
    code = """
import importlib, sys
# In packages of their own (Tk, dbm), for a terminal (curses), for other systems.
absent = {"tkinter", "turtle", "turtledemo", "idlelib", "ensurepip", "lib2to3", "_tkinter", "_gdbm",
          "_dbm", "antigravity", "this", "msvcrt", "winreg", "winsound", "nt", "_winapi",
          "_overlapped", "_scproxy", "_msi", "_wmi", "_ios_support", "_android_support",
          "_testcapi", "curses", "_curses", "_curses_panel", "readline"}
for name in sorted(sys.stdlib_module_names - absent):
    try:
        importlib.import_module(name)
    except Exception as error:
        print("import error:", name, repr(error))
"""
    done = docker("run", "--rm", "--network", "none", image, "python3", "-W", "ignore", "-c", code)
    assert not [line for line in done.stdout.splitlines() if line.startswith("import error")]


def test_certificates_time_zones_and_types_are_there(image: str) -> None:
    code = """
import mimetypes, pwd, socket, ssl, time, zoneinfo
assert ssl.create_default_context().cert_store_stats()["x509_ca"] > 100
assert zoneinfo.ZoneInfo("Asia/Tokyo").utcoffset(None) is None
assert len(zoneinfo.available_timezones()) > 300
assert time.tzname[0] == "UTC"
assert socket.getservbyname("https") == 443
assert mimetypes.guess_type("x.woff2")[0] == "font/woff2"
assert pwd.getpwuid(65532).pw_name == "nonroot"
"""
    docker("run", "--rm", "--network", "none", image, "python3", "-c", code)
