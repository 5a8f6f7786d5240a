"""What a component of each stage implements, and the values that pass between components and the engine.

A component is built from its typed options: `Target(options)`. Two methods are optional everywhere: `setup(resources)`
is called once in the worker that will use the component (weights load here, never at import), `close()` at the end.
Item components are sync (a batch of samples in, as many answers out, in order) or async (one sample in, one answer
out, many in flight); the engine tells them apart by `async def`. One bad image answers `Failure`, never an exception
for the whole batch. A static method `notes(counts) -> Sequence[str]` may turn the faults counted in a run into remarks
for its end.
"""

from __future__ import annotations

from sgforge.selection import Selection
from sgforge.stages.evaluation import Judged, Ranking, Report
from sgforge.stages.parts import Part, Use, part, parts, use
from sgforge.stages.pixels import pixels_of
from sgforge.stages.policies import GivesPolicy, Policy, Rollout
from sgforge.stages.protocols import (
    Captioner,
    Editor,
    Evaluator,
    Exporter,
    Filter,
    Judge,
    Questioner,
    Refiner,
    Renderer,
    Segmenter,
    Selector,
    Source,
    Student,
    Teacher,
)
from sgforge.stages.rewards import Credit, Outcome, Reward, RewardSum
from sgforge.stages.roles import check_role
from sgforge.stages.shared import Shared
from sgforge.stages.stopping import asked_to_stop
from sgforge.stages.values import (
    Answer,
    Checkpoint,
    Failure,
    Files,
    Model,
    Needs,
    Reporter,
    Resources,
    SourceFailure,
    Stamp,
    Worker,
)
from sgforge.stages.verbs import KINDS, VERBS, Kind, Mode, Role, Verb, weight_givers

__all__ = [
    "KINDS",
    "VERBS",
    "Answer",
    "Captioner",
    "Checkpoint",
    "Credit",
    "Editor",
    "Evaluator",
    "Exporter",
    "Failure",
    "Files",
    "Filter",
    "GivesPolicy",
    "Judge",
    "Judged",
    "Kind",
    "Mode",
    "Model",
    "Needs",
    "Outcome",
    "Part",
    "Policy",
    "Questioner",
    "Ranking",
    "Refiner",
    "Renderer",
    "Report",
    "Reporter",
    "Resources",
    "Reward",
    "RewardSum",
    "Role",
    "Rollout",
    "Segmenter",
    "Selection",
    "Selector",
    "Shared",
    "Source",
    "SourceFailure",
    "Stamp",
    "Student",
    "Teacher",
    "Use",
    "Verb",
    "Worker",
    "asked_to_stop",
    "check_role",
    "part",
    "parts",
    "pixels_of",
    "use",
    "weight_givers",
]
