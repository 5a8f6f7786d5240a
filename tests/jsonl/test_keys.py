"""A key that stands twice in one object is an error that names the line, in every form of JSON that is read."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sgforge.cli.main import main
from sgforge.errors import GraphError
from sgforge.jsonl import read_jsonl
from sgforge.jsonl.columns import read_columns
from sgforge.jsonl.keys import doubled_key, doubled_key_of_graph

REGION = '{"label":"a","box":[0,0,5,5],"mask":{"size":[9,9],"counts":"Q3"}}'
TWICE = {
    "image_id": '{"image_id":"x","image_id":"y","width":100,"height":100,"regions":[]}',
    "label": '{"image_id":"x","width":9,"height":9,"regions":[{"label":"a","label":"b"}]}',
    "size": '{"image_id":"x","width":9,"height":9,'
    '"regions":[{"mask":{"size":[1,1],"counts":"1","size":[2,2],"counts":"1"}}]}',
    "score": '{"image_id":"x","width":9,"height":9,"regions":[{},{}],'
    '"relations":[{"subject":0,"predicate":"on","object":1,"score":0.5,"score": 0.25}]}',
    "a": '{"image_id":"x","width":9,"height":9,"attributes":{"a":"1","a":"2"},"regions":[]}',
    "width": '{"image_id" : "x","width":9,"height":9,"width" : 8,"regions":[]}',
    "b": '{"image_id":"x","width":9,"height":9,"regions":[{"x":{"p.q":{"b":1,"c":[{"b":1,"b":2}]}}}]}',
}


@pytest.mark.parametrize("key", TWICE)
def test_a_key_twice_is_an_error_that_names_the_line(tmp_path: Path, key: str) -> None:
    path = tmp_path / "graphs.jsonl"
    path.write_text('{"image_id":"first","width":9,"height":9,"regions":[]}\n' + TWICE[key] + "\n")
    message = rf"graphs\.jsonl:2: the key '{key}' stands twice in one object"
    with pytest.raises(GraphError, match=message):
        list(read_jsonl(path))
    with pytest.raises(GraphError, match=message):
        list(read_columns(path))
    faults: list[object] = []
    columns = list(read_columns(path, strict=False, report=faults.append))
    assert ([len(part) for part in columns], len(faults)) == ([1], 1)
    assert main(["import", str(path), str(tmp_path / "data")]) == 1


@pytest.mark.parametrize(
    "line",
    [
        '{"image_id":"x\\":y","width":9,"height":9,"uri":"a:b","regions":[{"label":"\\":\\":"}]}',
        '{"image_id" : "x", "width" : 9, "height" : 9, "regions" : [ { "label" : "a" } ] }',
        '{"image_id":"x","width":9,"height":9,"regions":[{"label":"a"},{"label":"a"}]}',
        json.dumps({"image_id": "x", "width": 9, "height": 9, "regions": [{"mask": {"size": [9, 9], "counts": "a2"}}]}),
    ],
)
def test_what_only_looks_like_keys_is_read(tmp_path: Path, line: str) -> None:
    path = tmp_path / "graphs.jsonl"
    path.write_text(line)
    assert len(list(read_jsonl(path))) == 1


JSON = st.recursive(
    st.none() | st.integers(-5, 5) | st.text('":a \\', max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text('":ab', max_size=2), inner, max_size=3),
    max_leaves=12,
)


@given(JSON, st.sampled_from([None, (", ", " : "), (",", ":")]), st.booleans())
def test_no_value_without_such_a_key_is_refused(
    value: object, separators: tuple[str, str] | None, spread: bool
) -> None:
    text = json.dumps(value, separators=separators, indent=1 if spread else None).encode()
    assert doubled_key(text, value) is None
    assert doubled_key_of_graph(text, value) is None


@given(st.dictionaries(st.text("ab", min_size=1, max_size=2), JSON, min_size=1, max_size=3), st.data())
def test_a_doubled_key_is_found_wherever_it_stands(value: dict[str, object], data: st.DataObject) -> None:
    key = data.draw(st.sampled_from(sorted(value)))
    inner = json.dumps(value)[:-1] + f", {json.dumps(key)}: 1}}"
    for text in (inner, f'{{"x": [0, {inner}]}}', f'[{{"a": {inner}}}]', f'[{inner}, {{"b": 1}}]'):
        assert doubled_key(text.encode(), json.loads(text)) == key
        assert doubled_key_of_graph(text.encode(), json.loads(text)) == key


def test_a_row_of_coco_with_a_key_twice_is_left_out_and_counted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image = '{"id":%d,"file_name":"%d.png","width":9,"height":9}'
    row = '{"id":%d,"image_id":%d,"category_id":1,"bbox":[1,1,3,3]%s}'
    rows = row % (1, 1, "") + "," + row % (2, 2, ',"bbox":[2,2,3,3]')
    text = (
        f'{{"images":[{image % (1, 1)},{image % (2, 2)}],"categories":[{{"id":1,"name":"a"}}],"annotations":[{rows}]}}'
    )
    path = tmp_path / "coco.json"
    path.write_text(text)
    assert main(["import", "coco", str(path), str(tmp_path / "data")]) == 0
    told = capsys.readouterr().out
    assert "1 bad-annotation" in told
    assert "coco.json: annotations[1]: has the key 'bbox' twice in one object" in told
    path.write_text(text.replace('"categories"', '"images":[],"categories"'))
    main(["import", "coco", str(path), str(tmp_path / "other")])
    told = capsys.readouterr()
    assert "the name 'images' stands twice" in told.out + told.err
