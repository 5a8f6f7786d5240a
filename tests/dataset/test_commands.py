"""The dataset's commands, run in process: what they print, their exit codes, and untrusted text."""

from __future__ import annotations

import json

import pytest
from dataset.given import key_of
from dataset.made import TEACHER, TEACHER_EDITS, answers, make_dataset, three_samples

from sgforge.cli.main import COMMANDS, main
from sgforge.dataset import Dataset, DatasetWriter
from sgforge.dataset.folder import split_ref
from sgforge.graph import Region, Relation, Sample, SceneGraph
from sgforge.jsonl import dump_sample
from sgforge.text.safe_text import visible


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("made") / "dataset"
    make_dataset(path)
    return path


@pytest.fixture
def sgforge(capsys):
    """Run the command line: (exit code, stdout, stderr)."""

    def run(*arguments: object) -> tuple[int, str, str]:
        code = main([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        return code, out, err

    return run


def test_show_names_regions_relations_verdicts_and_calls(folder, sgforge):
    code, out, _ = sgforge("show", folder, "a")
    assert code == 0
    assert 'man [10, 10, 50, 70] mask 0.9 tall "a tall man"' in out
    assert "man(0) wearing hat(1) [functional] 0.9" in out
    assert "dog(2) left of man(0) [spatial] 0.4  (by complete; rejected by spatial-rules: left-right 0.05)" in out
    assert "complete: call-complete-a in run run-1" in out
    assert "failed at spatial-rules: timeout" in sgforge("show", folder, "b")[1]
    assert "dropped: empty" in sgforge("show", folder, "c")[1]


def test_show_lists_and_filters(folder, sgforge):
    code, out, _ = sgforge("show", folder, "--label", "cup")
    assert code == 0
    assert "1 image matches label=cup" in out
    assert "b  2 regions, 2 relations kept" in out
    found = json.loads(sgforge("show", folder, "--predicate", "wearing", "--json")[1])
    assert (found["matching"], found["images"]) == (1, ["a"])
    line = json.loads(sgforge("show", folder, "a", "--json")[1])
    assert line["image_id"] == "a"
    assert len(line["relations"]) == 3


def test_log_and_its_json(folder, sgforge):
    lines = sgforge("log", folder)[1].splitlines()
    assert len(lines) == 3
    assert "filter spatial-rules" in lines[0]
    assert "1 failed" in lines[0]
    assert lines[0].endswith("<- main")
    assert "complete svg as complete" in lines[1]
    history = json.loads(sgforge("log", folder, "--json")[1])
    assert [entry["step"]["name"] for entry in history] == ["spatial-rules", "complete", "source"]
    assert history[0]["names"] == ["main"]


def test_diff_by_ids_and_its_json(folder, sgforge):
    history = Dataset.open(folder).log()
    code, out, _ = sgforge("diff", f"{folder}@{history[1].snapshot_id[:10]}", "@main")
    assert code == 0
    assert "  - dog(2) left of man(0)  (left-right, 0.05, by spatial-rules)" in out
    assert "  ~ man(0) next to dog(2): degree none -> " in out
    assert "1 relation rejected" in out
    back = sgforge("diff", f"{folder}@{history[0].snapshot_id}", f"@{history[1].snapshot_id}")[1]
    assert "  + dog(2) left of man(0)  (restored)" in back
    found = json.loads(sgforge("diff", f"{folder}@{history[2].snapshot_id}", folder, "--json")[1])
    assert found["counts"]["relations_added"] == 4
    assert found["images"][0]["relations_added"] == ["man(0) next to dog(2)", "dog(2) left of man(0)"]
    assert sgforge("diff", folder, folder)[1] == "no difference\n"


def test_stats_and_its_json(folder, sgforge):
    out = sgforge("stats", folder)[1]
    assert "5 kept, 0 rejected; 1.7 an image" in out
    assert "spatial-rules: left-right 1 (relations)" in out
    rows = [line.split() for line in out.splitlines()]
    assert ["filter", "spatial-rules", "before", "after"] in rows
    assert ["relations", "an", "image", "1.67", "1.33"] in rows
    assert ["spatial", "80.0", "%", "75.0", "%"] in rows
    stats = json.loads(sgforge("stats", folder, "--json")[1])
    assert stats["relations"] == 4
    assert stats["filters"][0]["before"]["relations"] == 5


def test_tag_lists_makes_and_refuses(folder, sgforge):
    first = Dataset.open(folder).log()[2].snapshot_id
    assert "round-0 is snapshot" in sgforge("tag", folder, "round-0", first[:8])[1]
    assert f"{first[:12]}  tag round-0" in sgforge("tag", folder)[1]
    code, _, err = sgforge("tag", folder, "round-0")
    assert code == 1
    assert "never moves" in err
    assert "source: 3 images" in sgforge("log", f"{folder}@round-0")[1]


def test_publish_seals_and_says_so(tmp_path, sgforge):
    samples = three_samples()
    with DatasetWriter.open(tmp_path) as writer:
        source = writer.publish_source(samples, [key_of(sample.image_id) for sample in samples])
        writer.begin_step(TEACHER)
        writer.journal.put(answers(source, TEACHER, {"a": TEACHER_EDITS["a"]}))
    code, out, _ = sgforge("publish", tmp_path)
    assert code == 0
    assert "complete (unfinished)" in out
    assert len(Dataset.open(tmp_path)["a"].graph.relations) == 3
    assert "(unfinished)" in sgforge("log", tmp_path)[1]
    assert sgforge("publish", tmp_path)[1] == "nothing to seal\n"


def test_verify_says_sound_or_what_is_damaged(tmp_path, sgforge):
    make_dataset(tmp_path)
    code, out, _ = sgforge("verify", tmp_path)
    assert code == 0
    assert "3 snapshots, 0 unpublished answers, 0 problems" in out
    file = Dataset.open(tmp_path).snapshot.path / "region/box/c/0/0"
    file.chmod(0o644)
    data = bytearray(file.read_bytes())
    data[20] ^= 1
    file.write_bytes(data)
    code, out, _ = sgforge("verify", tmp_path)
    assert code == 1
    # The file is shared by all three snapshots, which is told once; and it can be written.
    assert out.count("3 versions share a damaged file (") == out.count("region/box/c/0/0: its bytes are not those") == 1
    assert len(json.loads(sgforge("verify", tmp_path, "--json")[1])["problems"]) == 2


def test_import_and_export_bring_every_sample_back(folder, tmp_path, sgforge):
    code, _, _ = sgforge("export", folder, "--to", "jsonl", "--output", tmp_path / "one.jsonl")
    assert code == 0
    code, out, err = sgforge("import", tmp_path / "one.jsonl", tmp_path / "copy")
    assert (code, err) == (0, "")
    assert "images," in out
    assert sgforge("export", tmp_path / "copy", "--to", "jsonl", "--output", tmp_path / "two.jsonl")[0] == 0
    assert (tmp_path / "one.jsonl").read_bytes() == (tmp_path / "two.jsonl").read_bytes()
    ids = [json.loads(line)["image_id"] for line in (tmp_path / "one.jsonl").read_text().splitlines()]
    assert ids == sorted(ids)


def test_importing_the_same_graphs_gives_the_same_keys_whatever_stands_beside_them(tmp_path, sgforge):
    samples = three_samples()
    (tmp_path / "all.jsonl").write_bytes(b"\n".join(dump_sample(sample).rstrip() for sample in samples))
    (tmp_path / "one.jsonl").write_bytes(dump_sample(samples[1]))
    changed = Sample("a", SceneGraph(100, 80, [Region("man")]))
    (tmp_path / "changed.jsonl").write_bytes(dump_sample(changed))
    keys = {}
    for name in ("all", "one", "changed"):
        assert sgforge("import", tmp_path / f"{name}.jsonl", tmp_path / name)[0] == 0
        snapshot = Dataset.open(tmp_path / name).snapshot
        keys[name] = dict(zip(snapshot.image_ids, [key.tobytes() for key in snapshot.keys], strict=True))
    assert keys["all"]["b"] == keys["one"]["b"]
    assert keys["all"]["a"] != keys["changed"]["a"]


def test_import_lists_every_fault_and_imports_nothing(tmp_path, sgforge):
    lines = [
        '{"image_id": "a", "width": 9, "height": 9, "regions": [{"label": "x", "box": [3, 3, 1, 1]}]}',
        '{"image_id": "b", "width": 9, "height": 9, "regions": [{"label": 7}]}',
        '{"image_id": "c", "width": 9, "height": 9, "regions": [{}], '
        '"relations": [{"subject": 0, "predicate": "on", "object": 0}]}',
        "{broken",
        '{"image_id": "d", "width": 9, "height": 9, "regions": [], "failed": "timeout"}',
    ]
    (tmp_path / "bad.jsonl").write_text("\n".join(lines))
    code, _, err = sgforge("import", tmp_path / "bad.jsonl", tmp_path / "dataset")
    assert code == 1
    for text in (
        "bad.jsonl:1: regions[0].box",
        "bad.jsonl:2",
        "image 'c': relations[0]",
        "bad.jsonl:4",
        "image 'd': failed",
    ):
        assert text in err
    assert not (tmp_path / "dataset").exists()


def test_what_is_not_there_is_one_line_and_exit_code_1(folder, tmp_path, sgforge):
    for arguments in (
        ("show", tmp_path / "nowhere"),
        ("show", folder, "zebra"),
        ("show", f"{folder}@nope"),
        ("log", tmp_path),
        ("stats", f"{folder}@nope"),
        ("verify", tmp_path),
        ("publish", tmp_path),
        ("tag", tmp_path, "x"),
        ("import", tmp_path / "no.jsonl", tmp_path / "d"),
    ):
        code, out, err = sgforge(*arguments)
        assert (code, out) == (1, "")
        assert err.startswith("sgforge: error: ")
        assert len(err.splitlines()) == 1
    code, _, err = sgforge("export", folder, "--to", "cocoo", "--output", tmp_path / "x")
    assert code == 2
    assert "coco" in err


def test_help_has_examples():
    from sgforge.cli.parser import CommandParser

    for name in ("show", "log", "diff", "tag", "stats", "publish", "verify", "import", "export"):
        import importlib

        parser = CommandParser(prog=name)
        importlib.import_module(COMMANDS[name].module).configure(parser)
        assert f"sgforge {name} " in parser.epilog


NASTY = "\x1b[31mred\x1b[0m\r\n\x07\u202eevil\u2028"


def test_labels_cannot_drive_the_terminal(tmp_path, sgforge):
    graph = SceneGraph(
        9,
        9,
        [Region(NASTY, descriptions=(NASTY,), attributes=(NASTY,)), Region("b")],
        [Relation(0, NASTY, 1)],
        {NASTY: NASTY},
    )
    with DatasetWriter.open(tmp_path) as writer:
        first = writer.publish_source([Sample("a")], [key_of(0)])
        writer.tag("empty", first.id)
        writer.move_branch(
            "main", writer.publish_source([Sample(NASTY, graph, f"r:{NASTY}", NASTY, NASTY)], [key_of(1)])
        )
    printed = "".join(
        sgforge(*arguments)[1]
        for arguments in (
            ("show", tmp_path),
            ("show", tmp_path, NASTY),
            ("show", tmp_path, NASTY, "--json"),
            ("diff", f"{tmp_path}@empty", tmp_path),
            ("diff", f"{tmp_path}@empty", tmp_path, "--json"),
            ("stats", tmp_path),
            ("log", tmp_path),
            ("verify", tmp_path),
        )
    )
    assert "red" in printed
    assert not set(printed) & set("\x1b\r\x07\u202e\u2028")


def test_visible_keeps_what_people_write():
    assert visible("on top of – ça 日本 🐕") == "on top of – ça 日本 🐕"
    assert visible("a\nb\x9b") == "a\\nb\\x9b"


@pytest.mark.parametrize(
    ("spec", "parts"),
    [
        ("runs/first", ("runs/first", "main")),
        ("runs/first@round-1", ("runs/first", "round-1")),
        ("runs/me@home/first", ("runs/me@home/first", "main")),
        ("runs/me@home/first@x", ("runs/me@home/first", "x")),
    ],
)
def test_split_ref(spec, parts):
    assert split_ref(spec) == parts
