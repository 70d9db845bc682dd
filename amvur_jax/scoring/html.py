"""Pieces of a page that is one file and loads nothing: its style, tables, tiles and drawings."""

import base64
import html
from collections.abc import Mapping, Sequence

STYLE = """
:root { color-scheme: light dark; --ink: #1d2126; --soft: #626a73; --page: #fff; --card: #f4f6f8;
  --line: #dde2e7; --accent: #0a6fb0; --warn: #fff3dc; --warn-ink: #6b4a00; }
@media (prefers-color-scheme: dark) { :root { --ink: #e3e7eb; --soft: #9aa4ae; --page: #14171a;
  --card: #1d2226; --line: #30373d; --accent: #62b5ea; --warn: #3a2e12; --warn-ink: #f0cf8a; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 2rem 1.25rem 4rem; max-width: 70rem; background: var(--page);
  color: var(--ink); font: 15px/1.5 system-ui, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; }
h1 { font-size: 1.7rem; margin: 0 0 .2rem; } h2 { font-size: 1.15rem; margin: 2.6rem 0 .6rem; }
p { margin: .4rem 0; max-width: 48rem; } .soft, figcaption { color: var(--soft); }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(8.5rem, 1fr)); gap: .7rem;
  margin: 1.4rem 0; }
.tile { background: var(--card); border-radius: .6rem; padding: .75rem .9rem; }
.tile b { display: block; font-size: 1.5rem; line-height: 1.25; font-weight: 650; }
.tile span { color: var(--soft); font-size: .82rem; }
.warn { background: var(--warn); color: var(--warn-ink); border-radius: .6rem; padding: .7rem 1rem;
  margin: .6rem 0; }
.pair { display: grid; grid-template-columns: repeat(auto-fit, minmax(21rem, 1fr)); gap: 1.4rem;
  align-items: start; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .88rem; width: 100%; }
th, td { padding: .28rem .6rem; text-align: right; border-bottom: 1px solid var(--line); }
th { color: var(--soft); font-weight: 600; vertical-align: bottom; }
td:first-child, th:first-child { text-align: left; white-space: nowrap; }
tr.ours td { color: var(--accent); font-weight: 650; }
figure { margin: 0; } figure img { width: 100%; height: auto; display: block; }
figcaption { font-size: .82rem; margin-top: .3rem; }
.frames { display: grid; grid-template-columns: repeat(auto-fit, minmax(30rem, 1fr)); gap: 1.1rem; }
.frames > figure { background: var(--card); border-radius: .6rem; padding: .6rem; }
.frames .row { display: grid; grid-template-columns: repeat(4, 1fr); gap: .45rem; }
.frames .row img { border-radius: .3rem; background: #fff; }
@media (max-width: 34rem) { .frames, .pair { grid-template-columns: 1fr; } }
"""


def document(title: str, body: Sequence[str]) -> str:
    """The whole page: its own policy lets it load nothing and run nothing."""
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta http-equiv="Content-Security-Policy" '
        "content=\"default-src 'none'; img-src data:; style-src 'unsafe-inline'\">\n"
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{text(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n"
        + "\n".join(body)
        + "\n</body>\n</html>\n"
    )


def tiles(values: Mapping[str, str]) -> str:
    """{what: number in words} as a row of tiles."""
    cells = (
        f'<div class="tile"><b>{text(v)}</b><span>{text(k)}</span></div>' for k, v in values.items()
    )
    return '<div class="tiles">' + "".join(cells) + "</div>"


def table(
    rows: Sequence[Mapping[str, object]],
    titles: Mapping[str, str],
    digits: int = 2,
    ours: int | None = None,
) -> str:
    """Rows of the same columns, under `titles` where they have one; numbers of so many `digits`.

    `ours` is the row that is set off from the others.
    """
    head = "".join(f"<th>{text(titles.get(key, key))}</th>" for key in rows[0])
    lines = []
    for n, row in enumerate(rows):
        cells = "".join(f"<td>{_number(value, digits)}</td>" for value in row.values())
        lines.append(f"<tr{' class=ours' if n == ours else ''}>{cells}</tr>")
    return f'<div class="scroll"><table><tr>{head}</tr>{"".join(lines)}</table></div>'


def _number(value: object, digits: int) -> str:
    return f"{value:.{digits}f}" if isinstance(value, float) else text(str(value))


def drawing(light: bytes, dark: bytes, caption: str, beneath: bool = True) -> str:
    """An SVG for light pages and one for dark ones, and what they show, as text beneath too."""
    bright, dim = (uri(svg, "image/svg+xml") for svg in (light, dark))
    shown = f"<figcaption>{text(caption)}</figcaption>" if beneath else ""
    return (
        f'<figure><picture><source media="(prefers-color-scheme: dark)" srcset="{dim}">'
        f'<img alt="{text(caption)}" src="{bright}"></picture>{shown}</figure>'
    )


def uri(data: bytes, kind: str) -> str:
    """A file's bytes as an address."""
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


def text(value: object) -> str:
    """Anything as text that is no HTML."""
    return html.escape(str(value))
