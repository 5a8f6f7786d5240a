"""The editor `names`: what it asks over a real socket, and what becomes of the answers item by item."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from sgforge.edits import Edit, apply_edit
from sgforge.graph import Region, Sample, SceneGraph
from sgforge.images import Roots
from sgforge.models import Gateway, GatewaySettings, ModelSettings
from sgforge.plugins import load_plugins
from sgforge.stages import Answer, Failure, Resources
from sgforge.testing.fake_provider import FakeAnswer, FakeProvider, FakeRequest, FakeSettings
from sgforge_svg.answers import FAULTS
from sgforge_svg.config import NamesConfig
from sgforge_svg.names import NamesEditor, read_names
from sgforge_svg.view import look_at

REGIONS = [
    Region(None, (20, 40, 90, 200)),
    Region("dog", (120, 120, 200, 200), attributes=("brown",)),
    Region(None, (0, 100, 320, 240), attributes=("green",)),
    Region(None, (5, 5, 15, 15), status="rejected", reason="too-small"),
]


def scene(folder: Path | None = None) -> Sample:
    """Three kept regions, numbers 1 to 3, of which the dog has its name."""
    graph = SceneGraph(320, 240, REGIONS)
    if folder is None:
        return Sample("park", graph)
    Image.new("RGB", (320, 240), (40, 160, 60)).save(folder / "park.png")
    return Sample("park", graph, uri="r:park.png", image=Roots({"r": folder}).image("r:park.png"))


def ask(folder: Path, sample: Sample, answer: Callable[[FakeRequest], FakeAnswer], **options: Any) -> Any:
    """The editor's answer to a sample, and the requests that reached the server."""
    seen: list[FakeRequest] = []

    def script(request: FakeRequest) -> FakeAnswer:
        seen.append(request)
        return answer(request)

    def provider(name: str, settings: ModelSettings) -> Any:
        return load_plugins().lookup("model", name).build(settings)

    async def main(url: str) -> Answer:
        editor = NamesEditor(NamesConfig(model="compat/m", **options))
        async with Gateway.open(folder / "responses.sqlite", GatewaySettings(), provider) as gateway:
            editor.setup(Resources(model=gateway.bind("compat/m", ModelSettings(base_url=url))))
            return await editor.edit(sample)

    with FakeProvider(script, FakeSettings(latency_s=0.0)) as fake:
        return asyncio.run(main(fake.openai_url)), seen


def test_one_request_names_the_regions_without_a_name(tmp_path: Path) -> None:
    names = {
        "names": [
            {"region": 1, "label": "Boy", "attributes": ["standing", "blond"]},
            {"region": 3, "label": "grass", "attributes": ["green", "wet"]},
        ]
    }
    edit, seen = ask(tmp_path, scene(tmp_path), lambda _: FakeAnswer(json.dumps(names)))
    assert edit == Edit.set("region", 0, label="boy", attributes=("standing", "blond")) + Edit.set(
        "region", 2, label="grass", attributes=("green", "wet")
    )
    (request,) = seen
    text = json.dumps(request.body)
    facts = json.loads(re.search(r"<facts>(.*?)</facts>", json.loads(json.dumps(text_of(request))))[1])  # type: ignore[index]
    assert facts["to_name"] == [1, 3]
    assert [(one["region"], one.get("label")) for one in facts["regions"]] == [(1, None), (2, "dog"), (3, None)]
    assert "data:image/" in text
    graph = apply_edit(scene().graph, edit, "names").graph
    assert [region.label for region in graph.regions.values()] == ["boy", "dog", "grass"]


def text_of(request: FakeRequest) -> str:
    """The user's text of a request."""
    parts = request.body["messages"][-1]["content"]
    return "".join(part["text"] for part in parts if part["type"] == "text")


def test_nothing_to_name_sends_nothing(tmp_path: Path) -> None:
    named = Sample("a", SceneGraph(320, 240, [Region("dog", (1, 1, 9, 9))]))

    def never(_: FakeRequest) -> FakeAnswer:
        return FakeAnswer("{}")

    assert ask(tmp_path, named, never) == (Edit(), [])
    assert ask(tmp_path, Sample("b"), never) == (Edit(), [])
    failure, seen = ask(tmp_path, scene(), never)
    assert isinstance(failure, Failure)
    assert (failure.reason, seen) == ("no-image", [])


def test_all_regions_are_named_anew_where_this_is_asked_for(tmp_path: Path) -> None:
    answer = {"names": [{"region": 2, "label": "hound", "attributes": []}]}
    edit, _ = ask(tmp_path, scene(tmp_path), lambda _: FakeAnswer(json.dumps(answer)), scope="all")
    assert edit.sets == Edit.set("region", 1, label="hound").sets
    assert edit.faults == {"unnamed": 2}


def read(answer: Any, asked: tuple[int, ...] = (0, 2)) -> Edit:
    return read_names(look_at(scene(), 60), asked, answer, max_label_words=2, max_attributes=2)


@pytest.mark.parametrize(
    ("item", "fault"),
    [
        ({"region": 2, "label": "cat", "attributes": []}, "not-asked"),
        ({"region": 9, "label": "cat", "attributes": []}, "unknown-region"),
        ({"region": "1", "label": "cat", "attributes": []}, "unknown-region"),
        ({"region": 3, "label": "a very long name", "attributes": []}, "long-label"),
        ({"region": 3, "label": " ", "attributes": []}, "empty-text"),
        ({"region": 3, "label": None, "attributes": []}, "empty-text"),
        ({"region": 1, "label": "girl", "attributes": []}, "duplicate"),
        ("cat", "not-an-object"),
    ],
)
def test_a_bad_item_costs_itself_alone(item: Any, fault: str) -> None:
    edit = read({"names": [{"region": 1, "label": "boy", "attributes": ["tall"]}, item]})
    assert edit.sets == Edit.set("region", 0, label="boy", attributes=("tall",)).sets
    assert edit.faults == {fault: 1, "unnamed": 1}


def test_attributes_are_cut_to_the_limit_and_repeat_nothing() -> None:
    edit = read({"names": [{"region": 3, "label": "grass", "attributes": ["green", "wet", "wet", "long", "old", 7]}]})
    assert edit.sets == Edit.set("region", 2, label="grass", attributes=("green", "wet", "long")).sets
    assert edit.faults == {"too-many-attributes": 1, "empty-text": 1, "unnamed": 1}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-1, 4) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["names", "region", "label", "attributes"]), inner, max_size=4)
    ),
    max_leaves=15,
)


@given(JSON | st.fixed_dictionaries({"names": st.lists(JSON, max_size=4)}))
def test_whatever_a_model_writes_the_edit_applies(answer: Any) -> None:
    edit = read(answer)
    assert set(edit.faults) <= set(FAULTS)
    assert {item.index for item in edit.sets} <= {0, 2}
    apply_edit(scene().graph, edit, "names", may_restore=True)
