"""TODO blocks are found, and what does not pair up is named with its line."""

import pytest

from grader.submission.todo import Block, Given, blocks, split

TEXT = """import torch

def q_sample(x0):
    ##### TODO task1.q_sample #####
    # a hint
    xt = x0
    ##### END TODO task1.q_sample #####
    return xt

    ##### TODO task1.simplenet (forward) #####
    ##### END TODO task1.simplenet (forward) #####
"""


def test_segments_join_to_the_text_and_know_their_lines():
    segments = split(TEXT)
    assert "".join(segment.text for segment in segments) == TEXT
    assert [type(segment) for segment in segments] == [Given, Block, Given, Block]
    first, second = blocks(TEXT)
    assert (first.id, first.part, first.name, first.first, first.last) == ("task1.q_sample", "", "task1.q_sample", 4, 7)
    assert first.body == "    # a hint\n    xt = x0\n"
    assert (second.id, second.part, second.first, second.last, second.body) == (
        "task1.simplenet",
        "forward",
        10,
        11,
        "",
    )
    given = [segment for segment in segments if isinstance(segment, Given)]
    assert [(segment.first, segment.last) for segment in given] == [(1, 3), (8, 9)]


def test_windows_line_ends_and_a_missing_last_line_end_are_kept():
    text = TEXT.replace("\n", "\r\n")[:-2]
    segments = split(text)
    assert "".join(segment.text for segment in segments) == text
    assert [block.name for block in blocks(text)] == ["task1.q_sample", "task1.simplenet (forward)"]
    assert blocks(text)[0].body == "    # a hint\r\n    xt = x0\r\n"


def test_a_form_feed_is_no_line_end():
    assert blocks("\f\n##### TODO a.b #####\n##### END TODO a.b #####")[0].first == 2


def test_text_without_blocks_is_one_segment_and_no_text_is_none():
    assert split("x = 1\n") == [Given(1, 1, "x = 1\n")]
    assert split("") == []
    assert blocks("##### TODO #####\n#####\n") == []  # the markers of other editions of the lab


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x\n##### TODO a.b #####\n", "line 2: TODO a.b has no END marker"),
        ("##### END TODO a.b #####\n", "line 1: END marker of TODO a.b, but no TODO is open"),
        (
            "##### TODO a.b #####\n##### END TODO a.c (x) #####\n",
            "line 2: END marker of TODO a.c (x), but TODO a.b is open",
        ),
        (
            "##### TODO a.b #####\n##### TODO a.c #####\n",
            "line 2: TODO a.c begins before the END marker of TODO a.b, which began in line 1",
        ),
        ("##### TODO a.b #####\n##### END TODO a.b #####\n" * 2, "line 3: TODO a.b stands in line 1 already"),
    ],
)
def test_markers_that_do_not_pair_up_are_named(text, message):
    with pytest.raises(ValueError) as caught:  # noqa: PT011 (the whole message is compared)
        split(text)
    assert str(caught.value) == message
