"""`export junit`, read back by junitparser and by expat."""

import re
from xml.etree import ElementTree as ET

from junitparser import Error, Failure, JUnitXml, Skipped

from grader.lab import LAB
from grader.output.formats.junit import ELEMENT, to_junit
from grader.records import Result, Row, Verdict
from grader.tests import samples

CLASS = [samples.full(), samples.untouched(), samples.broken(), samples.mixed(), samples.hostile()]
# What the common schema (Jenkins' junit-10.xsd) has, as far as this format goes: attributes, those that must be,
# children.
SCHEMA = {
    "testsuites": ({"name", "tests", "failures", "errors", "skipped", "time"}, set(), {"testsuite"}),
    "testsuite": (
        {"name", "tests", "failures", "errors", "skipped", "time"},
        {"name"},
        {"properties", "testcase", "system-out"},
    ),
    "properties": (set(), set(), {"property"}),
    "property": ({"name", "value"}, {"name", "value"}, set()),
    "testcase": ({"name", "classname", "time"}, {"name"}, {"failure", "error", "skipped"}),
    "failure": ({"type", "message"}, set(), set()),
    "error": ({"type", "message"}, set(), set()),
    "skipped": ({"message"}, set(), set()),
    "system-out": (set(), set(), set()),
}


def check(element):
    allowed, needed, children = SCHEMA[element.tag]
    assert needed <= set(element.attrib) <= allowed
    for name in ("tests", "failures", "errors", "skipped"):
        assert element.get(name, "0").isdigit()
    assert float(element.get("time", "0")) >= 0
    for child in element:
        assert child.tag in children, f"{child.tag} in {element.tag}"
        check(child)


def test_the_document_keeps_to_the_schema_whatever_students_write():
    check(ET.fromstring(to_junit(CLASS, LAB).encode()))


def test_a_reader_finds_a_suite_for_each_submission_and_a_case_for_each_row():
    xml = JUnitXml.fromstring(to_junit(CLASS, LAB).encode())
    suites = list(xml)
    assert [suite.name for suite in suites[:2]] == ["412551001", "412551002"]
    assert [suite.tests for suite in suites] == [len(result.shown) for result in CLASS]
    full = suites[0]
    assert (full.failures, full.errors, full.skipped) == (0, 0, 5)
    assert {prop.name: prop.value for prop in full.properties()}["points"] == "50"
    assert xml.tests == sum(len(result.shown) for result in CLASS)


def test_every_verdict_has_its_element():
    result = Result("1", "", "", 0, "none", {}, [Row(f"task1.{verdict}", 1, verdict) for verdict in Verdict])
    kinds = {Failure: "failure", Error: "error", Skipped: "skipped"}
    cases = list(next(iter(JUnitXml.fromstring(to_junit([result], LAB).encode()))))
    told = {
        verdict: [kinds[type(entry)] for entry in case.result] for verdict, case in zip(Verdict, cases, strict=True)
    }
    assert told == {verdict: [ELEMENT[verdict]] if verdict in ELEMENT else [] for verdict in Verdict}
    assert told[Verdict.PASSED] == []


def test_a_failure_tells_points_diagnosis_and_message():
    case = next(
        case
        for suite in JUnitXml.fromstring(to_junit([samples.mixed()], LAB).encode())
        for case in suite
        if case.name.startswith("task1.p_sample:")
    )
    failure = case.result[0]
    assert failure.type == "partial"
    assert failure.message == "partial, 3 of 4 points: the variance is β, not the posterior variance β̃"
    assert "where: p_sample, t = 1, batch of 20000" in failure.text
    assert samples.BETA.hint in failure.text


def test_characters_that_xml_forbids_are_spelt_out():
    text = to_junit([samples.hostile()], LAB)
    assert not re.search(r"[^\t\n\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]", text)
    assert "⟨U+001B⟩" in text
