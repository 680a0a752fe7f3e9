"""What graphs look like."""

from __future__ import annotations

import re
from itertools import combinations
from xml.etree import ElementTree as ET

import msgspec

from pillion.graph.document import Graph
from pillion.graph.drawing import StepTimes, mermaid, parts, svg, tree
from pillion.graph.scraped import step_times

GRAPH = msgspec.convert(
    {
        "nodes": {
            "root": {"type": "sequence", "steps": [{"model": "m", "task": "t"}, {"node": "by", "when": 'a == "<b>"'}]},
            "by": {"type": "splitter", "steps": [{"service": "s", "weight": 90}, {"node": "both", "weight": 10}]},
            "both": {"type": "ensemble", "quorum": 1, "steps": [{"url": "http://u/x", "name": "u"}, {"model": "n"}]},
        }
    },
    Graph,
)
WHOLE = parts(GRAPH, "whole")
TIMES = {"by.both.u": StepTimes(3, 0.0123, 0.025)}


def test_a_tree_shows_what_is_called_and_on_which_condition() -> None:
    assert [
        "whole: sequence",
        "├─ m: model m, task t",
        '└─ by: splitter  [when a == "<b>"]',
        "   ├─ s: service s, its model, predict  [90 %]",
        "   └─ both: ensemble, 1 of 2  [10 %]",
        "      ├─ u: POST http://u/x  12.3 ms on average, p95 ≤ 25 ms, 3 calls",
        "      └─ n: model n, predict",
    ] == tree(WHOLE, TIMES).splitlines()


def test_mermaid_has_each_part_once_and_an_arrow_to_it() -> None:
    lines = mermaid(WHOLE, TIMES).splitlines()
    assert "flowchart LR" == lines[0]
    assert '  n0["whole<br>sequence"]' in lines
    assert '  n0 -- "when a == #quot;&lt;b&gt;#quot;" --> n2' in lines
    assert 7 == sum(1 for line in lines if re.fullmatch(r"  n\d+(\[|\{).*", line))
    assert 6 == sum(1 for line in lines if "-->" in line)


def test_an_svg_is_xml_in_which_no_box_covers_another() -> None:
    root = ET.fromstring(svg(WHOLE, TIMES))
    space = "{http://www.w3.org/2000/svg}"
    boxes = [
        tuple(float(one.attrib[key]) for key in ("x", "y", "width", "height")) for one in root.iter(f"{space}rect")
    ]
    assert 7 == len(boxes)
    for (x, y, width, height), (other_x, other_y, *_) in combinations(boxes, 2):
        assert abs(x - other_x) >= width or abs(y - other_y) >= height
    _, _, whole_width, whole_height = map(float, root.attrib["viewBox"].split())
    assert all(x >= 0 and x + width <= whole_width and y + height <= whole_height for x, y, width, height in boxes)
    assert any("12.3 ms" in (one.text or "") for one in root.iter(f"{space}title"))


def test_times_are_read_of_one_flow_only() -> None:
    text = """
pillion_step_seconds_bucket{flow="a",le="0.01",step="x"} 18.0
pillion_step_seconds_bucket{flow="a",le="0.1",step="x"} 19.0
pillion_step_seconds_bucket{flow="a",le="+Inf",step="x"} 20.0
pillion_step_seconds_count{flow="a",step="x"} 20.0
pillion_step_seconds_sum{flow="a",step="x"} 4.0
pillion_step_seconds_count{flow="b",step="x"} 1.0
pillion_step_seconds_sum{flow="b",step="x"} 1.0
pillion_step_seconds_count{flow="a",step="never"} 0.0
pillion_step_seconds_sum{flow="a",step="never"} 0.0
"""
    assert {"x": StepTimes(20, 0.2, 0.1)} == step_times(text, "a")
