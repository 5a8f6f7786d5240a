"""Texts that would do something where they are shown: formulas in a spreadsheet, keys in an address."""

from __future__ import annotations

import csv
import io

import pytest

from sgforge.errors import ConfigError
from sgforge.models import ModelSettings
from sgforge.tables import Table, render


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "=cmd|' /C calc'!A0"])
def test_a_name_is_no_formula_in_csv(text):
    table = Table("names", (text, "value"), ((text, -0.5), ("a=b", -3), ("plain", None)))
    rows = list(csv.reader(io.StringIO(render([table], "csv"))))
    assert rows == [[f"'{text}", "value"], [f"'{text}", "-0.5"], ["a=b", "-3"], ["plain", ""]]


@pytest.mark.parametrize("end", ["?key=SECRET", "#SECRET", "?a=1&key=SECRET"])
def test_what_stands_behind_an_address_is_not_repeated(end):
    with pytest.raises(ConfigError, match="base_url must read http") as caught:
        ModelSettings(base_url=f"http://127.0.0.1:9/v1{end}")
    assert "SECRET" not in str(caught.value)
    assert "http://127.0.0.1:9/v1" in str(caught.value)
