"""`sgforge reward COMPLETIONS TRUTH`: what anybody's completions are worth by a graph reward."""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import attrs

from sgforge.config.options import structure_options
from sgforge.config.overrides import apply_override
from sgforge.errors import ConfigError
from sgforge.graph import Sample
from sgforge.jsonl import numbered_lines, parse_line, read_jsonl
from sgforge.jsonl.objects import decode_line
from sgforge.plugins import load_plugins
from sgforge.stages import Credit, Failure, Outcome, Resources
from sgforge.stages.parts import kind_of_part
from sgforge.stages.rewards import Scored, check_credit, range_of
from sgforge.text.did_you_mean import choices
from sgforge.text.safe_text import visible
from sgforge.text.wording import counted
from sgforge_grpo.config import MAX_PIXELS, UNITS, Unit
from sgforge_grpo.reading.answer import Frame, read_outcome
from sgforge_grpo.units import scale_of

__all__ = ["RewardCommand"]

_EPILOG: Final = """\
completions are JSON lines {"image_id": ..., "completion": text}, as many an image as you like; a line may say the size
that the model saw as "processed": [width, height]. A line of graph JSONL counts as an answer too. The truth is graph
JSONL. A completion holds {"objects": [{"id": "cup.1", "bbox": [x0, y0, x1, y1]}], "relationships": [{"subject":
"cup.1", "predicate": "on", "object": "table.2"}]}, alone or within think and answer tags.

examples:
  sgforge reward completions.jsonl truth.jsonl --preset hard
  sgforge reward completions.jsonl truth.jsonl --preset f1 --boxes pixels --set similarity=exact
  sgforge reward completions.jsonl truth.jsonl --preset soft --set mode=upstream --json

exit codes: 0 done, 1 failed, 2 usage or config"""
_TEXTS: Final = ("completion", "response", "text")


@attrs.frozen
class _Line:
    """One answer to be scored: where it stands, whose it is, and what it says."""

    where: str
    image_id: str
    outcome: Outcome


class RewardCommand:
    """Score completions against ground truth with a graph reward."""

    def configure(self, parser: argparse.ArgumentParser) -> None:
        """Add the arguments."""
        parser.epilog = _EPILOG
        parser.add_argument("completions", type=Path, metavar="COMPLETIONS", help="JSON lines with texts of a model")
        parser.add_argument("truth", type=Path, metavar="TRUTH", help="graph JSONL")
        parser.add_argument("--preset", default="hard", metavar="REWARD", help="any registered reward (default: hard)")
        parser.add_argument("--boxes", choices=UNITS, help="what the numbers of boxes are (default: the reward's own)")
        parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="an option of the reward")
        parser.add_argument("--json", action="store_true", help="print JSON, with every completion and its relations")

    def run(self, args: argparse.Namespace) -> int:
        """Print the means, or all of it as JSON."""
        reward, options = _reward(args)
        truth = _truths(args.truth)
        lines = list(_lines(args.completions, truth, options))
        scored = _scored(reward, truth, lines)
        report = _report(args.preset, reward, lines, scored)
        if args.json:
            items = [_item(line, one) for line, one in zip(lines, scored, strict=True)]
            print(json.dumps({**report, "completions": items}, ensure_ascii=False))
        else:
            print("\n".join(_table(report)))
        for line, one in zip(lines, scored, strict=True):
            if isinstance(one, Failure):
                print(f"sgforge: {line.where}: {visible(one.detail or one.reason)}", file=sys.stderr)
        return 0


def _reward(args: argparse.Namespace) -> tuple[Any, Any]:
    """The reward, set up, and its options."""
    component = load_plugins().lookup("reward", args.preset)
    given: dict[str, Any] = {}
    for pair in args.set:
        apply_override(given, pair)
    if args.boxes:
        given["boxes"] = args.boxes
    options = structure_options(component, given, f"reward {args.preset}")
    if component.needs.option("model") or any(map(kind_of_part, attrs.fields(type(options)))):
        raise ConfigError(f"reward {args.preset!r} holds a model or other rewards: use it in a pipeline")
    reward = component.build(options)
    if hasattr(reward, "setup"):
        reward.setup(Resources())
    return reward, options


def _truths(path: Path) -> dict[str, Sample]:
    return {sample.image_id: sample for sample in read_jsonl(path)}


def _lines(path: Path, truth: Mapping[str, Sample], options: Any) -> Iterator[_Line]:
    """The answers of the file, each with its place; one about an image without a truth is a `ConfigError`."""
    for number, text in numbered_lines(path):
        where = f"{path.name}:{number}"
        data = decode_line(text, where)
        image_id = data.get("image_id") if isinstance(data, dict) else None
        if not isinstance(image_id, str):
            raise ConfigError(f'{where}: has no "image_id" as a text')
        if image_id not in truth:
            raise ConfigError(f"{where}: image {image_id!r} is not in the truth; {choices(image_id, list(truth))}")
        yield _Line(where, image_id, _outcome(data, text, truth[image_id], options, where))


def _outcome(data: Mapping[str, Any], line: bytes, truth: Sample, options: Any, where: str) -> Outcome:
    if "regions" in data:
        return Outcome(parse_line(line, where).graph)
    said = next((data[key] for key in _TEXTS if isinstance(data.get(key), str)), None)
    if said is None:
        raise ConfigError(f"{where}: has no text of a model: name it {' or '.join(_TEXTS)}")
    if getattr(options, "mode", "robust") != "robust":
        return Outcome(text=said)
    size = (truth.graph.width, truth.graph.height)
    unit: Unit = getattr(options, "boxes", "thousand")
    most = getattr(options, "processed_pixels", MAX_PIXELS)
    scale = scale_of(unit, size, _processed(data, where), max_pixels=most)
    return read_outcome(said, Frame(width=size[0], height=size[1], scale=scale))


def _processed(data: Mapping[str, Any], where: str) -> tuple[float, float] | None:
    given = data.get("processed")
    if given is None:
        return None
    if not (isinstance(given, list) and len(given) == 2 and all(type(side) is int and side > 0 for side in given)):
        raise ConfigError(f'{where}: "processed" must be [width, height] in pixels, not {given!r}')
    return float(given[0]), float(given[1])


def _scored(reward: Any, truth: Mapping[str, Sample], lines: Sequence[_Line]) -> list[Scored]:
    """The credits in the order of the lines; answers to one image are scored together."""
    groups: dict[str, list[int]] = {}
    for place, line in enumerate(lines):
        groups.setdefault(line.image_id, []).append(place)
    samples = [truth[image_id] for image_id in groups]
    credits = reward.score(samples, [[lines[place].outcome for place in places] for places in groups.values()])
    allowed = range_of(reward)
    found: dict[int, Scored] = {}
    for places, group in zip(groups.values(), credits, strict=True):
        for place, credit in zip(places, group, strict=True):
            found[place] = check_credit(credit, lines[place].outcome, allowed)
    return [found[place] for place in range(len(lines))]


def _report(name: str, reward: Any, lines: Sequence[_Line], scored: Sequence[Scored]) -> dict[str, Any]:
    credits = [one for one in scored if isinstance(one, Credit)]
    parts = {
        key: sum(one.parts[key] for one in credits) / len(credits) for key in (credits[0].parts if credits else ())
    }
    faults = Counter(fault for line in lines for fault in line.outcome.faults)
    unread = sum("unreadable" in line.outcome.faults for line in lines)
    report = {
        "reward": name,
        "range": list(range_of(reward)),
        "images": len({line.image_id for line in lines}),
        "answers": len(lines),
        "failed": len(scored) - len(credits),
        "mean": sum(one.total for one in credits) / len(credits) if credits else None,
        "parts": parts,
        "unreadable": unread,
        "faults": dict(faults.most_common()),
    }
    return report


def _item(line: _Line, one: Scored) -> dict[str, Any]:
    item: dict[str, Any] = {"where": line.where, "image_id": line.image_id}
    if isinstance(one, Failure):
        return {**item, "failed": one.reason, "detail": one.detail}
    item |= {"total": one.total, "parts": dict(one.parts), "faults": list(line.outcome.faults)}
    if one.relations is not None and line.outcome.graph is not None:
        rows = line.outcome.graph.all
        item["relations"] = [
            [rows.regions[row.subject].label, row.predicate, rows.regions[row.object].label, credit]
            for row, credit in zip(rows.relations, one.relations, strict=True)
        ]
    return item


def _table(report: Mapping[str, Any]) -> Iterator[str]:
    low, high = report["range"]
    about = f"{counted(report['answers'], 'answer')} about {counted(report['images'], 'image')}"
    if report["mean"] is None:
        yield f"{about}; none could be scored"
        return
    yield f"{about}: {report['reward']} {report['mean']:.4f} of {low:g} to {high:g}"
    for name, value in report["parts"].items():
        yield f"  {name:<20} {value:8.4f}"
    for name, count in report["faults"].items():
        yield f"  {count:>6}x {visible(name)}"
