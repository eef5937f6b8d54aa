"""The student's report.pdf, read in the sandbox: which of its pages are about which row, and pictures of them."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from grader.labs import RubricRow
from grader.sandbox import ProbeFailure, Sandbox, SandboxFault

MOUNT = "report"  # the sandbox's name for the folder that holds report.pdf and nothing else
FILE = "report.pdf"
WIDTH = 1000  # pixels of a page
COLOURS = 64  # of a page's PNG
MOST = 4  # pages shown beside a row


@dataclass
class Pages:
    """Text of the report's pages, in order; `problem` says why there is none."""

    texts: list[str] = field(default_factory=list)
    problem: str = ""
    drawn: dict[int, str] = field(default_factory=dict)  # page -> file name, of those that were rendered

    def about(self, row: RubricRow) -> list[int]:
        """Pages (from 0) that speak about a row, best first; the first ones where none does."""
        pattern = re.compile(rf"\b(?:{row.words or 'x^'})\b", re.IGNORECASE)
        words = {
            number: len({found.lower() for found in pattern.findall(text)}) for number, text in enumerate(self.texts)
        }
        best = sorted((number for number, count in words.items() if count), key=lambda number: -words[number])
        return (best or list(words))[:MOST]

    def where(self, row: RubricRow) -> str:
        """Where a person finds a row in the report, in words."""
        if self.problem:
            return self.problem
        numbers = sorted(number + 1 for number in self.about(row))
        return f"see {FILE}, page{'s' * (len(numbers) > 1)} {', '.join(map(str, numbers))}"


def read_report(sandbox: Sandbox) -> Pages:
    """The pages of the report that the sandbox was given."""
    try:
        texts = sandbox.call(MOUNT, "report_text").data.get("texts")
    except ProbeFailure as failure:
        return Pages(problem=f"{FILE} cannot be read ({failure.verdict}): open it by hand")
    if not isinstance(texts, list) or not texts or not all(isinstance(text, str) for text in texts):
        return Pages(problem=f"{FILE} has no pages that can be read: open it by hand")
    return Pages(texts)


def draw_pages(sandbox: Sandbox, pages: Pages, row: RubricRow, folder: Path) -> list[str]:
    """Render the pages about a row into `folder`, each once; names of the files, in the order of the pages."""
    from PIL import Image  # late: most gradings draw no page

    names = []
    for number in sorted(pages.about(row)):
        if number not in pages.drawn:
            try:
                pixels = sandbox.call(MOUNT, "report_page", {"page": number, "width": WIDTH}).arrays.get("pixels")
            except (ProbeFailure, SandboxFault):
                continue
            if pixels is None or pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3:
                continue
            pages.drawn[number] = f"report-{number + 1}.png"
            image = Image.fromarray(np.ascontiguousarray(pixels)).quantize(COLOURS)
            image.save(folder / pages.drawn[number], optimize=True)
        names.append(pages.drawn[number])
    return names
