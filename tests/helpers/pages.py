"""The pages for people, as Markdown: their blocks of code, their commands, their sentences."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
MADE = "<!-- Made from the code"
"""How a page begins that scripts/draw_reference made."""

_HEREDOC = re.compile(r"<<-?\s*'?(\w+)'?")


@dataclass(frozen=True)
class Block:
    """A block of code.

    Args:
        page: the file's name.
        line: of the file at which it begins, from 1.
        text: without its indent.
        language: that a fence names; empty for an indented block.
    """

    page: str
    line: int
    text: str
    language: str = ""

    @property
    def where(self) -> str:
        """Page and line, for a message."""
        return f"{self.page}:{self.line}"

    def commands(self) -> Iterator[str]:
        """Yield the lines that a shell reads as commands: continued ones joined, no comments."""
        until = ""
        for line in re.sub(r" *\\\n\s*", " ", self.text).splitlines():
            if until:
                until = "" if line.strip() == until else until
                continue
            begun = _HEREDOC.search(line)
            until = begun[1] if begun else ""
            bare = re.sub(r"(^|\s)#\s.*$", "", line).strip()
            if bare:
                yield bare


def blocks(path: Path) -> Iterator[Block]:
    """Yield the blocks of code of a page: fenced, or indented by four spaces after a blank line."""
    lines = path.read_text().splitlines()
    index, before = 0, ""
    while index < len(lines):
        line = lines[index]
        if line.lstrip().startswith("```"):
            end = next(i for i in range(index + 1, len(lines)) if lines[i].strip() == "```")
            inside = textwrap.dedent("\n".join(lines[index + 1 : end]))
            yield Block(path.name, index + 1, inside, line.strip("` ") or "text")
            index, before = end + 1, ""
            continue
        if line.startswith("    ") and not before.strip():
            end = index
            while end < len(lines) and (lines[end].startswith("    ") or not lines[end].strip()):
                end += 1
            text = textwrap.dedent("\n".join(lines[index:end])).strip("\n")
            # What is indented below an item of a list is prose of that item.
            if not _within_item(lines, index):
                yield Block(path.name, index + 1, text)
            index, before = end, ""
            continue
        index, before = index + 1, line


def _within_item(lines: list[str], index: int) -> bool:
    """Return whether a line at four spaces goes on with a list's item at four or fewer."""
    for line in reversed(lines[:index]):
        if line.strip() and not line.startswith(" "):
            return bool(re.match(r"\d+\. ", line))
    return False


def prose(path: Path) -> str:
    """Return a page without code, tables, headings and comments; links are their words."""
    text = re.sub(r"^```.*?^```$", "", path.read_text(), flags=re.DOTALL | re.MULTILINE)
    for block in blocks(path):
        if not block.language:
            indented = textwrap.indent(block.text, "    ", lambda _: True)
            text = text.replace("\n".join(x.rstrip() or "" for x in indented.splitlines()), "")
    text = re.sub(r"<!--.*?-->", "", text, flags=re.DOTALL)
    kept = [x for x in text.splitlines() if not re.match(r"\s*(\||#|!\[|    )", x)]
    text = "\n".join(kept)
    text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", text)
    return re.sub(r"`[^`]*`", lambda code: re.sub(r"[.;:!?\s]", "_", code[0]), text)


def sentences(path: Path) -> Iterator[str]:
    """Yield the sentences of a page's prose; an item of a list begins one."""
    for paragraph in re.split(r"\n\s*\n|\n(?=\s*(?:- |\d+\. ))", prose(path)):
        joined = " ".join(re.sub(r"^\s*(- |\d+\. )", "", paragraph).split())
        for sentence in re.split(r"(?<=[.!?])\W*\s+", joined):
            if sentence:
                yield sentence
