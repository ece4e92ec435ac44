"""The guide tells the truth: its tables are the declarations, its code runs."""

import re
from pathlib import Path

import pytest

from sonograd.synths import Oscillator, synth_types

GUIDE = Path(__file__).parents[2] / "docs" / "synths.md"
SECTIONS = dict(
    part.split("\n", 1) for part in re.split(r"^## ", GUIDE.read_text("utf-8"), flags=re.M)[1:]
)
OURS = {n: k for n, k in synth_types().items() if k.__module__.startswith("sonograd.synths")}


@pytest.mark.parametrize("name", OURS)
def test_tables_are_the_declarations(name):
    synth = OURS[name](48_000, **({"shape": "square"} if OURS[name] is Oscillator else {}))
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in SECTIONS[name].splitlines()
        if line.startswith("| `")
    ]
    assert [row[0].strip("`") for row in rows] == [param.name for param in synth.params]
    for row, param in zip(rows, synth.params, strict=True):
        low, high = re.findall(r"[\d.]+", row[2])
        assert (float(low), float(high)) == (param.low, param.high)
        assert (row[1], "log" in row[2], row[4] == "yes") == (
            param.unit,
            param.scale == "log",
            param.moves,
        )
        if param.name not in synth.widths:
            assert float(row[3]) == param.default


def test_code_runs():
    blocks = re.findall(r"```python\n(.*?)```", GUIDE.read_text("utf-8"), flags=re.S)
    assert len(blocks) >= 2
    for block in blocks:
        values: dict = {}
        exec(block, values)
        assert values["y"].isfinite().all()
    assert values["y"].shape[0] == 1


def test_the_options_named_exist():
    for name, kind in OURS.items():
        call = re.search(rf"`{name}\(sample_rate(?:, )?(.*?)\)`", SECTIONS[name])
        assert call, name
        words = re.findall(r"(\w+)=([^,]+)", call[1])
        kind(48_000, **{option: eval(value) for option, value in words})
