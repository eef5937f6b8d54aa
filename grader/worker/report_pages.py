"""Probes that read the student's report.pdf: text and pictures of its pages. The mount holds nothing but the file."""

import numpy as np
from loading import probe

TEXT_CAP = 20_000  # characters of a page
MOST_PAGES = 60


def open_report(mount):
    """The PDF; pypdfium2 is imported here, as most halves hold none."""
    import pypdfium2

    return pypdfium2.PdfDocument(mount.folder / "report.pdf")


@probe("report_text")
def report_text(mount, params, arrays):
    """The number of pages, and the text of the first ones."""
    document = open_report(mount)
    texts = [
        document[number].get_textpage().get_text_range()[:TEXT_CAP] for number in range(min(len(document), MOST_PAGES))
    ]
    return {"pages": len(document), "texts": texts}, {}


@probe("report_page")
def report_page(mount, params, arrays):
    """One page as uint8 (H, W, 3), `width` pixels wide and at most three times as high."""
    page = open_report(mount)[params["page"]]
    width, height = page.get_size()
    scale = min(params["width"] / max(width, 1), 3 * params["width"] / max(height, 1))
    return {}, {"pixels": np.ascontiguousarray(page.render(scale=scale, rev_byteorder=True).to_numpy()[:, :, :3])}
