"""A Markdown report as one HTML file that opens anywhere, offline: pictures and style are inside it."""

from __future__ import annotations

import base64
import html
from collections.abc import Mapping

from markdown_it import MarkdownIt
from markdown_it.token import Token

_TYPES = {".png": "image/png", ".jpg": "image/jpeg"}
_STYLE = """
:root { color-scheme: light dark; --ink: #1c2733; --faint: #5d6b79; --line: #d8dee5; --ground: #fff; --tint: #f5f7f9; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e4e9ee; --faint: #9aa7b4; --line: #34404c; --ground: #14191f; --tint: #1b222a; }
  img { background: #fff; }
}
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 62rem; padding: 1rem 1.2rem 4rem; background: var(--ground); color: var(--ink);
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", "Noto Sans KR", sans-serif; }
h1 { font-size: 1.6rem; line-height: 1.25; margin: 1rem 0; }
h2 { font-size: 1.2rem; margin: 2.4rem 0 .6rem; padding-top: .8rem; border-top: 1px solid var(--line); }
nav { font-size: .9rem; color: var(--faint); }
nav a { color: inherit; margin-right: .9rem; display: inline-block; }
.table { overflow-x: auto; }
table { border-collapse: collapse; font-size: .88rem; font-variant-numeric: tabular-nums; }
th, td { padding: .25rem .7rem .25rem 0; text-align: left; vertical-align: top; border-bottom: 1px solid var(--line); }
th { color: var(--faint); font-weight: 600; }
img { max-width: 100%; height: auto; border-radius: 4px; }
code, pre { font-family: ui-monospace, "SF Mono", Menlo, Consolas, monospace; font-size: .86em; }
code { background: var(--tint); padding: .1em .3em; border-radius: 3px; overflow-wrap: anywhere; }
pre { background: var(--tint); padding: .7rem .9rem; border-radius: 4px; overflow-x: auto; }
pre code { padding: 0; background: none; }
blockquote { margin: .8rem 0; padding: .1rem 1rem; border-left: 3px solid var(--line); color: var(--faint); }
@media screen and (max-width: 40rem) { /* a telephone: pictures are pushed aside like tables, or nobody reads them */
  p:has(> img) { overflow-x: auto; }
  p > img { max-width: none; width: 42rem; }
}
@media print {
  body { max-width: none; font-size: 11pt; }
  nav { display: none; }
  h2 { break-after: avoid; }
  img, table, pre { break-inside: avoid; }
  .table { overflow: visible; }
}
"""


def self_contained_html(markdown: str, files: Mapping[str, bytes]) -> str:
    """One page without any reference to another file or to the network.

    Args:
        markdown: CommonMark with tables; HTML in it is shown as it is written.
        files: pictures by the names that the text refers to them by. Links to other files become plain text.
    """
    parser = MarkdownIt("commonmark", {"html": False}).enable("table")
    tokens = parser.parse(markdown)
    sections = _name_sections(tokens)
    for token in tokens:
        _take_inside(token.children or [], files)
    body = parser.renderer.render(tokens, parser.options, {})
    body = body.replace("<table>", '<div class="table"><table>').replace("</table>", "</table></div>")
    title = html.escape(next((text for level, _, text in sections if level == "h1"), "Report"))
    links = "".join(f'<a href="#{name}">{html.escape(text)}</a>' for level, name, text in sections if level == "h2")
    heading, _, rest = body.partition("</h1>")
    return (
        f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n<title>{title}</title>\n'
        f"<style>{_STYLE}</style>\n</head>\n<body>\n{heading}</h1>\n<nav>{links}</nav>\n{rest}</body>\n</html>\n"
    )


def _name_sections(tokens: list[Token]) -> list[tuple[str, str, str]]:
    """Give headings names to link to; returns (tag, name, text) of each."""
    found: list[tuple[str, str, str]] = []
    for place, token in enumerate(tokens):
        if token.type == "heading_open":
            text = "".join(inner.content for inner in tokens[place + 1].children or ())
            token.attrSet("id", f"part-{len(found)}")
            found.append((token.tag, f"part-{len(found)}", text))
    return found


def _take_inside(tokens: list[Token], files: Mapping[str, bytes]) -> None:
    """Pictures become their bytes; a link to a file beside the page becomes plain text with the file's name."""
    closing = "a"
    for token in tokens:
        if token.type == "image":
            name = str(token.attrGet("src"))
            kind = _TYPES[name[name.rindex(".") :]]
            token.attrSet("src", f"data:{kind};base64,{base64.b64encode(files[name]).decode('ascii')}")
        elif token.type == "link_open":
            target = str(token.attrGet("href"))
            closing = "a" if target.startswith(("#", "https://")) else "span"
            if closing == "span":
                token.tag, token.attrs = "span", {"title": target}
        elif token.type == "link_close":
            token.tag = closing
