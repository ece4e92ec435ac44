"""Laws about the package as a whole: what it imports, what it names, what the docs list."""

import ast
import importlib
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import pytest

import sonograd

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "sonograd"
SUBPACKAGES = sorted(
    name
    for _, name, is_package in pkgutil.iter_modules(sonograd.__path__)
    if is_package and name != "cli"
)
HEAVY = ("torch", "lightning", "matplotlib", "av", "soundfile", "numba")


def run_python(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def documented() -> dict[str, list[str]]:
    """Return the names that ``docs/api.md`` lists, by module."""
    names: dict[str, list[str]] = {}
    module = ""
    for line in (ROOT / "docs" / "api.md").read_text().splitlines():
        if found := re.match(r"\.\. currentmodule:: sonograd\.?(\S*)", line):
            module = found[1]
            names[module] = []
        elif found := re.match(r"   (\w+)$", line):
            names[module].append(found[1])
    return names


def test_importing_the_package_loads_nothing_heavy():
    loaded = run_python(
        "import sys, sonograd; sonograd.__version__; print(*[m for m in sys.modules])"
    ).split()
    assert not {module.partition(".")[0] for module in loaded} & set(HEAVY)


def test_import_takes_less_than_0_3_seconds_of_processor_time():
    code = "import resource, sonograd;print(resource.getrusage(resource.RUSAGE_SELF).ru_utime)"
    assert min(float(run_python(code)) for _ in range(3)) < 0.3


@pytest.mark.parametrize("name", ["functional", "frontends", "losses", "metrics"])
def test_the_core_needs_torch_and_numpy_alone(name):
    optional = [
        "soundfile",
        "av",
        "soxr",
        "safetensors",
        "cyclopts",
        "pydantic",
        "pooch",
        "rich",
        "lightning",
        "tensorboardX",
        "matplotlib",
        "numba",
        "scipy",
        "librosa",
    ]
    code = f"import sys; sys.modules.update(dict.fromkeys({optional!r})); import sonograd.{name}"
    run_python(code)


@pytest.mark.parametrize("name", ["errors", *SUBPACKAGES])
def test_public_names_equal_the_docs_index(name):
    module = importlib.import_module(f"sonograd.{name}")
    assert len(module.__all__) == len(set(module.__all__))
    assert sorted(documented()[name]) == sorted(module.__all__)
    assert all(getattr(module, public, None) is not None for public in module.__all__)


def test_the_docs_index_names_no_module_that_does_not_exist():
    assert set(documented()) == {"", "errors", *SUBPACKAGES}
    assert sorted(documented()[""]) == sorted(set(sonograd.__all__) - {"__version__"})


@pytest.mark.parametrize("name", ["errors", *SUBPACKAGES])
def test_every_public_name_has_a_docstring(name):
    module = importlib.import_module(f"sonograd.{name}")
    for public in module.__all__:
        thing = getattr(module, public)
        if callable(thing) and getattr(thing, "__module__", "").startswith("sonograd"):
            assert thing.__doc__, f"{name}.{public} has no docstring"


def test_every_test_file_is_collected():
    for path in (ROOT / "tests").rglob("*.py"):
        tests = [
            node.name
            for node in ast.parse(path.read_text()).body
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
        ]
        assert not tests or path.name.startswith("test_"), f"{path} is never collected"


def test_no_file_outgrows_its_idea():
    long = {
        str(path.relative_to(SOURCE)): count
        for path in SOURCE.rglob("*.py")
        if (count := len(path.read_text().splitlines())) > 450
    }
    assert not long


def test_no_function_is_written_twice():
    seen: dict[str, str] = {}
    for path in sorted(SOURCE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.FunctionDef):
                continue
            statements = node.body[1:] if ast.get_docstring(node) else node.body
            code = "\n".join(ast.unparse(statement) for statement in statements)
            if len(code.splitlines()) < 6:
                continue
            body = ast.dump(ast.Module(statements, []))
            place = f"{path.relative_to(SOURCE)}:{node.name}"
            assert body not in seen, f"{place} repeats {seen[body]}"
            seen[body] = place
