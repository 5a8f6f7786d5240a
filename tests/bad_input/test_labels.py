"""Labels that hold line ends and terminal escapes: nothing that is printed, logged, drawn or exported obeys them.

`Desk.sgforge` fails on any raw control character in what a command prints.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from bad_input.desk import RAW, Desk, picture

import sgforge as sg
from sgforge.testing.fake_provider import FakeAnswer, FakeProvider, FakeRequest

EVIL = "\x1b[31mred\x1b[0m\n\x9b31m\u202eevil\u2028x\x07"
SHOWN = r"\x1b[31mred\x1b[0m\n\x9b31m\u202eevil\u2028x\x07"


def row(image_id: str, **more: Any) -> dict[str, Any]:
    """A line of graph JSONL in which every free text is `EVIL`."""
    texts = {"label": EVIL, "descriptions": [EVIL], "attributes": [EVIL]}
    return {
        "image_id": image_id,
        "width": 40,
        "height": 30,
        "attributes": {EVIL: EVIL},
        "regions": [{"box": [1, 1, 9, 9], **texts}, {"label": "cup", "box": [15, 1, 29, 9]}],
        "relations": [
            {"subject": 0, "predicate": EVIL, "object": 1, "made_by": EVIL},
            {"subject": 0, "predicate": "left of", "object": 1, "status": "rejected", "reason": EVIL},
        ],
        **more,
    }


def written(desk: Desk, name: str, *rows: dict[str, Any]) -> None:
    desk.write(name, "".join(json.dumps(one) + "\n" for one in rows))


@pytest.fixture
def evil(desk: Desk) -> Desk:
    """A desk with the dataset `runs/i` whose every text is evil."""
    written(desk, "g.jsonl", row("a"), row("b" + EVIL))
    assert desk.sgforge("import", "g.jsonl", "runs/i").code == 0
    return desk


def test_commands_show_them_and_do_not_send_them(evil: Desk) -> None:
    shown = evil.sgforge("show", "runs/i", "a")
    assert SHOWN in shown.out
    assert len(shown.out.splitlines()) == 8
    assert SHOWN in evil.sgforge("show", "runs/i").out
    assert "2 images match" in evil.sgforge("show", "runs/i", "--label", EVIL).out
    assert SHOWN in evil.sgforge("stats", "runs/i").out
    assert EVIL in json.loads(evil.sgforge("show", "runs/i", "a", "--json").out)["attributes"]
    assert EVIL in json.loads(evil.sgforge("stats", "runs/i", "--json").out)["made_by"]["relation"]
    error = evil.sgforge("show", "runs/i", "c" + EVIL).error
    assert SHOWN in error
    written(evil, "h.jsonl", row("a", relations=[]))
    assert evil.sgforge("import", "h.jsonl", "runs/h").code == 0
    differs = evil.sgforge("diff", "runs/i", "runs/h").out
    assert SHOWN in differs
    assert f"b{SHOWN} (removed)" in differs


@pytest.mark.parametrize("name", ["jsonl", "coco"])
def test_exports_hold_them_as_escapes_of_json(evil: Desk, name: str) -> None:
    assert evil.sgforge("export", "runs/i", "--to", name, "--output", "out.json").code == 0
    text = (evil.folder / "out.json").read_text()
    assert RAW.search(text) is None
    if name == "coco":
        assert [one["name"] for one in json.loads(text)["categories"]] == [EVIL, "cup"]
        return
    first = json.loads(text.splitlines()[0])
    assert (first["regions"][0]["label"], first["relations"][0]["predicate"]) == (EVIL, EVIL)
    assert evil.sgforge("import", "out.json", "runs/back").code == 0
    assert evil.sgforge("diff", "runs/i", "runs/back").out == "no difference\n"


def test_image_ids_from_a_file_name_no_file_that_is_written(desk: Desk) -> None:
    """Ids are no paths: an export writes the one file it was told to, whatever the images are called."""
    ids = ["../../evil", "/tmp/evil", "a/../../../evil", "C:\\evil", "nul", "x" * 200]
    written(desk, "g.jsonl", *(row(one) for one in ids))
    assert desk.sgforge("import", "g.jsonl", "runs/i").code == 0
    before = sorted(path for path in desk.folder.parent.rglob("*"))
    for name in ("jsonl", "coco"):
        assert desk.sgforge("export", "runs/i", "--to", name, "--output", f"{name}.out").code == 0
    after = sorted(path for path in desk.folder.parent.rglob("*"))
    assert sorted(set(after) - set(before)) == [desk.folder / "coco.out", desk.folder / "jsonl.out"]
    assert {json.loads(line)["image_id"] for line in (desk.folder / "jsonl.out").open()} == set(ids)


def test_a_run_counts_an_image_with_such_a_label_and_goes_on(desk: Desk) -> None:
    picture(desk.folder / "img" / "a.png")
    good = row("good", attributes={}, regions=[{"label": "cup", "box": [1, 1, 9, 9]}], relations=[])
    written(desk, "g.jsonl", row("a" + EVIL), row("b"), good)
    text = 'dataset = "runs/d"\n[source]\nuse = "jsonl"\ngraphs = "g.jsonl"\n[[step]]\nsegment = "regions"\n'
    desk.write("p.toml", text)
    done = desk.sgforge("run", "p.toml")
    assert done.code == 4
    assert "2 failed: bad-label" in [line.strip() for line in done.out.splitlines()]
    assert SHOWN in done.out


def test_pictures_draw_them_as_plain_marks() -> None:
    """Drawing a label of controls gives a picture, and one of the same size as any other."""
    from PIL import Image

    from sgforge.draw import draw_graph
    from sgforge.graph import Region, Relation, SceneGraph

    image = Image.new("RGB", (80, 60))
    for text in (EVIL, "\n" * 500, "\x00", "\u202e" * 50):
        regions = (Region(text, (5, 5, 30, 30)), Region("cup", (40, 10, 70, 50)))
        graph = SceneGraph(80, 60, regions, (Relation(0, text, 1),))
        drawn = draw_graph(image, graph)
        assert drawn.mode == "RGB"
        assert np.asarray(drawn).any()


CONFIG = """
dataset = "runs/d"
[source]
use = "scenes"
folder = "scenes"
count = 2
size = 96
[[step]]
complete = "svg"
model = "compat/x"
[models."compat/x"]
base_url = "{url}"
"""


def test_what_a_model_writes_is_made_plain(desk: Desk) -> None:
    def script(request: FakeRequest) -> FakeAnswer:
        relation = {"predicate": f"{EVIL} near", "object": 2, "category": "emotional"}
        subject = {"region": 1, "description": EVIL, "relations": [relation]}
        return FakeAnswer(json.dumps({"subjects": [subject]}))

    with FakeProvider(script=script) as fake:
        desk.write("p.toml", CONFIG.format(url=fake.openai_url))
        assert desk.sgforge("run", "p.toml").code == 0
    for sample in sg.Dataset.open(desk.folder / "runs/d"):
        made = [one.predicate for one in sample.graph.all.relations if one.made_by == "complete"]
        assert made
        assert all(RAW.search(text) is None for text in made)
        assert all(RAW.search(text) is None for one in sample.graph.all.regions for text in one.descriptions)


def test_what_a_server_says_in_an_error_is_shown_not_sent(desk: Desk) -> None:
    with FakeProvider(script=lambda request: FakeAnswer(f"no {EVIL}", 400)) as fake:
        desk.write("p.toml", CONFIG.format(url=fake.openai_url))
        done = desk.sgforge("run", "p.toml")
        assert done.code == 4
        one_line = SHOWN.replace(r"\n", " ").replace(r"\u2028", " ")
        assert done.out.count(one_line) == 2
        told = json.loads(desk.sgforge("run", "p.toml", "--json").out)["failures"]
        assert [one["detail"] for one in told] == [f"compat/x: no {' '.join(EVIL.split())}"] * 2
