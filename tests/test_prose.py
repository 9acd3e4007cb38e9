"""The pages are pleasant to read: short sentences, few numbers in each, one word for a thing.

In:   what people read: README, MODEL_CARD, ARCHITECTURE and docs/, without tables, code and lists
      of links. docs/log is the past and keeps its words; docs/cli.md and docs/python.md are
      generated.
"""

import re
from pathlib import Path

import pytest
from conftest import ROOT

PAGES = sorted(
    path
    for path in [
        *(ROOT / name for name in ("README.md", "MODEL_CARD.md", "ARCHITECTURE.md")),
        *ROOT.glob("docs/*.md"),
    ]
    if path.name not in ("cli.md", "python.md")
)
LONGEST_WORDS = 30
LONG_SHARE = 0.1  # of a page's sentences may be longer
NUMBERS_PER_SENTENCE = 1.0  # on average over a page
ALL_WORDS = 12_000  # of all pages together: a thousand each

# Words that have a better one, by the house style.
AVOIDED = {
    r"\bhardly\b": "rarely, or a number",
    r"\bthat of\b|\bthose of\b|\bthe latter\b": "the noun itself",
    r"\bis no (number|image|path)\b": "is not a",
    r"\bgoes by\b|\bstands in\b": "uses, is in",
    r"\bviewers?\b": "grader",
    r"paper (does not|discloses|leaves)": "what we could not read",
    r"`(base|fast)` \d|\b(base|fast) \d\b|release-v\d": "no version but the present one",
    r"\bEXPERIMENTS\.md\b": "a page of docs/log",
}


def prose_of(page: Path) -> str:
    """Return a page's running text: no code, tables, headings, comments, links' addresses."""
    text = page.read_text(encoding="utf-8")
    text = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
    text = re.sub(r"<!--.*?-->", "", text, flags=re.DOTALL)
    lines = [line for line in text.splitlines() if not re.match(r"\s*(\||#|!\[)", line)]
    text = "\n".join(lines)
    text = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", text)
    return re.sub(r"`[^`]*`", "CODE", text)


def sentences_of(page: Path) -> list[str]:
    """Return the sentences; items of lists and paragraphs end one, too."""
    parts = re.split(r"\n\s*\n|\n\s*(?:[-*]|\d+\.)\s+|(?<=[.!?:])\s+(?=[A-Z(`*])", prose_of(page))
    return [" ".join(part.split()) for part in parts if len(part.split()) > 2]


def ids(page: Path) -> str:
    return page.name


@pytest.mark.parametrize("page", PAGES, ids=ids)
def test_sentences_are_short(page: Path) -> None:
    sentences = sentences_of(page)
    long = [s for s in sentences if len(s.split()) > LONGEST_WORDS]
    assert len(long) <= LONG_SHARE * len(sentences), f"{len(long)} of {len(sentences)}: {long}"


@pytest.mark.parametrize("page", PAGES, ids=ids)
def test_numbers_are_few(page: Path) -> None:
    sentences = sentences_of(page)
    numbers = [len(re.findall(r"(?<![\w.])[\d.]*\d", s)) for s in sentences]
    assert sum(numbers) <= NUMBERS_PER_SENTENCE * len(sentences), sorted(
        zip(numbers, sentences, strict=True), reverse=True
    )[:5]


@pytest.mark.parametrize("page", PAGES, ids=ids)
def test_words_are_the_houses_own(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    found = {
        match[0]: better for rule, better in AVOIDED.items() for match in re.finditer(rule, text)
    }
    assert not found, f"{page.name}: {found}"


def test_all_pages_together_are_read_in_an_hour() -> None:
    words = {
        page.name: len(re.findall(r"[^\s|]+", page.read_text(encoding="utf-8"))) for page in PAGES
    }
    assert sum(words.values()) <= ALL_WORDS, words
