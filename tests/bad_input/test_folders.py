"""Faulty configs, folders of others, two writers, hostile names in a dataset, a full disk."""

from __future__ import annotations

import json
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from bad_input.desk import Desk, annotation, picture
from support.waiting import LONGEST, wait_until

import sgforge as sg
from sgforge.errors import ConfigError, DatasetError
from sgforge.testing.fake_provider import FakeAnswer, FakeProvider, FakeRequest, FakeSettings
from sgforge.testing.fake_provider.instances import answer_by_schema

PIPELINE = """
dataset = "{dataset}"
[source]
use = "coco"
images = "img"
annotations = "coco.json"
[[step]]
segment = "regions"
[[step]]
complete = "geometry"
"""
ASKING = """
dataset = "{dataset}"
[source]
use = "scenes"
folder = "scenes"
count = {count}
size = 96
[[step]]
complete = "svg"
subjects = 2
model = "compat/x"
[models."compat/x"]
base_url = "{url}"
max_in_flight = {in_flight}
"""


def with_images(desk: Desk) -> None:
    picture(desk.folder / "img" / "a.png")
    picture(desk.folder / "img" / "b.png", seed=1)
    desk.coco({"a.png": (40, 30), "b.png": (40, 30)}, [annotation(1), annotation(1, (15, 2, 8, 8)), annotation(2)])


FAULTY = """\
dataset = "runs/d"
[source]
use = "coco"
imges = "img"
annotations = 5
[[step]]
segment = "region"
"""


@pytest.mark.parametrize("command", ["check", "run", "plan"])
def test_all_mistakes_of_a_config_at_once_each_with_its_place(desk: Desk, command: str) -> None:
    desk.write("bad.toml", FAULTY)
    done = desk.sgforge(command, "bad.toml")
    assert (done.code, done.out) == (2, "")
    assert done.err.splitlines() == [
        "sgforge: error: bad.toml: 3 faults",
        "  bad.toml:4: source.imges: unknown key; did you mean 'images'?",
        "  bad.toml:5: source.annotations: must be a text, not 5",
        "  bad.toml:7: step[0].segment: there is no segmenter 'region'; did you mean 'regions'?",
    ]
    assert not (desk.folder / "runs").exists()


def test_a_step_name_that_a_terminal_would_obey(desk: Desk) -> None:
    desk.write("p.toml", FAULTY.replace('segment = "region"', 'segment = "regions"\nname = "a\\u001b[31m\\nb"'))
    done = desk.sgforge("check", "p.toml")
    assert done.code == 2
    assert "p.toml:8: step[0].name: " in done.err
    assert r"must be one line of printable text, not 'a\x1b[31m\nb'" in done.err
    with pytest.raises(ConfigError, match="one line of printable text"):
        sg.segment("regions", name="a\x1b[31m")


def test_a_bad_branch_is_found_before_the_work(desk: Desk) -> None:
    with_images(desk)
    desk.write("p.toml", PIPELINE.format(dataset="runs/d"))
    done = desk.sgforge("run", "p.toml", "--branch", "../../x")
    assert (done.code, "no name of a branch" in done.error) == (2, True)
    desk.write("g.jsonl", '{"image_id": "a", "width": 4, "height": 3, "regions": []}\n')
    assert desk.sgforge("import", "g.jsonl", "runs/d", "--branch", "a/b").code == 2
    assert not (desk.folder / "runs").exists()


def test_a_folder_of_another_program_is_left_alone(desk: Desk) -> None:
    with_images(desk)
    desk.write("other/thesis.tex", "my work")
    desk.write("p.toml", PIPELINE.format(dataset="other"))
    done = desk.sgforge("run", "p.toml")
    assert (done.code, done.error) == (1, "other holds 'thesis.tex' and no dataset: give an empty or a new folder")
    desk.write("g.jsonl", '{"image_id": "a", "width": 4, "height": 3, "regions": []}\n')
    assert "thesis.tex" in desk.sgforge("import", "g.jsonl", "other").error
    for command in (["show", "other"], ["verify", "other"], ["tag", "other", "x"]):
        assert desk.sgforge(*command).error.startswith("other is no sgforge dataset")
    assert [path.name for path in (desk.folder / "other").iterdir()] == ["thesis.tex"]


def test_two_runs_on_one_dataset(desk: Desk) -> None:
    """The second is told who is writing and ends; the first is not disturbed."""
    second_has_ended = threading.Event()

    def script(request: FakeRequest) -> FakeAnswer:
        busy = FakeAnswer("busy", 503, retry_after_s=0.1)
        return answer_by_schema(request) if second_has_ended.is_set() else busy

    with FakeProvider(script) as fake:
        desk.write("p.toml", ASKING.format(dataset="runs/d", url=fake.openai_url, count=3, in_flight=1))
        first = desk.start("run", "p.toml")
        wait_until(lambda: fake.ledger.received > 0 or first.poll() is not None, "the first call")
        second = desk.process("run", "p.toml")
        assert first.poll() is None
        assert second.code == 1
        assert f"runs/d is being written by process {first.pid} on " in second.error
        second_has_ended.set()
        first.communicate(timeout=LONGEST)
        assert first.returncode == 0
        assert fake.ledger.repeated == {}
        again = desk.sgforge("run", "p.toml")
        assert again.code == 0
        assert "nothing had to be computed again" in again.out


HOSTILE = {
    "a ref that climbs": lambda folder: (folder / "refs/heads/x").write_text("../../../../etc"),
    "a ref with an escape": lambda folder: (folder / "refs/heads/x").write_text("\x1b[31mred"),
    "a ref that is a link": lambda folder: (folder / "refs/heads/x").symlink_to("/etc/hostname"),
    "a snapshot that is a link": lambda folder: (folder / "snapshots" / ("f" * 32)).symlink_to("/etc"),
}


def test_hostile_names_in_a_dataset_folder(desk: Desk) -> None:
    with_images(desk)
    desk.write("p.toml", PIPELINE.format(dataset="runs/d"))
    assert desk.sgforge("run", "p.toml").code == 0
    folder = desk.folder / "runs/d"
    for name, spoil in HOSTILE.items():
        copy = desk.folder / "copy"
        shutil.copytree(folder, copy)
        spoil(copy)
        with pytest.raises(DatasetError, match=r"does not name a snapshot|is a link to elsewhere"):
            sg.Dataset.open(copy, "f" * 32 if "snapshot" in name else "x")
        assert len(sg.Dataset.open(copy)) == 2, "what is sound can still be read"
        assert desk.sgforge("verify", "copy").code == 1
        shutil.rmtree(copy)
    # A name that no ref can have is not listed, read or sent to the terminal.
    (folder / "refs/heads" / "evil\x1b[31m\n").write_text("0" * 32)
    listed = desk.sgforge("tag", "runs/d")
    assert [line.split()[1:] for line in listed.out.splitlines()] == [["branch", "main"]]
    for ref in ("../../heads/main", "/etc/passwd", "\x1b[31m"):
        assert desk.sgforge("show", f"runs/d@{ref}").code == 1


@contextmanager
def small_disk(path: Path, size: str) -> Iterator[Path]:
    """A tmpfs of its own; skips where mounting is not permitted."""
    path.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(path)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("mounting a tmpfs is not permitted here")
    try:
        yield path
    finally:
        subprocess.run(["umount", "-l", str(path)], check=True)


def fill(disk: Path) -> Path:
    """Not a byte is left."""
    filler = disk / "filler"
    with suppress(OSError):  # someone else took the last bytes meanwhile: full it is
        filler.write_bytes(bytes(shutil.disk_usage(disk).free))
    return filler


def test_a_run_on_a_full_disk_goes_on_when_there_is_room(desk: Desk) -> None:
    with_images(desk)
    desk.write("p.toml", PIPELINE.format(dataset="disk/d"))
    desk.write("first.toml", PIPELINE.format(dataset="disk/d").replace('[[step]]\ncomplete = "geometry"\n', ""))
    with small_disk(desk.folder / "disk", "4m") as disk:
        assert desk.sgforge("run", "first.toml").code == 0
        before = sg.Dataset.open(disk / "d").snapshot.id
        filler = fill(disk)
        done = desk.process("run", "p.toml")
        assert done.code == 1
        assert done.error.startswith("disk/d/journal.sqlite: the disk is full")
        assert done.error.endswith("run again after mending it")
        assert desk.sgforge("show", "disk/d", "1").code == 0
        assert sg.Dataset.open(disk / "d").snapshot.id == before
        exported = desk.sgforge("export", "disk/d", "--to", "jsonl", "--output", "disk/out.jsonl")
        assert (exported.code, exported.error) == (1, "disk/out.jsonl cannot be written: No space left on device")
        assert not list(disk.glob("*out.jsonl*"))
        filler.unlink()
        mended = json.loads(desk.sgforge("run", "p.toml", "--json").out)["steps"]
        assert {name: (step["computed"], step["reused"]) for name, step in mended.items()} == {
            "source": (0, 2),
            "segment": (0, 2),
            "complete": (2, 0),
        }
        assert desk.sgforge("verify", "disk/d").code == 0


def test_a_paid_answer_survives_a_disk_that_fills_while_it_is_under_way(desk: Desk) -> None:
    """Answers in flight when the disk fills are kept in space held back for them; none is bought a second time."""
    with small_disk(desk.folder / "disk", "16m") as disk, FakeProvider(settings=FakeSettings(latency_s=0.1)) as fake:

        def script(request: FakeRequest) -> FakeAnswer:
            if request.number == 6:
                fill(disk)
            answer = answer_by_schema(request)
            # Long answers, as those of real models: the log that is there has no room for them.
            return FakeAnswer(answer.text + " " * 50_000)

        fake.script = script
        desk.write("p.toml", ASKING.format(dataset="disk/d", url=fake.openai_url, count=20, in_flight=4))
        done = desk.process("run", "p.toml")
        assert done.code == 1
        assert "free some space and run again" in done.error or "run again after mending it" in done.error
        bought = fake.ledger.answered
        assert 6 <= bought < 20, "the disk filled while answers were under way, and nothing new was bought after that"
        (disk / "filler").unlink()
        mended = desk.sgforge("run", "p.toml", "--json")
        assert mended.code == 0
        assert fake.ledger.answered == 20
        assert fake.ledger.repeated == {}
        assert desk.sgforge("verify", "disk/d").code == 0
        assert not list((disk / "d").glob("responses.sqlite-ballast")), "the space held back is given back"


def test_nothing_is_bought_where_no_answer_could_be_kept(desk: Desk) -> None:
    with small_disk(desk.folder / "disk", "4m"), FakeProvider() as fake:
        desk.write("p.toml", ASKING.format(dataset="disk/d", url=fake.openai_url, count=2, in_flight=4))
        done = desk.sgforge("run", "p.toml")
        assert done.code == 1
        assert "disk is full: 8 MB must be free" in done.error
        assert fake.ledger.received == 0
