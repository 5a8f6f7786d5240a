"""`sgforge show DATASET[@ref] [IMAGE]`: a dataset in a few lines, or one image with its regions and relations."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from typing import Any, Final

from sgforge.cli.terminal import json_text, rows_counted
from sgforge.columns import GraphColumns
from sgforge.dataset import Dataset
from sgforge.dataset.damage import damage_told
from sgforge.dataset.folder import split_ref
from sgforge.dataset.provenance import Call
from sgforge.graph import Caption, NumberArray, Region, Relation, Sample, Values
from sgforge.text.safe_text import visible
from sgforge.text.wording import counted

_EXAMPLES = """\
examples:
  sgforge show runs/first                       what the dataset holds, and its first images
  sgforge show runs/first 000142238             one image: regions, relations, verdicts
  sgforge show runs/first@round-1 000142238     the same image in a tagged version
  sgforge show runs/first --predicate holding   images that have such a relation
  sgforge show runs/first 000142238 --json      as a line of graph JSONL"""

_LONG: Final = 200
_FILTERS = {
    "predicate": "a relation with this predicate",
    "label": "a region with this label",
    "category": "a relation of this category",
    "step": "a row made or judged by this step",
    "model": "a row made or judged by a step with this model",
    "reason": "a row rejected, or the image failed or dropped, for this reason",
}


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the command."""
    parser.epilog = _EXAMPLES
    parser.add_argument("dataset", metavar="DATASET[@ref]", help="a dataset's folder, and a branch, tag or snapshot id")
    parser.add_argument("image", nargs="?", metavar="IMAGE", help="an image id")
    for name, text in _FILTERS.items():
        parser.add_argument(f"--{name}", help=f"only images that have {text}")
    parser.add_argument("--limit", type=int, default=20, metavar="N", help="images listed at most (default 20)")
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace) -> int:
    """Print the dataset or the image."""
    path, ref = split_ref(args.dataset)
    dataset = Dataset.open(path, ref)
    with damage_told(dataset.snapshot):
        if args.image is not None:
            _print_image(dataset, args.image, args.json)
        else:
            _print_dataset(dataset, args)
    return 0


def _print_dataset(dataset: Dataset, args: argparse.Namespace) -> None:
    wanted = {name: getattr(args, name) for name in _FILTERS if getattr(args, name) is not None}
    ids = dataset.filter(**wanted) if wanted else dataset.snapshot.image_ids
    meta = dataset.snapshot.meta
    if args.json:
        found = {"snapshot": meta.snapshot_id, "step": meta.step.name, "counts": meta.counts, "partial": meta.partial}
        print(json_text({**found, "matching": len(ids), "images": ids[: args.limit]}))
        return
    partial = ", unfinished" if meta.partial else ""
    print(f"{visible(str(dataset.path))}: snapshot {meta.snapshot_id[:12]} of step {visible(meta.step.name)}{partial}")
    print(rows_counted(meta.counts))
    if wanted:
        matching = "1 image matches" if len(ids) == 1 else f"{len(ids)} images match"
        print(f"{matching} {', '.join(f'{name}={visible(text)}' for name, text in wanted.items())}")
    for image_id in ids[: args.limit]:
        graph = dataset[image_id].graph
        kept = f"{counted(len(graph.regions), 'region')}, {counted(len(graph.relations), 'relation')} kept"
        notes = _notes(dataset.snapshot.one(dataset.snapshot.row_of(image_id)))
        print("; ".join([f"  {visible(image_id)}  {kept}", *notes]))
    if len(ids) > args.limit:
        print(f"  ... and {len(ids) - args.limit} more (--limit)")


def _print_image(dataset: Dataset, image_id: str, as_json: bool) -> None:
    snapshot = dataset.snapshot
    row = snapshot.row_of(image_id)
    sample = snapshot.sample(row)
    if as_json:
        from sgforge.jsonl import dump_sample

        print(json.dumps(json.loads(dump_sample(sample))))
        return
    notes = _notes(snapshot.one(row))
    print("\n".join([*_image_lines(sample), *notes, *_call_lines(snapshot.provenance.of_image(row))]))


def _notes(columns: GraphColumns) -> Iterator[str]:
    """Why later steps leave out an image, which is the only one in these columns."""
    image, words = columns.image, columns.vocabularies
    if image.failed_step[0] >= 0:
        yield f"failed at {visible(words.step[image.failed_step[0]])}: {visible(words.reason[image.failed_reason[0]])}"
    if image.dropped[0] >= 0:
        yield f"dropped: {visible(words.reason[image.dropped[0]])}"


def _image_lines(sample: Sample) -> Iterator[str]:
    graph = sample.graph
    where = f", {visible(sample.uri)}" if sample.uri else ""
    split = f", split {visible(sample.split)}" if sample.split else ""
    yield f"{visible(sample.image_id)}: {graph.width}x{graph.height}{where}{split}"
    for name, text in graph.attributes.items():
        yield f"  {visible(name)}: {visible(text)}"
    for name, value in sample.values.items():
        yield f"  {visible(name)}: {_value_text(value)}"
    rows = graph.all
    yield f"regions ({len(rows.regions)})"
    for index, region in enumerate(rows.regions):
        yield f"  {index:>4} {_region_text(region)}{_verdict(region)}"
        yield from _row_values(sample.region_values, index)
    yield f"relations ({len(rows.relations)})"
    for index, relation in enumerate(rows.relations):
        yield f"  {index:>4} {_relation_text(relation, rows.regions)}{_verdict(relation)}"
        yield from _row_values(sample.relation_values, index)


def _row_values(values: Values, index: int) -> Iterator[str]:
    for name, rows in values.items():
        if index in rows:
            yield f"         {visible(name)}: {_value_text(rows[index])}"


def _value_text(value: Any) -> str:
    """A value in a line: numbers by their type and shape, others as they read."""
    if isinstance(value, NumberArray):
        return str(value.array().item()) if not value.shape else f"{value.kind} {'x'.join(map(str, value.shape))}"
    text = value.text if isinstance(value, Caption) else str(value)
    return visible(text if len(text) <= _LONG else f"{text[: _LONG - 3]}...")


def _region_text(region: Region) -> str:
    parts = [visible(region.label) if region.label is not None else "(no label)"]
    if region.box is not None:
        parts.append(f"[{', '.join(f'{value:g}' for value in region.box)}]")
    if region.mask is not None:
        parts.append("mask")
    if region.score is not None:
        parts.append(f"{region.score:.3g}")
    parts += [visible(text) for text in region.attributes]
    parts += [f'"{visible(text)}"' for text in region.descriptions]
    return " ".join(parts)


def _relation_text(relation: Relation, regions: tuple[Region, ...]) -> str:
    subject, other = (
        f"{visible(regions[index].label or 'region')}({index})" for index in (relation.subject, relation.object)
    )
    score = f" {relation.score:.3g}" if relation.score is not None else ""
    category = f" [{relation.category}]" if relation.category != "unknown" else ""
    return f"{subject} {visible(relation.predicate)} {other}{category}{score}"


def _verdict(row: Region | Relation) -> str:
    made = f" by {visible(row.made_by)}" if row.made_by else ""
    if row.kept and row.judged_by is None:
        return f"  ({made.strip()})" if made else ""
    degree = f" {row.degree:.3g}" if row.degree is not None else ""
    reason = f" {visible(row.reason)}" if row.reason else ""
    judge = f" by {visible(row.judged_by)}" if row.judged_by else ""
    return (
        f"  ({made.strip()}{'; ' if made else ''}{row.status}{judge}{':' if reason or degree else ''}{reason}{degree})"
    )


def _call_lines(calls: list[Call]) -> Iterator[str]:
    if calls:
        yield f"model calls ({len(calls)})"
    for call in calls:
        yield f"  {visible(call.step)}: {visible(call.call_id)} in run {visible(call.run_id) or 'unknown'}"
