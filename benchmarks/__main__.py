"""Run topics and write their tables into ``docs/benchmarks.md``.

``python -m benchmarks`` runs all topics, ``python -m benchmarks memory`` one of them. The sections
of other topics stay as they are.
"""

import argparse
import importlib
import os
import platform
import re
from pathlib import Path

import torch

PAGE = Path(__file__).parents[1] / "docs" / "benchmarks.md"
TOPICS = sorted(
    path.stem for path in Path(__file__).parent.glob("*.py") if not path.stem.startswith("_")
)


def machine() -> str:
    """Describe what the numbers were measured on."""
    name = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists() and (found := re.search(r"model name\s*:\s*(.*)", info.read_text())):
        name = found[1].strip()
    return (
        f"{name}, {os.cpu_count()} cores; Python {platform.python_version()}, "
        f"torch {torch.__version__}"
    )


def write_section(topic: str, text: str) -> None:
    """Replace the section of ``topic``, or append it."""
    begin, end = f"<!-- begin {topic} -->", f"<!-- end {topic} -->"
    section = f"{begin}\n{text.strip()}\n\nMeasured on: {machine()}.\n{end}"
    page = PAGE.read_text()
    pattern = re.compile(re.escape(begin) + ".*?" + re.escape(end), re.DOTALL)
    if pattern.search(page):
        page = pattern.sub(lambda _: section, page)
    else:
        page = page.rstrip() + "\n\n" + section + "\n"
    PAGE.write_text(page)


def main() -> None:
    parser = argparse.ArgumentParser(prog="benchmarks", description=__doc__)
    parser.add_argument("topics", nargs="*", default=TOPICS, choices=TOPICS, metavar="topic")
    for topic in parser.parse_args().topics:
        print(f"== {topic}", flush=True)
        text = importlib.import_module(f"benchmarks.{topic}").run()
        print(text, flush=True)
        write_section(topic, text)


if __name__ == "__main__":
    main()
