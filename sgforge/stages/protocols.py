"""The methods that a component of each kind implements.

What holds for all of them: a component is built as `Target(options)`, or `Target()` where it registered no options.
`setup(resources)`, if it has one, is called once before the first work, where that work will be done: weights are
loaded there. `close()`, if it has one, is called after the last. A static method `notes(counts) -> Sequence[str]`, if
it has one, remarks on the counted faults of a whole step.

A method that takes samples and answers with edits comes in two forms, told apart by its `async`. A sync one gets a
batch (at most the step's `batch_size` samples, 32 without it) on a worker thread with an instance of its own, and
answers with as many in the same order. An async one gets one sample, not a list, and gives one answer; many calls are
in flight at once on one instance.

Of each sample it gets: `graph`, whose `regions` and `relations` are the kept rows by index and whose `all` has the
rejected ones too; `image`, None without a picture, which decodes when asked: `image.array()` is (H, W, 3) uint8 RGB in
[0, 255], `image.pil()` the same for PIL, `image.size()` (width, height) in pixels. Samples are never changed.

An answer is an `Edit`, or a `Failure(reason, detail)` for an image that cannot be done: the image keeps its last good
graph, and the next run tries it again. An exception fails only the image that raised it: a batch that raises, or that
is answered with another number of answers, is tried again one by one. What is neither Edit nor Failure, an edit with
values out of range and an index that does not exist fail the image with reason "contract", what the role of the verb
does not allow with reason "role". Errors whose class says `stops_run` (a budget reached, a key refused) end the run.
"""

from __future__ import annotations

from collections.abc import Awaitable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from sgforge.graph import Sample
from sgforge.selection import Selection
from sgforge.stages.evaluation import Judged, Ranking, Report
from sgforge.stages.values import Answer, Checkpoint, Failure, Resources, SourceFailure
from sgforge.stages.verbs import Mode

if TYPE_CHECKING:
    from sgforge.dataset import Snapshot
    from sgforge.images import Roots

__all__ = [
    "Captioner",
    "Editor",
    "Evaluator",
    "Exporter",
    "Filter",
    "Judge",
    "Questioner",
    "Refiner",
    "Renderer",
    "Segmenter",
    "Selector",
    "Source",
    "Student",
    "Teacher",
]


@runtime_checkable
class Segmenter(Protocol):
    """Finds regions: its edits add regions, judge regions, and set mask and depth of regions that have none."""

    def segment(self, samples: Sequence[Sample], /) -> Sequence[Answer] | Awaitable[Answer]:
        """Find the regions of each image.

        Each `Region` has a `box`, a `mask`, or both. `box`: (x0, y0, x1, y1) in absolute pixels of the picture as the
        file holds it (no orientation tag applied), x to the right, y down, max-exclusive, x0 < x1 and y0 < y1; kept as
        float32. `mask`: a `Mask` whose frame is the whole picture, `height` by `width`; `sgforge.masks.from_array`
        builds one from a (H, W) bool array, `from_polygons` from outlines. `score` in [0, 1]; `level` a whole number
        of 16 bits; `parent` the index of the region it is a part of, where the indices of added regions go on from
        those of `graph.all.regions`. `label` may be None.

        Errors: a box that is not finite or has no area, a score outside [0, 1] and a mask of another frame than the
        picture are a `GraphError` where the value is built, or fail the image when the edit is applied.
        """
        ...


@runtime_checkable
class Teacher(Protocol):
    """Completes a graph: its edits add relations and set descriptions and attributes of regions."""

    def complete(self, samples: Sequence[Sample], /) -> Sequence[Answer] | Awaitable[Answer]:
        """Complete the relations of each graph.

        Each `Relation` names two different regions by their index in `graph.all.regions`, with a `predicate` (not
        empty), a `category` (spatial, interactional, functional, social, emotional or unknown) and, where there is one,
        a `score`: P(predicate given subject and object) in [0, 1]. Several rows with the same two regions write a
        distribution over predicates. A triplet that is there already makes no new row and is counted.

        Errors: an index outside the graph, or a region related to itself, fails the image.
        """
        ...


@runtime_checkable
class Filter(Protocol):
    """Judges what is there: its edits hold verdicts only."""

    def filter(self, samples: Sequence[Sample], /) -> Sequence[Answer] | Awaitable[Answer]:
        """Judge rows of each graph: `Edit.reject(index, reason, degree)`, or `Edit.keep` with what was measured.

        `index` counts all rows of its kind, rejected ones included. `reason`: a short code from a closed list of the
        filter's own. `degree`: a finite number, such as a measured overlap or P(yes); what it means belongs to the
        reason. Scores are not touched. Rows that the edit does not name keep the verdict that they have.

        Errors: a verdict that would keep a rejected row is left out and counted; an index outside the graph fails the
        image.
        """
        ...


@runtime_checkable
class Editor(Protocol):
    """Corrects a graph: its edits may do anything; only an editor restores a rejected row."""

    def edit(self, samples: Sequence[Sample], /) -> Sequence[Answer] | Awaitable[Answer]:
        """Correct each graph: add rows, judge them, set fields of them; nothing is deleted.

        Rows are as a segmenter's and a teacher's. To change a relation is to reject its row and to add another.

        Errors: an index outside the graph, or a value that its field does not take, fails the image.
        """
        ...


@runtime_checkable
class Renderer(Protocol):
    """Makes the image of a graph: its edits set the image of samples that have none."""

    def render(self, samples: Sequence[Sample], /) -> Sequence[Answer] | Awaitable[Answer]:
        """Make a picture of each graph: `Edit(image=resources.files.put(data, ".png"))`.

        `data` is an encoded file in a format that is decoded here; `put` measures it and keeps it in the dataset by its
        content. The sample's `uri` is None, its graph's width and height are 0, or those of a layout, whose boxes are
        in pixels of the picture to be made: it must then be of that size.

        A renderer that learns also has `train`, as `Student.train`, and is registered with `offers=("train",)`; one
        that can be refined has `policy` too, as `GivesPolicy.policy`, whose rollouts have a picture in their outcome.

        Errors: a second image for a sample fails it with reason "role", a picture of another size than the layout's
        with "contract"; what cannot be decoded or is too large is an `ImageError` at `put`.
        """
        ...


@runtime_checkable
class Captioner(Protocol):
    """Describes images: its edits fill the column `caption` of the image."""

    def caption(self, samples: Sequence[Sample], /) -> Sequence[Answer] | Awaitable[Answer]:
        """Write a caption of each image, or of each graph where there is no image.

        `Edit.value("image", None, "caption", Caption(text, spans))`: `text` is not empty; `Span(start, end, region)`
        says which of its characters name which region of `graph.all.regions`. One that is there is replaced.

        Errors: any other value, or a span behind the end of the text, is a `GraphError` or fails the image.
        """
        ...


@runtime_checkable
class Questioner(Protocol):
    """Asks about images: its edits fill the column `questions` of the image."""

    def question(self, samples: Sequence[Sample], /) -> Sequence[Answer] | Awaitable[Answer]:
        """Ask about each image: `Edit.value("image", None, "questions", [Question(kind, text, answer), ...])`.

        The order counts: `dependencies` of a `Question` are places in this list.

        Errors: any other value, and a question that depends on one that is not there, fails the image.
        """
        ...


@runtime_checkable
class Judge(Protocol):
    """Answers the questions about images: its edits fill the column `answers` of the image."""

    def judge(self, samples: Sequence[Sample], /) -> Sequence[Answer] | Awaitable[Answer]:
        """Answer `sample.values["questions"]` of each image, looking at it.

        `Edit.value("image", None, "answers", {"yes": [...], "total": ...})`: P(yes) of each question in [0, 1], in
        order, null for one that was not asked as one that it depends on was answered with no; `total` in [0, 1] is what
        the judge makes of all of them.

        Errors: a sample without questions is answered with a `Failure`; a value that is no JSON fails the image.
        """
        ...


@runtime_checkable
class Selector(Protocol):
    """Chooses among all images at once: its edits drop images, or fill the column `chosen` of the image."""

    def select(self, samples: Sequence[Sample], /) -> Iterable[Answer]:
        """One answer for each image, in order; the step waits until those before it are published.

        `samples`: all images that the step works on, in the order of their ids, read as they are asked for, one by one
        or by place, so that memory need not hold them; they may be gone through several times.
        `Edit.drop(reason)` takes the image out of all later steps. `Edit.value("image", None, "chosen", value)` keeps
        it: `value` is any JSON object, list or number. `Edit()` keeps it too. What is chosen belongs to the version of
        the dataset that the step makes: images that are kept have the key they had, so that later item steps are not
        done again for them, nor do these see the value; trainings, selectors and people do.
        Images of one group (`sample.values["group"]`) were made from one, by `copies` of a source.

        Errors: what an item component's answer may not be fails its image; another number of answers, and whatever it
        raises, fail the step.
        """
        ...


@runtime_checkable
class Student(Protocol):
    """Learns from a snapshot, then proposes relations for new images."""

    def train(self, snapshot_path: Path, selection: Selection, out_dir: Path, resources: Resources) -> Checkpoint:
        """Learn from a published snapshot, in processes of their own (a given instance: in this one).

        `snapshot_path`: the folder of the snapshot, a zarr group, read with `sgforge.dataset.Snapshot` or plain zarr.
        `selection`: which of its images to learn from (`snapshot.rows(selection)`). `out_dir`: the only folder to write
        to; what is found there is left by a training of the same key that was stopped: go on from it. Stopped by
        SIGTERM (see `asked_to_stop`), with the step's `run.grace_s` (10) seconds to save. `resources.checkpoint`:
        weights to start from, or None.

        Where the step asks for several processes, each calls this with a `resources.worker` and devices of its own, and
        with RANK, WORLD_SIZE, LOCAL_RANK and MASTER_ADDR and MASTER_PORT set for `torch.distributed` as torchrun sets
        them. They share `out_dir`. What a batch holds must not depend on their number, so that a training goes on with
        another one. One that dies ends the others.

        Returns `Checkpoint.of(folder, metrics)`, the folder within `out_dir`, made when all its files are written. Of
        several processes that of rank 0 counts.

        Errors: whatever it raises, a checkpoint outside `out_dir` and one whose files are not those of its sha256 fail
        the step; the dataset stays as it is.
        """
        ...

    def generate(self, samples: Sequence[Sample], /) -> Sequence[Answer] | Awaitable[Answer]:
        """Propose relations for each image, with the weights of `resources.checkpoint`.

        Relations as a teacher's, each with a `score`, at most the option's number for each subject; it may set `label`
        and `score` of regions, and `score` of relations that are there. Errors as a teacher's.
        """
        ...

    def rank(self, samples: Sequence[Sample], /) -> Sequence[Ranking | Failure]:
        """Score every candidate of each image, for evaluation; nothing of it enters a graph.

        In predcls a sample shows boxes, masks and labels, in sgcls boxes and masks, and the ranking's `regions` are
        those, in their order, with its own labels (in predcls the given ones) and scores. In sgdet it shows the image
        alone, or what the pipeline's segmenters found on it, and a student may find regions of its own.
        `pairs`: (P, 2) integers, subject and object as indices into `regions`, no pair twice. `scores`: (P, C) float32
        in [0, 1] over the C texts of `predicates`, P(predicate given the pair); 0 is not proposed.

        Errors: a ranking of another shape, with scores that are not finite or outside [0, 1], with a pair twice, or
        over other regions than those shown fails the image with reason "contract"; it counts as one with nothing found.
        """
        ...


@runtime_checkable
class Refiner(Protocol):
    """Refines a student's checkpoint with rewards."""

    def refine(self, snapshot_path: Path, selection: Selection, out_dir: Path, resources: Resources) -> Checkpoint:
        """As `Student.train`, from the weights of `resources.checkpoint` by `resources.student.policy(resources)`.

        The student is that of the nearest weights, and offers a policy: a plan with one that offers none is refused.
        What the policy saves is the checkpoint, which later steps load by the student.
        """
        ...


@runtime_checkable
class Evaluator(Protocol):
    """Measures a student on held-out images; its `mode` says what the student may see of each: predcls, sgcls, sgdet.

    A report is kept with the step, and taken again as long as images, truth, weights and options are the same.
    """

    mode: Mode

    def evaluate(self, judged: Iterable[Judged], /) -> Report:
        """Measure all held-out images, which come one by one in the order of their ids.

        Of each: `truth`, the graph of kept relations that the source gave (or that the option `truth` names), and
        `prediction`, a `Ranking`, or a `Failure`, which counts as nothing found. Values of the report are finite
        fractions by name; one that is undefined is left out.

        Errors: whatever it raises, and a value that is not finite, fail the step.
        """
        ...


@runtime_checkable
class Source(Protocol):
    """Reads annotated or plain images: one Sample each, its `source` and `image` filled in by the engine.

    An optional method `check(roots, name) -> None` raises a `ConfigError` for what would stop `samples` at once, such
    as a folder that is not there. It is called before any work and by `sgforge check`: it must be cheap, and write
    nothing. An optional method `remarks() -> Sequence[str]` says for the end of a run what `samples` came across.

    An optional method `stamp(roots, name) -> Stamp | None` spares the reading: it tells which files decide, beside the
    pictures, what `samples` gives. While they, the options and the component's revision are as they were when the
    source was last read, and no picture has changed, its images are taken from the snapshot that they stand in and
    `samples` is not called. `stamp` is called before `samples`, names the same roots, and is far cheaper: it lists,
    and opens no picture. None says that it cannot be told this time; without the method a source is always read.
    """

    def samples(self, roots: Roots, name: str, /) -> Iterator[Sample | SourceFailure]:
        """Every item of the source in a fixed order, read as it is asked for, with memory for one item at a time.

        `roots`: the folders by name that uris are resolved in; `name`: of the source in the config. Of each sample:
        `image_id`, not empty and unique; `graph`, with width and height in pixels as annotated, 0x0 where that is not
        known; boxes xyxy in absolute pixels; `uri` "root:relative/path" or None; `split` or None. Files of images are
        not opened here: the engine hashes and measures them.

        Errors: an item that cannot be read is a `SourceFailure(where, reason, detail)` in its place. What stops the
        whole source is a `ConfigError`; any other exception ends the run.
        """
        ...


@runtime_checkable
class Exporter(Protocol):
    """Writes a snapshot in a public format."""

    def export(self, snapshot: Snapshot, output: Path, /) -> Mapping[str, int]:
        """Write the file or folder `output`, images in id order; it appears when it is whole.

        Returns counts by what was written or left out, such as {"images": 3, "regions without a label": 1}.

        Errors: a snapshot that the format cannot hold is a `ConfigError` or `GraphError`; `output` then stays as it
        was.
        """
        ...
