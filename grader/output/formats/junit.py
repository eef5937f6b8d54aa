"""JUnit XML: a test suite per submission, a test case per row."""

from __future__ import annotations

import argparse
from xml.etree import ElementTree as ET

from grader.labs import Lab
from grader.output.formats.base import Format, add_class, deliver, results_of
from grader.output.wording import LONGEST, earned, likely
from grader.records import Result, Row, Verdict
from grader.text import number, one_line, visible, word

# What a row that is not passed becomes: "failure" is the student's, "error" is for what did not come to an answer.
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


def to_junit(results: list[Result], lab: Lab) -> str:
    """The whole class as one document."""
    suites = ET.Element("testsuites", {"name": lab.name})
    for result in results:
        suites.append(_suite(result, lab))
    for name in ("tests", "failures", "errors", "skipped"):
        suites.set(name, str(sum(int(suite.get(name, "0")) for suite in suites)))
    suites.set("time", f"{sum(result.duration_s for result in results):.3f}")
    ET.indent(suites, " ")
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{ET.tostring(suites, encoding="unicode")}\n'


def _suite(result: Result, lab: Lab) -> ET.Element:
    counts = [ELEMENT.get(row.verdict) for row in result.shown]
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
    for row in result.shown:
        suite.append(_case(row, result.id, one_line(lab.heading(row.id))))
    if result.problem or result.remarks:
        texts = [result.problem or "", *result.remarks]
        ET.SubElement(suite, "system-out").text = visible("\n".join(filter(None, texts)), LONGEST)
    return suite


def _case(row: Row, suite: str, name: str) -> ET.Element:
    case = ET.Element("testcase", {"classname": one_line(suite), "name": name, "time": f"{row.duration_s:.3f}"})
    kind = ELEMENT.get(row.verdict)
    if kind is None:
        return case
    said = row.diagnosis.title if row.diagnosis else row.message.partition("\n")[0]
    attributes = {"message": f"{word(row.verdict)}, {earned(row)} points: {one_line(said)}"}
    outcome = ET.SubElement(case, kind, attributes if kind == "skipped" else {"type": row.verdict.value, **attributes})
    outcome.text = visible("\n".join(filter(None, [row.message, *likely(row)])), LONGEST)
    return case


def _run(options: argparse.Namespace, lab: Lab) -> int:
    return deliver(to_junit(results_of(options, lab), lab), options.to)


FORMAT = Format("junit", "JUnit XML: a test suite per submission, a test case per row", add_class, _run)
