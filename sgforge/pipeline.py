"""Pipelines in Python: `Pipeline(segment("sam"), complete("svg", model="openai/gpt-6.2-sol")).run(source, "runs/x")`.

The verbs build steps: the first argument names a component (or is an instance of one), `name`, `on`, `weights`,
`batch_size`, `workers` and `run` are the engine's, all other keyword arguments are the component's options. A config
file becomes the same values through `Pipeline.from_config`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any, Protocol

import attrs

from sgforge.errors import ConfigError
from sgforge.images import Roots
from sgforge.stages import VERBS, Selection
from sgforge.steps import ExecutorChoice, RunSettings, SourceStep, Step
from sgforge.text.wording import shortened

if TYPE_CHECKING:
    from sgforge.config import PipelineConfig
    from sgforge.engine.forecast.preview import Preview
    from sgforge.engine.launch import Request
    from sgforge.engine.reporting.progress import Progress
    from sgforge.engine.reporting.report import RunReport
    from sgforge.models import GatewaySettings

__all__ = [
    "Pipeline",
    "SourceStep",
    "Step",
    "caption",
    "complete",
    "edit",
    "evaluate",
    "executor",
    "filter",
    "generate",
    "judge",
    "question",
    "refine",
    "render",
    "segment",
    "select",
    "source",
    "train",
]

On = Selection | Mapping[str, Any] | None


def source(component: Any, *, copies: int | None = None, **options: Any) -> SourceStep:
    """Where samples come from: the name of a source component with its options, or an instance of one.

    `copies`: how often each image is taken, as a group, so that a selector can choose among what is made of them.
    """
    return SourceStep(component, options, copies)


def executor(component: Any, **options: Any) -> ExecutorChoice:
    """Where components work: the name of an executor with its options, for `Pipeline.run(executor=...)`."""
    return ExecutorChoice(component, options)


class StepVerb(Protocol):
    """A verb of a pipeline, called with a component (its name, or an instance) to make a step of it.

    `help(sgforge.Step)` tells the arguments.
    """

    def __call__(
        self,
        component: Any,
        *,
        name: str | None = None,
        on: On = None,
        weights: str | None = None,
        batch_size: int | None = None,
        workers: int | None = None,
        run: RunSettings | Mapping[str, Any] | None = None,
        **options: Any,
    ) -> Step: ...


def _verb(verb: str) -> StepVerb:
    """The function of one verb; all take the same arguments, so that they are written once."""

    def step(
        component: Any,
        *,
        name: str | None = None,
        on: On = None,
        weights: str | None = None,
        batch_size: int | None = None,
        workers: int | None = None,
        run: RunSettings | Mapping[str, Any] | None = None,
        **options: Any,
    ) -> Step:
        return Step(
            verb,
            component,
            options,
            name=name,
            on=on,
            weights=weights,
            batch_size=batch_size,
            workers=workers,
            run=run,
        )

    step.__name__ = step.__qualname__ = verb
    step.__doc__ = f"{VERBS[verb].does} `help(sgforge.Step)` tells the arguments."
    return step


# One line a verb, so that editors and type checkers see each; a test holds them to the table.
segment = _verb("segment")
complete = _verb("complete")
filter = _verb("filter")
generate = _verb("generate")
edit = _verb("edit")
render = _verb("render")
caption = _verb("caption")
question = _verb("question")
judge = _verb("judge")
select = _verb("select")
train = _verb("train")
refine = _verb("refine")
evaluate = _verb("evaluate")


def _no_step(given: Any) -> str:
    """What to write instead of something that is no step."""
    told = f"a pipeline is made of steps such as segment('sam'), not of {shortened(given)}"
    if isinstance(given, (list, tuple)):
        return f"{told}: write Pipeline(*steps)"
    if isinstance(given, SourceStep):
        return f"{told}: a source is given to run(source, dataset)"
    return f"{told}: call it with a component's name" if callable(given) else told


def _folder(value: Path | str, what: str) -> Path:
    if not isinstance(value, (str, PurePath)):
        raise ConfigError(f"{what} must be a path, not {shortened(value)}; it reads run(source, dataset)")
    return Path(value).expanduser()


def _source_instead(given: Any) -> str | None:
    """What to write instead of something that is no source, but may well be meant as one."""
    if isinstance(given, PurePath) or (isinstance(given, str) and os.sep in given):
        if str(given).endswith((".jsonl", ".jsonl.gz")):
            return f"write sgforge.source('jsonl', graphs={str(given)!r})"
        return f"write sgforge.source('folder', images={str(given)!r})"
    if isinstance(given, (list, tuple)):
        return "several go by names, {'seed': source(...), 'new': source(...)}"
    return "write sgforge.source(...)" if isinstance(given, Step) else None


def _named(source: Any) -> Mapping[str, SourceStep]:
    from sgforge.config import DEFAULT_SOURCE
    from sgforge.engine.launch import named_sources

    for name, one in (source if isinstance(source, Mapping) else {DEFAULT_SOURCE: source}).items():
        instead = _source_instead(one)
        if instead is not None:
            what = (
                f"there is no source {one!r}"
                if isinstance(one, str)
                else f"{type(one).__name__} is no source, it has no method samples()"
            )
            raise ConfigError(f"source {name!r}: {what}; {instead}")
    return named_sources(source)


class Pipeline:
    """Steps in order, ready to run on any source into any dataset folder."""

    def __init__(
        self, *steps: Step, models: Mapping[str, Any] | None = None, gateway: GatewaySettings | None = None
    ) -> None:
        """`models`: settings per "provider/model" (base_url, max_in_flight, requests_per_minute, prices); `gateway`:
        settings of all models together, such as a budget."""
        for step in steps:
            if not isinstance(step, Step):
                raise ConfigError(_no_step(step))
        if models is not None and not isinstance(models, Mapping):
            raise ConfigError(f'models are settings by name, {{"openai/gpt-4o": {{...}}}}, not {shortened(models)}')
        if gateway is not None and not hasattr(gateway, "prices"):
            raise ConfigError(f"gateway must be a sgforge.models.GatewaySettings, not {shortened(gateway)}")
        self.steps = steps
        self.models = dict(models or {})
        self.gateway = gateway
        self._file: PipelineConfig | None = None

    def __repr__(self) -> str:
        return f"Pipeline({', '.join(f'{step.verb}({step.label})' for step in self.steps)})"

    @classmethod
    def from_config(cls, config: PipelineConfig | Path | str) -> Pipeline:
        """The pipeline of a config, or of the TOML file at a path; its sources, dataset, roots and branch are arguments
        of `run` (`sgforge.config.load_config` reads them).

        What is wrong in the file is told when the pipeline is run, all of it at once.
        """
        from sgforge.config import PipelineConfig, load_config

        if isinstance(config, (str, PurePath)):
            config = load_config(Path(config).expanduser())
        if not isinstance(config, PipelineConfig):
            raise ConfigError(f"a pipeline is made from a config or the path of its file, not from {shortened(config)}")
        read = (step for step in config.steps if step is not None)
        pipeline = cls(*read, models=config.models, gateway=config.gateway)
        pipeline._file = config
        return pipeline

    def request(
        self,
        source: Any,
        dataset: Path | str,
        *,
        roots: Roots | Mapping[str, Path | str] | None = None,
        limit: int | None = None,
        branch: str | None = None,
        seed: int = 0,
        retry_failed: bool = False,
        responses: Path | str | None = None,
        verify_files: bool = False,
        executor: Any = None,
        yes: bool = False,
        reread: bool = False,
    ) -> Request:
        """What `run` with these arguments is asked to do, for `sgforge.engine`."""
        from sgforge.engine.launch import Request
        from sgforge.engine.planning.anew import Consent
        from sgforge.models import GatewaySettings

        gateway = self.gateway or GatewaySettings()
        if retry_failed or reread:
            gateway = attrs.evolve(gateway, retry_failed=retry_failed, reread=reread)
        file = self._file
        return Request(
            steps=self.steps if file is None else file.steps,
            # With faults nothing will run; all of the file is looked at, so that they are told together.
            sources=file.sources if file is not None and file.faults else _named(source),
            dataset=_folder(dataset, "the dataset"),
            roots=roots if isinstance(roots, Roots) else Roots(roots),
            gateway=gateway,
            models=self.models,
            responses=None if responses is None else _folder(responses, "the file of responses"),
            limit=limit,
            branch="main" if branch is None else branch,
            seed=seed,
            keeps_larger=branch is None,
            verify_files=verify_files,
            executor=self._executor(executor),
            consent=Consent(given=yes),
            faults=() if file is None else file.faults,
            places=None if file is None else file.places,
        )

    def _executor(self, given: Any) -> ExecutorChoice:
        """The one that is given, with the config's options if it is the config's; by default that, else the driver."""
        own = None if self._file is None else self._file.executor
        if own is not None and (given is None or given == own.component):
            return own
        return ExecutorChoice.of("local" if given is None else given)

    def preview(
        self,
        source: Any,
        dataset: Path | str,
        images: int = 5,
        *,
        to: Path | str | None = None,
        roots: Roots | Mapping[str, Path | str] | None = None,
        limit: int | None = None,
        seed: int = 0,
        retry_failed: bool = False,
        responses: Path | str | None = None,
    ) -> Preview:
        """What the steps would do with some images: what models are asked and answer, and the edits that come of it.

        The dataset stays as it is. Answers are kept where `run` with the same arguments finds them, so that they are
        not bought again. `to`: a folder that all of it is written into, pictures included; an earlier preview in it is
        replaced. `limit`: at most so many images of each source. The others as for `run`. Steps that work on all images
        at once, and those behind them, are left out.
        """
        from sgforge.engine.forecast.preview import preview
        from sgforge.engine.forecast.preview_folder import check_folder, write_preview
        from sgforge.plugins import load_plugins

        folder = None if to is None else _folder(to, "the folder of a preview")
        if folder is not None:
            check_folder(folder)
        request = self.request(
            source,
            dataset,
            roots=roots,
            limit=limit,
            seed=seed,
            retry_failed=retry_failed,
            responses=responses,
        )
        found = preview(request, load_plugins(), images)
        if folder is not None:
            write_preview(found, folder)
        return found

    def run(
        self,
        source: Any,
        dataset: Path | str,
        *,
        roots: Roots | Mapping[str, Path | str] | None = None,
        limit: int | None = None,
        branch: str | None = None,
        seed: int = 0,
        retry_failed: bool = False,
        responses: Path | str | None = None,
        verify_files: bool = False,
        executor: Any = None,
        yes: bool = False,
        reread: bool = False,
        progress: Progress | bool | None = None,
    ) -> RunReport:
        """Run all steps on `source` (one, or several by name) into the dataset folder; finished work is reused.

        `roots`: folders by the name they have in uris. `limit`: at most so many images of each source. `branch`: what
        to move at the end, by default main; with a limit, a main that has more images stays where it is, as the
        report's `message` says. `seed`: of everything random. `retry_failed`: buy answers again that were refused,
        truncated or invalid, and ask again the questions of an image that got no answer.
        `responses`: the file of paid answers, by default the dataset's own.
        `verify_files`: read all files of the sources, though size and time of change say that they are as they were.
        `executor`: where components work: the name of an executor, one with options (`sgforge.executor("ray", ...)`)
        or an instance; by default that of the config, else "local", this process. `yes`: buy answers anew that a newer
        revision of a component asks for; without it that is a `ConfigError`. `reread`: read stored bodies of answers
        that were of no use once more, without a call. `progress`: True shows a display,
        False none, None one in a notebook and if stderr is a terminal.

        Works inside a running event loop. Ctrl-C lets what is in flight finish; a second one cancels. An error that
        concerns one image is counted in the report; any other is raised.
        """
        from sgforge.engine.launch import run

        if progress is not None and not isinstance(progress, bool) and not hasattr(progress, "close"):
            raise ConfigError(f"progress must be True, False, None or a display, not {shortened(progress)}")
        request = self.request(
            source,
            dataset,
            roots=roots,
            limit=limit,
            branch=branch,
            seed=seed,
            retry_failed=retry_failed,
            responses=responses,
            verify_files=verify_files,
            executor=executor,
            yes=yes,
            reread=reread,
        )
        return run(request, progress)
