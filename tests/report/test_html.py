from __future__ import annotations

import base64
import re
from html.parser import HTMLParser

import pytest

from automl_car.report.html import self_contained_html

PNG = base64.b64decode(
    b"iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)


class Seen(HTMLParser):
    """Tags with their attributes, and whether each is closed by its own name."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "img", "br", "hr"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


PAGE = """# Study cars

## First

See [all](all.csv), [part two](#part-2) and [the paper](https://arxiv.org/abs/1).

![A plot](plot.png)

## Second <part>

| a | b |
| --- | ---: |
| x\\|y | 1 |
"""


@pytest.fixture
def page() -> str:
    return self_contained_html(PAGE, {"plot.png": PNG})


def test_every_tag_is_closed_by_its_own_name(page: str) -> None:
    assert Seen(page).open == []


def test_nothing_outside_of_the_file_is_needed(page: str) -> None:
    for tag, attributes in Seen(page).tags:
        assert tag not in ("script", "link", "iframe")
        assert re.match(r"data:image/", attributes.get("src") or "data:image/")
        assert re.match(r"#|https://arxiv\.org/", attributes.get("href") or "#")


def test_a_picture_is_in_the_file_byte_for_byte(page: str) -> None:
    (source,) = [attributes["src"] for tag, attributes in Seen(page).tags if tag == "img"]
    assert source is not None
    assert base64.b64decode(source.removeprefix("data:image/png;base64,")) == PNG


def test_sections_can_be_reached_from_the_top(page: str) -> None:
    tags = Seen(page).tags
    links = {attributes["href"] for tag, attributes in tags if tag == "a"}
    assert {f"#{attributes['id']}" for tag, attributes in tags if tag == "h2"} <= links


def test_html_in_the_text_is_shown_and_not_done() -> None:
    page = self_contained_html("# A\n\n<script>alert(1)</script> <b onclick=x>\n\n- `<img src=x>`\n", {})
    assert {tag for tag, _ in Seen(page).tags} & {"script", "b", "img"} == set()
    assert "&lt;script&gt;" in page


def test_a_link_cannot_run_code() -> None:
    page = self_contained_html("# A\n\n[x](javascript:alert(1)) [y](data:text/html,z)\n", {})
    assert all(
        "href" not in attributes or attributes["href"] == "" for tag, attributes in Seen(page).tags if tag == "a"
    )


def test_a_title_with_signs_is_written_as_text() -> None:
    assert "<title>A &lt;b&gt; &amp; c</title>" in self_contained_html("# A \\<b> & c\n", {})
