"""Graph JSONL, the interchange form: one image a line.

Required keys: image_id, width, height, regions. Also uri, split, source, sha256, attributes, relations, and on a
prediction that could not be made `failed`, the reason. A region may have label, box (x0, y0, x1, y1), mask (COCO's
compressed run lengths of the full frame: size [height, width], counts), score, depth, descriptions, attributes, parent,
level, source, status, reason, degree, made_by, judged_by; a relation must have subject, predicate, object and may have
category, score, status, reason, degree, made_by, judged_by. The line, its regions and its relations may have `x`: texts
and JSON of further columns by their names. Null stands for a missing value. Of a key that stands twice in one object
the last counts, as in most readers of JSON.

`read_jsonl` gives Samples; `read_columns` gives columns, checked by the same rules without an object per row.
"""

from __future__ import annotations

from sgforge.jsonl.columns import read_columns
from sgforge.jsonl.edits import EditLine, Stale, dump_edit, load_edits, rebase
from sgforge.jsonl.files import numbered_lines, read_jsonl, read_lines, write_jsonl
from sgforge.jsonl.lenient import LineFault
from sgforge.jsonl.numbers import shortest
from sgforge.jsonl.objects import GraphLine, dump_lines, dump_sample, parse_graph_line, parse_line, shown_json
from sgforge.jsonl.pair_tables import PairTable

__all__ = [
    "EditLine",
    "GraphLine",
    "LineFault",
    "PairTable",
    "Stale",
    "dump_edit",
    "dump_lines",
    "dump_sample",
    "load_edits",
    "numbered_lines",
    "parse_graph_line",
    "parse_line",
    "read_columns",
    "read_jsonl",
    "read_lines",
    "rebase",
    "shortest",
    "shown_json",
    "write_jsonl",
]
