"""Which of kvlens's kernel presets resembles a device: `python bench/gpu/compare.py WITNESS RUN… [--json]`.

WITNESS is a folder of witness.py, every RUN one of kvlens (diverge or a study). For each condition of the witness, the conditions
of the runs with the same model, precision and strategy stand beside it, on the prompts that both have: steps in which a logit
differs, flips per token, texts that differ, mean KL and mean L2 of mean-centred logits. Teacher-forced steps count, step 0 does
not. `×` is a run's mean L2 over the witness's; the nearest to 1 is marked. A run whose cached arm recomputes several rows per step,
is padded, or draws numbers of its own is named with that beside its kernels.
"""

import argparse
import json
import math
import os
import sys

from needs import missing

try:
    import pyarrow.compute as pc
    import pyarrow.ipc as ipc
except ImportError as error:
    missing("compare.py", error)


# The files are small, and threads of a pool that outlive the interpreter end it with an abort now and then.
one_thread = ipc.IpcReadOptions(use_threads=False)


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("witness")
    parser.add_argument("runs", nargs="+", metavar="RUN")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(arguments)
    try:
        witness = read_run(options.witness)
        runs = [condition for folder in options.runs for condition in read_run(folder)]
    except (OSError, ValueError) as error:
        print(f"compare.py: {error}", file=sys.stderr)
        sys.exit(3)
    compared = [beside(condition, runs) for condition in witness]
    if options.json:
        print(json.dumps(compared, indent=2))
    else:
        for item in compared:
            show(item)
    if not any(item["runs"] for item in compared):
        print("compare.py: no run has a model, precision and strategy of the witness, expected at least one", file=sys.stderr)
        sys.exit(3)


CONDITION_COLUMNS = ("condition", "model", "precision", "kernels", "strategy", "seed", "decode_rows", "padding", "coupling")
STEP_COLUMNS = ("condition", "prompt", "protocol", "step", "flip", "logits_n_differ", "kl", "logits_l2_centred")


def read_table(folder, name, columns=None):
    """A table of a run; of `columns` alone, if they are given."""
    path = os.path.join(folder, f"{name}.arrow")
    with open(path, "rb") as file:
        try:
            table = ipc.open_file(file, options=one_thread).read_all()
        except ValueError as error:
            raise ValueError(f"{path}: not an Arrow file ({error})") from None
    lacking = [column for column in columns or () if column not in table.column_names]
    if lacking:
        raise ValueError(f"{path}: has no column {', '.join(lacking)}, expected the tables of a kvlens run")
    return table.select(list(columns)) if columns else table


def read_gates(folder):
    path = os.path.join(folder, "controls.json")
    with open(path, encoding="utf-8") as file:
        try:
            found = json.load(file)
        except (ValueError, RecursionError):
            raise ValueError(f"{path}: not valid JSON, expected the controls of a run") from None
    gates = found.get("gates") if isinstance(found, dict) else None
    fields = {"name": str, "class": str, "passed": bool}
    is_gate = lambda gate: isinstance(gate, dict) and all(isinstance(gate.get(key), kind) for key, kind in fields.items())
    if not isinstance(gates, list) or not gates or not all(is_gate(gate) for gate in gates):
        raise ValueError(f'{path}: found no list "gates" of gates with name, class and passed, expected the controls of a run')
    return gates


def read_run(folder, more=()):
    """The conditions of one run, each with its steps by prompt."""
    failed = [gate["name"] for gate in read_gates(folder) if gate["class"] == "harness" and not gate["passed"]]
    if failed:
        raise ValueError(f"{folder}: harness gates failed ({', '.join(failed)}), so that no number of it counts")
    steps = read_table(folder, "steps", (*STEP_COLUMNS, *more))
    conditions = read_table(folder, "conditions", CONDITION_COLUMNS)
    found = []
    for condition in conditions.to_pylist():
        mine = steps.filter(pc.equal(steps["condition"].cast("string"), condition["condition"]))
        by_prompt = {}
        for row in mine.to_pylist():
            by_prompt.setdefault(row["prompt"], []).append(row)
        found.append({**condition, "steps": by_prompt})
    return found


def figures(steps, prompts):
    """What one condition's rows say on these prompts."""
    rows = [row for prompt in prompts for row in steps[prompt]]
    counted = [row for row in rows if row["protocol"] == "teacher-forced" and row["step"] > 0]
    free = {row["prompt"] for row in rows if row["protocol"] == "free-running" and row["flip"]}
    mean = lambda name: sum(row[name] for row in counted) / len(counted) if counted else None
    flips = sum(bool(row["flip"]) for row in counted)
    return {
        "prompts": len(prompts),
        "steps": len(counted),
        "differing": sum(row["logits_n_differ"] > 0 for row in counted),
        "flips": flips,
        "texts": len(free),
        "kl": mean("kl"),
        "l2": mean("logits_l2_centred"),
        "largest": max((row["logits_l2_centred"] for row in counted), default=None),
    }


def beside(witness, runs):
    """One condition of the witness and the comparable conditions of the runs."""
    same = ("model", "strategy", "seed")
    # In float32 both attention paths round nowhere, so that kvlens has one policy for them.
    precision = "fp32" if witness["precision"].startswith("fp32") else witness["precision"]
    found = []
    for run in runs:
        shared = sorted(set(witness["steps"]) & set(run["steps"]))
        if not shared or run["precision"] != precision or any(run[key] != witness[key] for key in same):
            continue
        ours, theirs = figures(run["steps"], shared), figures(witness["steps"], shared)
        cached_arm = {key: run[key] for key in ("decode_rows", "padding", "coupling")}
        found.append({"name": name_of(run), "kernels": run["kernels"], **cached_arm, **ours, "ratio": ratio(ours["l2"], theirs["l2"]), "witness": theirs})
    finite = [run for run in found if run["ratio"] not in (None, 0)]
    # Equal is nearest; else the smallest factor, up or down.
    nearest = min(finite, key=lambda run: abs(math.log(run["ratio"])), default=None)
    everything = figures(witness["steps"], sorted(witness["steps"]))
    return {
        **{key: witness[key] for key in ("condition", "precision", *same, "kernels")},
        **{"figures": everything, "runs": found, "nearest": nearest and nearest["name"]},
    }


def name_of(run):
    """The kernels, and what makes the cached arm another one: `ort, 2 rows per step, padded by 3`."""
    parts = [run["kernels"]]
    if run["decode_rows"] != 1:
        parts.append(f"{run['decode_rows']} rows per step")
    if run["padding"] != 0:
        parts.append(f"padded by {run['padding']}")
    if run["coupling"] != "keyed":
        parts.append(f"{run['coupling']} draws")
    return ", ".join(parts)


def ratio(ours, theirs):
    """ours / theirs; 1 where both are 0, None where theirs alone is."""
    if ours is None or theirs is None:
        return None
    if theirs == 0:
        return 1.0 if ours == 0 else None
    return ours / theirs


def show(item):
    print(item["condition"])
    width = max(26, *(len(name) for name in (item["kernels"], *(run["name"] for run in item["runs"]))))
    print(f"  {'':{width}} {'prompts':>7} {'steps':>7} {'differ':>7} {'flips/token':>12} {'texts':>6} {'KL':>9} {'L2':>9} {'× L2':>7}")
    line(item["kernels"].ljust(width), item["figures"], "")
    for run in item["runs"]:
        mark = " nearest" if run["name"] == item["nearest"] else ""
        times = "–" if run["ratio"] is None else f"{run['ratio']:.2f}"
        line(run["name"].ljust(width), run, times + mark)
    if not item["runs"]:
        print("  no run to compare it with")
    print()


def line(name, found, times):
    share = lambda part: "–" if found["steps"] == 0 else f"{100 * part / found['steps']:.1f} %"
    number = lambda value: "–" if value is None else f"{value:.1e}"
    per_token = "–" if found["steps"] == 0 else f"{found['flips']}/{found['steps']}"
    cells = [f"{found['prompts']:>7}", f"{found['steps']:>7}", f"{share(found['differing']):>7}", f"{per_token:>12}", f"{found['texts']:>6}"]
    print(f"  {name} {' '.join(cells)} {number(found['kl']):>9} {number(found['l2']):>9} {times:>7}")


if __name__ == "__main__":
    main()
