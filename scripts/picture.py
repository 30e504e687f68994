"""The text of docs/overview.svg: the image's layers, and the stack that runs it.

Drawn on a light ground of its own, so that it can be read on a light page and on a dark one.
"""

from __future__ import annotations

import html

WIDTH, HEIGHT = 900, 436
INK, FAINT, LINE = "#1f2328", "#57606a", "#8c959f"
GROUND, FORK, TEMPLATE, OTHER = "#f6f8fa", "#fff1d6", "#dcebff", "#ffffff"
# A letter's width as a part of the font's size, at the most: wide enough for any usual font.
LETTER = 0.58


def text(x: int, y: int, words: str, size: int = 13, **style: str) -> str:
    """A line of text, which begins at x or, with `text_anchor`, is put there."""
    given = {"fill": INK, **style}
    attributes = "".join(f' {name.replace("_", "-")}="{value}"' for name, value in given.items())
    escaped = html.escape(words, quote=False)
    return f'<text x="{x}" y="{y}" font-size="{size}"{attributes}>{escaped}</text>\n'


def box(place: tuple[int, int, int, int], title: str, about: str, fill: str, dash: str = "") -> str:
    """A box at x, y, of a width and a height, with a name and a line below it."""
    x, y, width, height = place
    for words, size in ((title, 15), (about, 12)):
        assert len(words) * size * LETTER <= width - 20, f"too long for its box: {words}"
    frame = f'x="{x}" y="{y}" width="{width}" height="{height}" rx="6" fill="{fill}"'
    dashes = f' stroke-dasharray="{dash}"' if dash else ""
    middle = y + height // 2
    return (
        f'<rect {frame} stroke="{LINE}"{dashes}/>\n'
        + text(x + 12, middle - 4, title, 15, font_weight="600")
        + text(x + 12, middle + 15, about, 12, fill=FAINT)
    )


def arrow(x: int, y: int, to_x: int, to_y: int) -> str:
    """A line with a head at its end."""
    ends = f'x1="{x}" y1="{y}" x2="{to_x}" y2="{to_y}"'
    return f'<line {ends} stroke="{FAINT}" stroke-width="1.5" marker-end="url(#head)"/>\n'


def image() -> str:
    """The layers, the last one on top."""
    layers = (
        ("app", "src/app, yours: what most pushes replace", FORK),
        ("drydock", "src/drydock, the template's: server, logs, health", TEMPLATE),
        ("dependencies", "Python packages, locked with hashes", OTHER),
        ("root", "Debian packages: Python, OpenSSL, libpq; no shell", OTHER),
    )
    drawn = text(24, 38, "The image", 18, font_weight="600")
    drawn += text(24, 60, "FROM scratch, a layer for each who changes it", fill=FAINT)
    for number, (title, about, fill) in enumerate(layers):
        drawn += box((24, 80 + number * 78, 370, 66), title, about, fill)
    below = "No root user, no package manager; runs read-only"
    return drawn + text(24, 418, below, fill=FAINT)


def stack() -> str:
    """The containers and the networks between them."""
    left, right = 440, 876
    drawn = text(left, 38, "The stack", 18, font_weight="600")
    drawn += text(left, 60, "compose.yaml: each container hardened and bounded", fill=FAINT)
    drawn += text(left, 98, "browsers, clients, your own proxy")
    drawn += arrow(left + 70, 106, left + 70, 134)
    drawn += text(left + 82, 125, "the one published port", 12, fill=FAINT)
    drawn += box((left, 138, right - left, 60), "gateway", "nginx: page, limits, TLS", OTHER)
    drawn += arrow(left + 70, 198, left + 70, 240)
    drawn += text(left + 82, 223, "network front, no way out", 12, fill=FAINT)
    for number, (title, about) in enumerate(
        (("app", "1 to n replicas"), ("work", "if switched on"), ("migrate", "once, before"))
    ):
        x = left + number * 150
        drawn += box((x, 244, 136, 60), title, about, FORK, "5 3" if number else "")
        drawn += arrow(x + 70, 304, x + 70, 346)
    drawn += text(left + 82, 329, "network back", 12, fill=FAINT)
    drawn += text(left + 232, 329, "no way out", 12, fill=FAINT)
    about = "PostgreSQL: the service reads and writes rows"
    drawn += box((left, 350, right - left, 60), "db", about, OTHER)
    return drawn


def document() -> str:
    """The text of docs/overview.svg."""
    size = f'width="{WIDTH}" height="{HEIGHT}" viewBox="0 0 {WIDTH} {HEIGHT}"'
    title = "The layers of the image, and the stack that runs it"
    head = f'<path d="M0 0 10 5 0 10z" fill="{FAINT}"/>'
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img"'
        ' font-family="system-ui, -apple-system, Segoe UI, Helvetica, Arial, sans-serif">\n'
        f"<title>{title}</title>\n"
        '<defs><marker id="head" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="7"'
        f' markerHeight="7" orient="auto">{head}</marker></defs>\n'
        f'<rect width="{WIDTH}" height="{HEIGHT}" rx="10" fill="{GROUND}"/>\n'
        f"{image()}{stack()}</svg>\n"
    )
