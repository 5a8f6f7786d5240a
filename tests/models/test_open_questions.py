"""Questions without an answer in images that have others: `--retry-failed` asks them, and nothing else."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import attrs
import pytest
from models.raw_server import Raw, RawServer, completion
from models.test_cases import good, sgforge, write_pipeline

import sgforge as sg

IMAGES: Final = 3


def refused(text: str) -> Raw:
    return as_body(completion(None, finish_reason="content_filter"))


def cut_in_thought(text: str) -> Raw:
    return as_body(completion("<think>The boy might", finish_reason="length"))


def without_a_word(text: str) -> Raw:
    return as_body(completion("I cannot tell"))


def an_error(text: str) -> Raw:
    return Raw(b"{}", 400)


def one_of_two(text: str) -> Raw:
    """An answer to a list that leaves the question about "throwing" out."""
    numbers = re.findall(r'"question":(\d+)', text)
    throwing = next(number for number in numbers if f'"question":{number},' in text.split("throwing")[0][-200:])
    rows = [{"question": int(number), "answer": "yes"} for number in numbers if number != throwing]
    return as_body(completion(json.dumps({"answers": rows})))


def as_body(body: dict[str, Any]) -> Raw:
    return Raw(json.dumps(body).encode())


@attrs.define
class Judge:
    """Gives the first picture that comes `odd` wherever "throwing" is asked about, until it is `well`."""

    odd: Callable[[str], Raw]
    well: bool = False
    hit: str | None = None
    asked: Counter[tuple[bool, bool]] = attrs.field(factory=Counter)

    def __call__(self, body: dict[str, Any]) -> Raw:
        # Of a repair it is the question that is looked at, not the complaint behind it.
        parts = next(turn["content"] for turn in body["messages"] if turn["role"] == "user")
        picture = json.dumps([part for part in parts if part["type"] != "text"])
        text = " ".join(part["text"] for part in parts if part["type"] == "text")
        self.hit = self.hit or picture
        is_odd = picture == self.hit and "throwing" in text
        self.asked[picture == self.hit, is_odd] += 1
        return self.odd(text) if is_odd and not self.well else as_body(completion(good(text)))


def degrees(folder: Path) -> Counter[tuple[float | None, ...]]:
    """Those of each image's relations."""
    found = sg.Dataset.open(folder / "data")
    return Counter(tuple(row.degree for row in sample.graph.all.relations) for sample in found)


def odd_answers() -> list[Any]:
    return [
        pytest.param(odd, id=odd.__name__) for odd in (refused, cut_in_thought, without_a_word, an_error, one_of_two)
    ]


@attrs.frozen
class Desk:
    """Runs a pipeline of two judges, the second after the first, against one server."""

    config: Path
    judge: Judge
    capsys: pytest.CaptureFixture[str]

    def run(self, *flags: str) -> tuple[Counter[tuple[bool, bool]], dict[str, Any]]:
        """(what was asked meanwhile, the report's steps)"""
        self.judge.asked = Counter()
        code, report, said = sgforge(self.capsys, "run", str(self.config), *flags)
        assert code == 0, said
        return self.judge.asked, report["steps"]

    def degrees(self) -> Counter[tuple[float | None, ...]]:
        """Those of each image's relations."""
        found = sg.Dataset.open(self.config.parent / "data")
        return Counter(tuple(row.degree for row in sample.graph.all.relations) for sample in found)


@pytest.fixture
def desk(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[[Judge, RawServer], Desk]:
    def start(judge: Judge, server: RawServer) -> Desk:
        kind = "list" if judge.odd is one_of_two else "judge"
        config = write_pipeline(tmp_path, {"kind": kind, "wire": "chat"}, server, IMAGES)
        lists = "probabilities = false" if kind == "list" else ""
        with config.open("a") as file:
            file.write(f'[[step]]\nfilter = "vqa"\nname = "after"\nmodel = "compat/m"\nprobe_rate = 0.0\n{lists}\n')
        return Desk(config, judge, capsys)

    return start


HALF: Final = Counter({(1.0, 1.0): IMAGES - 1, (None, 1.0): 1})
WHOLE: Final = Counter({(1.0, 1.0): IMAGES})


@pytest.mark.parametrize("odd", odd_answers())
def test_only_the_open_question_is_bought_and_the_other_verdicts_stand(odd: Any, desk: Any) -> None:
    judge = Judge(odd)
    with RawServer(judge) as server:
        place = desk(judge, server)
        _, steps = place.run()
        assert (steps["asked"]["computed"], steps["asked"]["faults"]["unanswered"]) == (IMAGES, 1)
        assert place.degrees() == HALF
        judge.well = True
        asked, _ = place.run()
        assert (asked.total(), place.degrees()) == (0, HALF)
        asked, steps = place.run("--retry-failed")
        assert asked == Counter({(True, True): 1})
        assert [(steps[name]["computed"], steps[name]["reused"]) for name in ("asked", "after")] == [
            (1, IMAGES - 1)
        ] * 2
        assert place.degrees() == WHOLE
        for flags in ((), ("--retry-failed",)):
            asked, steps = place.run(*flags)
            assert (asked.total(), steps["asked"]["reused"], place.degrees()) == (0, IMAGES, WHOLE)


@pytest.mark.parametrize("odd", [without_a_word, one_of_two])
def test_what_stays_without_an_answer_is_asked_once_more_in_each_run_that_retries(odd: Any, desk: Any) -> None:
    judge = Judge(odd)
    with RawServer(judge) as server:
        place = desk(judge, server)
        place.run()
        for _ in range(2):
            asked, steps = place.run("--retry-failed")
            # Both steps put the same question, which is bought once; a list without any answer has a repair.
            assert asked == Counter({(True, True): 2 if odd is one_of_two else 1})
            assert steps["asked"]["faults"]["unanswered"] == 1
            assert place.degrees() == HALF
        judge.well = True
        place.run("--retry-failed")
        assert place.degrees() == WHOLE


def test_plan_says_of_how_many_images_something_would_be_asked_again(desk: Any, capsys: Any) -> None:
    judge = Judge(refused)
    with RawServer(judge) as server:
        place = desk(judge, server)
        place.run()
        for flags, compute in (((), 0), (("--retry-failed",), 1)):
            _, report, _ = sgforge(capsys, "plan", str(place.config), *flags)
            assert report["steps"]["asked"]["compute"] == compute
        assert judge.asked[True, True] == 1


def test_a_list_is_asked_again_without_what_it_answered(desk: Any) -> None:
    judge = Judge(one_of_two)
    with RawServer(judge) as server:
        place = desk(judge, server)
        place.run()
        judge.well = True
        place.run("--retry-failed")
        text = json.dumps(server.bodies[-1])
    assert ("throwing" in text, "watching" in text) == (True, False)
