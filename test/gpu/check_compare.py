"""compare.py on runs made up here, and what it and witness.py say of bad input: `python check_compare.py`.

Runs are told apart by what their cached arm does; a file that is no run's, or a package that is missing, is one line and exit code 3.
Needs numpy and pyarrow alone. Prints `N passed, N failed`.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
GPU = os.path.join(ROOT, "bench", "gpu")
sys.path[:0] = [os.path.join(ROOT, "test", "python"), GPU]
from checks import Checks  # noqa: E402
from tables import COLUMNS, write_run  # noqa: E402

GATE = {"name": "repeat", "class": "harness", "passed": True, "status": "passed", "measured": "", "required": "", "scope": ""}
ZERO = {"text": "", "int32": 0, "float64": 0.0, "bool": False, "int32 list": [1]}


def row(table, **values):
    """A row with a null, or a zero, in every column that is not given."""
    empty = {name: None if kind.endswith("?") else ZERO[kind] for name, kind in COLUMNS[table].items()}
    return {**empty, **values}


def make(folder, kernels, l2, gates=(GATE,), **cached_arm):
    """A run of one condition, one prompt and three steps, two of which count."""
    os.makedirs(folder)
    name = f"tiny/fp16/{kernels}/greedy"
    condition = {"condition": name, "model": "tiny", "precision": "fp16", "kernels": kernels, "strategy": "greedy"}
    condition = row("conditions", **condition, **{"decode_rows": 1, "coupling": "keyed", "threads": 1, **cached_arm})
    step = {"condition": name, "prompt": "p", "protocol": "teacher-forced", "logits_n_differ": 3}
    steps = [row("steps", **step, step=at, logits_l2_centred=l2, flip=at == 2) for at in range(3)]
    tables = {"conditions": [condition], "prompts": [row("prompts", prompt="p", model="tiny")], "steps": steps}
    write_run(folder, tables, {}, {}, list(gates))
    return folder


def script(name, *arguments, path=None):
    environment = os.environ if path is None else {**os.environ, "PYTHONPATH": path}
    found = subprocess.run([sys.executable, os.path.join(GPU, name), *arguments], capture_output=True, text=True, env=environment, check=False)
    return found.returncode, found.stdout, found.stderr


def refused(checks, claim, found, *parts):
    code, _, error = found
    lines = error.splitlines()
    checks.check(claim, code == 3 and len(lines) == 1 and all(part in lines[0] for part in parts), f"{code}: {error[-300:]}")


def without(work, package):
    """A path on which a package cannot be imported."""
    folder = os.path.join(work, f"without-{package}")
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, f"{package}.py"), "w", encoding="utf-8") as file:
        file.write(f"raise ModuleNotFoundError(\"No module named '{package}'\", name='{package}')\n")
    return folder


def main():
    checks = Checks()
    work = tempfile.mkdtemp()
    at = lambda name: os.path.join(work, name)
    try:
        witness = make(at("witness"), "transformers-cpu", 2.0)
        runs = [
            make(at("plain"), "ort", 4.0),
            make(at("rows"), "ort", 2.0, decode_rows=2),
            make(at("padded"), "ort", 1.0, padding=3),
            make(at("all"), "ort", 8.0, decode_rows=2, padding=3, coupling="independent"),
        ]
        names = ["ort", "ort, 2 rows per step", "ort, padded by 3", "ort, 2 rows per step, padded by 3, independent draws"]

        code, out, error = script("compare.py", witness, *runs, "--json")
        [found] = json.loads(out) if code == 0 else [{"runs": [], "nearest": error}]
        checks.check("runs are named by what their cached arm does", [run["name"] for run in found["runs"]] == names, str(found))
        ratios = [run["ratio"] for run in found["runs"]]
        checks.check("each has its own figures", ratios == [2.0, 1.0, 0.5, 4.0], str(ratios))
        settings = [(run["kernels"], run["decode_rows"], run["padding"], run["coupling"]) for run in found["runs"]]
        expected = [("ort", 1, 0, "keyed"), ("ort", 2, 0, "keyed"), ("ort", 1, 3, "keyed"), ("ort", 2, 3, "independent")]
        checks.check("and says how it was run", settings == expected, str(settings))
        checks.check("the nearest is one of them", found["nearest"] == names[1], str(found["nearest"]))
        code, out, error = script("compare.py", witness, *runs)
        lines = out.splitlines()[1:7]
        starts = [any(line.startswith(f"  {name}  ") for line in lines) for name in names]
        checks.check("the table shows them", code == 0 and all(starts), out + error)
        checks.check("and marks one", [line.endswith("nearest") for line in lines].count(True) == 1, out)
        checks.check("its columns are aligned", len({line.find("/2 ") for line in lines[1:]}) == 1, out)

        for content in ("[]", "3", "null", "{}", '{"gates": []}', '{"gates": [3]}', '{"gates": [{"name": "x"}]}', "{", "[" * 100_000):
            broken = at("broken")
            shutil.copytree(runs[0], broken)
            with open(os.path.join(broken, "controls.json"), "w", encoding="utf-8") as file:
                file.write(content)
            refused(checks, f"controls of {content[:30]}", script("compare.py", witness, broken), "compare.py: ", "controls.json: ")
            shutil.rmtree(broken)
        failed = make(at("failed"), "ort", 1.0, gates=[{**GATE, "passed": False}])
        refused(checks, "a harness gate that failed", script("compare.py", witness, failed), "harness gates failed (repeat)")
        other = make(at("other"), "ort", 1.0)
        shutil.copy(os.path.join(other, "prompts.arrow"), os.path.join(other, "conditions.arrow"))
        refused(checks, "a table of other columns", script("compare.py", witness, other), "conditions.arrow: has no column condition, ")
        with open(os.path.join(other, "conditions.arrow"), "w", encoding="utf-8") as file:
            file.write("no table")
        refused(checks, "a file that is no table", script("compare.py", witness, other), "conditions.arrow: not an Arrow file")
        refused(checks, "a folder that is not there", script("compare.py", witness, at("nothing")), "nothing")

        cpu = ("mini-llama", "--device", "cpu", "--out", at("out"))
        for package in ("torch", "pyarrow", "numpy"):
            found = script("witness.py", *cpu, path=without(work, package))
            refused(checks, f"witness.py without {package}", found, f"witness.py: {package} cannot be imported", "requirements-reference.txt")
        checks.check("and makes no folder", not os.path.exists(at("out")))
        refused(checks, "compare.py without pyarrow", script("compare.py", witness, runs[0], path=without(work, "pyarrow")), "compare.py: pyarrow cannot be imported")
    finally:
        shutil.rmtree(work)
    checks.finish()


if __name__ == "__main__":
    main()
