"""Write the index of names, ``docs/api.md``, from what the package exports.

Run it as ``python docs/write_api.py`` after adding a public name.
"""

import importlib
import pkgutil
from pathlib import Path

import sonograd

PAGE = Path(__file__).with_name("api.md")
HEAD = """# Index of names

Everything public, by subpackage. A test holds this list against the code.
"""


def section(title: str, line: str, names: list[str]) -> str:
    listed = "\n".join(f"   {name}" for name in names)
    return f"""
## {title}

{line}

```{{eval-rst}}
.. currentmodule:: {title}

.. autosummary::
   :toctree: generated
   :nosignatures:

{listed}
```
"""


def main() -> None:
    top = sorted(set(sonograd.__all__) - {"__version__"})
    parts = [HEAD, section("sonograd", "The top level.", top)]
    subpackages = [m.name for m in pkgutil.iter_modules(sonograd.__path__) if m.ispkg]
    for name in ["errors", *sorted(set(subpackages) - {"cli"})]:
        module = importlib.import_module(f"sonograd.{name}")
        line = (module.__doc__ or "").strip().splitlines()[0]
        names = sorted(module.__all__, key=lambda public: (public.lower(), public))
        parts.append(section(f"sonograd.{name}", line, names))
    PAGE.write_text("".join(parts), encoding="utf-8")


if __name__ == "__main__":
    main()
