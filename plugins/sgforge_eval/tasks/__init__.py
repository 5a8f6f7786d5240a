"""The papers' other tasks: a loader for each public file format, and a scorer for a predictions file.

Names are loaded when a task is used; `task_named` finds one.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Final

from sgforge.errors import ConfigError
from sgforge.text.did_you_mean import choices

if TYPE_CHECKING:
    from sgforge_eval.tasks.base import Task

__all__ = ["TASKS", "task_named"]

TASKS: Final[Mapping[str, str]] = {
    "refcoco": "sgforge_eval.tasks.refcoco:ReferringTask",
    "regions": "sgforge_eval.tasks.regions:RegionTask",
    "panoptic": "sgforge_eval.tasks.panoptic:PanopticTask",
    "vsr": "sgforge_eval.tasks.vsr:VsrTask",
    "sugarcrepe": "sgforge_eval.tasks.captions:SugarCrepeTask",
    "whatsup": "sgforge_eval.tasks.captions:WhatsUpTask",
    "crpe": "sgforge_eval.tasks.quizzes:CrpeTask",
    "mmbench": "sgforge_eval.tasks.quizzes:MMBenchTask",
    "seed": "sgforge_eval.tasks.quizzes:SeedTask",
    "gqa": "sgforge_eval.tasks.answers:GqaTask",
    "vqa": "sgforge_eval.tasks.answers:VqaTask",
    "aokvqa": "sgforge_eval.tasks.answers:AokvqaTask",
}
"""Tasks by name, as lazy "module:Class"."""


def task_named(name: str, also: Iterable[str] = ()) -> type[Task]:
    """The class of the task `name`; an unknown name is a `ConfigError` with the near one (also of `also`)."""
    home = TASKS.get(name)
    if home is None:
        raise ConfigError(f"no metric {name!r}; {choices(name, [*also, *TASKS])}")
    module, _, attribute = home.partition(":")
    found: type[Task] = getattr(importlib.import_module(module), attribute)
    return found
