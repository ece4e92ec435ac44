"""Write the table of models into ``docs/models.md``, from the registry.

Run it as ``python docs/write_models.py`` after changing the registry; a test holds the page
against it.
"""

from pathlib import Path

from sonograd.zoo import ModelEntry
from sonograd.zoo.registry import CLASSICAL, published_entries, shipped_entries

PAGE = Path(__file__).with_name("models.md")
BEGIN, END = "<!-- table begins -->", "<!-- table ends -->"


def row(name: str, entry: ModelEntry) -> str:
    score = f"{entry.score.value:.2f} dB {entry.score.metric}" if entry.score else ""
    linked = f"[`{name}`]({entry.page})" if (entry.page or "").startswith("http") else f"`{name}`"
    terms = entry.license or "none given"
    if entry.commercial is False:
        terms += ", not commercial"
    cells = (
        linked,
        entry.family,
        ", ".join(entry.stems),
        f"{entry.parameters:g}" if entry.parameters else "",
        f"{entry.gflop_per_second:g}" if entry.gflop_per_second else "",
        score,
        terms,
    )
    return f"| {' | '.join(cells)} |"


def table() -> str:
    head = (
        "| name | architecture | stems | weights, M | GFLOP per s | published score | license |\n"
        "|---|---|---|---|---|---|---|"
    )
    entries = {**shipped_entries(), **CLASSICAL, **published_entries()}
    return "\n".join([head, *(row(name, entry) for name, entry in sorted(entries.items()))])


def main() -> None:
    text = PAGE.read_text(encoding="utf-8")
    before, rest = text.split(BEGIN)
    after = rest.split(END)[1]
    PAGE.write_text(f"{before}{BEGIN}\n{table()}\n{END}{after}", encoding="utf-8")


if __name__ == "__main__":
    main()
