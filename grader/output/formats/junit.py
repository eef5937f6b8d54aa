"""JUnit XML: a test suite per submission, a test case per row."""

from __future__ import annotations

from xml.etree import ElementTree as ET

from grader.lab import LAB
from grader.records import Result, Row, Verdict
from grader.text import number, one_line, visible, word

LONGEST = 4000  # characters of a message

# How a row that is not passed is told: "failure" is the student's, "error" is for what did not come to an answer.
ELEMENT = {
    Verdict.GRADER_ERROR: "error",
    Verdict.NEEDS_REVIEW: "skipped",
    Verdict.MISSING: "failure",
    Verdict.NOT_IMPLEMENTED: "failure",
    Verdict.CRASHED: "error",
    Verdict.TIMEOUT: "error",
    Verdict.OUT_OF_MEMORY: "error",
    Verdict.FAILED: "failure",
    Verdict.PARTIAL: "failure",
    Verdict.SKIPPED: "skipped",
}


def to_junit(results: list[Result]) -> str:
    """The whole class as one document."""
    suites = ET.Element("testsuites", {"name": "ddpm-lab"})
    for result in results:
        suites.append(_suite(result))
    for name in ("tests", "failures", "errors", "skipped"):
        suites.set(name, str(sum(int(suite.get(name, "0")) for suite in suites)))
    suites.set("time", f"{sum(result.duration_s for result in results):.3f}")
    ET.indent(suites, " ")
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{ET.tostring(suites, encoding="unicode")}\n'


def _suite(result: Result) -> ET.Element:
    counts = [ELEMENT.get(row.verdict) for row in result.told]
    suite = ET.Element(
        "testsuite",
        {
            "name": one_line(result.id),
            "tests": str(len(counts)),
            "failures": str(counts.count("failure")),
            "errors": str(counts.count("error")),
            "skipped": str(counts.count("skipped")),
            "time": f"{result.duration_s:.3f}",
        },
    )
    about = {
        "points": number(result.points),
        "pending": number(result.pending),
        "max": number(result.max),
        "sandbox": one_line(result.sandbox),
        "submission_sha256": one_line(result.submission_sha256),
    }
    properties = ET.SubElement(suite, "properties")
    for name, value in about.items():
        ET.SubElement(properties, "property", {"name": name, "value": value})
    titles = {row.id: row.title for row in LAB.rubric}
    for row in result.told:
        suite.append(_case(row, result.id, titles.get(row.id, "")))
    if result.problem or result.remarks:
        texts = [result.problem or "", *result.remarks]
        ET.SubElement(suite, "system-out").text = visible("\n".join(filter(None, texts)), LONGEST)
    return suite


def _case(row: Row, suite: str, title: str) -> ET.Element:
    name = f"{one_line(row.id)}: {title}" if title else one_line(row.id)
    case = ET.Element("testcase", {"classname": one_line(suite), "name": name, "time": f"{row.duration_s:.3f}"})
    kind = ELEMENT.get(row.verdict)
    if kind is None:
        return case
    earned = f"{number(row.points)} of {number(row.max)} points"
    said = row.diagnosis.title if row.diagnosis else row.message.partition("\n")[0]
    attributes = {"message": f"{word(row.verdict)}, {earned}: {one_line(said)}"}
    told = ET.SubElement(case, kind, attributes if kind == "skipped" else {"type": row.verdict.value, **attributes})
    hint = [f"likely: {row.diagnosis.title}", row.diagnosis.hint, row.diagnosis.equation] if row.diagnosis else []
    told.text = visible("\n".join(filter(None, [row.message, *hint])), LONGEST)
    return case
