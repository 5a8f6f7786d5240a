"""Configs: TOML into typed values; strict, with every fault of a file located and told at once."""

from __future__ import annotations

from sgforge.config.dump import dump_options
from sgforge.config.faults import Fault, Places
from sgforge.config.load import load_config, parse_config
from sgforge.config.options import check_options, structure_options
from sgforge.config.secret import is_secret
from sgforge.config.source_files import source_options
from sgforge.config.values import DEFAULT_SOURCE, PipelineConfig, default_names

__all__ = [
    "DEFAULT_SOURCE",
    "Fault",
    "PipelineConfig",
    "Places",
    "check_options",
    "default_names",
    "dump_options",
    "is_secret",
    "load_config",
    "parse_config",
    "source_options",
    "structure_options",
]
