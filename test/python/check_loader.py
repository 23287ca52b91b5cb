"""Check notebooks/kvlens_run.py: `python check_loader.py SAMPLE SAMPLE_RAW EVERY_HOOK EVERY_HOOK_RAW --capture CAPTURE`.

Values are compared with dumps that were written without Arrow (see check_arrow.py); every error has to be one line that names the file
and is of the loader's own type.
"""

import argparse
import json
import os
import shutil
import sys
import tempfile

import numpy as np
import polars as pl
import pyarrow as pa

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "notebooks"))

import kvlens_run
from checks import Checks
from kvlens_run import MissingActivation, MissingFile, RunError, cache, load

BITS = {2: np.uint16, 4: np.uint32, 8: np.uint64}
STORED = {"f16": np.float16, "bf16": np.float32, "f32": np.float32, "f64": np.float64}
MOST_ROWS = 100  # of a kind, spread over its file


def bits(values):
    return np.ascontiguousarray(values).view(BITS[values.dtype.itemsize])


def same_numbers(a, b):
    """Equal bits; any NaN equals any NaN."""
    return a.shape == b.shape and a.dtype == b.dtype and bool(np.all((bits(a) == bits(b)) | (np.isnan(a) & np.isnan(b))))


def in_map_of(path, array):
    """The array's memory lies in this file's mapping."""
    address, path = array.__array_interface__["data"][0], os.path.realpath(path)
    with open("/proc/self/maps", encoding="utf-8") as file:
        for line in file:
            fields = line.split(maxsplit=5)
            if len(fields) == 6 and fields[5].rstrip("\n") == path:
                low, high = (int(end, 16) for end in fields[0].split("-"))
                if low <= address and address + array.nbytes <= high:
                    return True
    return False


def check_tables(checks, folder):
    run = load(folder)
    name = os.path.basename(folder)
    for table in run.tables:
        lazy = getattr(run, table)
        checks.check(f"{name}: {table} is a lazy frame", isinstance(lazy, pl.LazyFrame))
        with pa.OSFile(os.path.join(folder, f"{table}.arrow")) as source:
            expected = pl.from_arrow(pa.ipc.open_file(source).read_all())
        found = lazy.collect()
        checks.check(f"{name}: {table} has the rows and columns of the file", found.shape == expected.shape and found.columns == expected.columns, f"{found.shape}, {expected.shape}")
        text = [column for column, kind in expected.schema.items() if kind == pl.Categorical]
        checks.check(f"{name}: {table} has the values of the file", found.with_columns(pl.col(text).cast(str)).equals(expected.with_columns(pl.col(text).cast(str))))
    for part in ("manifest", "controls"):
        with open(os.path.join(folder, f"{part}.json"), encoding="utf-8") as file:
            checks.check(f"{name}: {part} is the parsed file", getattr(run, part) == json.load(file))
    checks.check(f"{name}: tables and JSON files are completed by name", {"manifest", "steps" if "steps" in run.tables else "prompts"} <= set(dir(run)))


def check_values(checks, folder, raw):
    """Every kind: shape, axes, type, address, and the bits of the dump."""
    run = load(folder)
    with open(os.path.join(raw, "index.json"), encoding="utf-8") as file:
        index = json.load(file)
    checks.check(f"{os.path.basename(folder)}: its kinds are those of the dump", run.kinds == sorted(index), str(run.kinds))
    for kind in run.kinds:
        path = os.path.join(folder, "activations", f"{kind}.arrow")
        with pa.OSFile(path) as source:
            reader = pa.ipc.open_file(source)
            metadata, batches = reader.schema.metadata, reader.num_record_batches
        shape, axes, dtype = json.loads(metadata[b"shape"]), json.loads(metadata[b"axes"]), metadata[b"dtype"].decode()
        rows = index[kind]["rows"]
        source = np.dtype("<f4" if index[kind]["type"] == "f32" else "<f8")
        dump = np.fromfile(os.path.join(raw, f"{kind}.bin"), dtype=np.uint8)
        newest = {}
        for row in rows:
            key = (row["condition"], row["prompt"], row["arm"], row["step"], row["hook"])
            if key not in newest or newest[key]["position"] < row["position"]:
                newest[key] = row
        newest = list(newest.values())
        wrong = {"shape": 0, "bits": 0, "view": 0, "names": 0}
        chosen = newest[:: max(1, len(newest) // MOST_ROWS)] + newest[-1:]
        for row in chosen:
            at = cache(run, row["arm"], row["step"], row["prompt"], row["condition"])
            value = at[row["hook"]]
            block = row["hook"].startswith("blocks.")
            names = [row["hook"].replace("hook_", "", 1), *([(kind, row["layer"])] if block else [kind])]
            bytes_ = dump[row["offset"] : row["offset"] + row["length"] * source.itemsize]
            with np.errstate(over="ignore"):
                expected = bytes_.view(source).astype(STORED[dtype])
            sizes = [size if size is not None else -1 for size in shape]
            wrong["shape"] += value.shape != expected.reshape(sizes).shape or at.axes(names[-1] if not block else row["hook"]) != tuple(axes)
            wrong["bits"] += not same_numbers(value.ravel(), expected)
            wrong["view"] += not in_map_of(path, value) or value.flags.writeable
            wrong["names"] += any(not np.shares_memory(at[name], value) for name in names)
        claim = f"{os.path.basename(folder)}: {kind} ({dtype}, {batches} batches, {len(chosen)} rows)"
        checks.check(f"{claim} has the shape and axes of its metadata", not wrong["shape"], str(wrong))
        checks.check(f"{claim} has the bits of the dump", not wrong["bits"], str(wrong))
        checks.check(f"{claim} is a read-only view of the mapped file", not wrong["view"], str(wrong))
        checks.check(f"{claim} has the same value under each of its names", not wrong["names"], str(wrong))
    first = chosen[0]
    at = cache(run, first["arm"], first["step"], first["prompt"], first["condition"])
    where = (first["arm"], first["step"], first["prompt"], first["condition"])
    hooks = {r["hook"] for kind in index.values() for r in kind["rows"] if (r["arm"], r["step"], r["prompt"], r["condition"]) == where}
    checks.check(f"{os.path.basename(folder)}: a step's cache lists its hooks", set(at) == hooks and len(at) == len(hooks), f"{len(at)}, {len(hooks)}")
    checks.check(f"{os.path.basename(folder)}: `in` says whether a hook is there", first["hook"] in at and "blocks.99.hook_resid_post" not in at)


def check_batches(checks, sample):
    with pa.OSFile(os.path.join(sample, "activations", "resid_post.arrow")) as source:
        reader = pa.ipc.open_file(source)
        checks.check("sample: resid_post has several record batches", reader.num_record_batches > 1, str(reader.num_record_batches))
    run = load(sample)
    positions = cache(run, "cached", 0).rows("resid_post", 0)
    checks.check("sample: an id and a place name the same prompt", np.shares_memory(cache(run, "cached", 3, "arith-0000")["resid_post", 1], cache(run, "cached", 3)["resid_post", 1]))
    checks.check("sample: the last prompt is at place −1", cache(run, "cached", 3, -1, -1).where == {"prompt": "3f9a", "condition": "t0.7-p0.9", "arm": "cached", "step": 3})
    checks.check("sample: a row is at its position", list(positions) == [2], str(list(positions)))
    checks.check("sample: heads come by sublayer", cache(run, "cached", 0)["rot_k", 0, "attn"].shape == (2, 16))
    checks.check("sample: heads come without a sublayer", cache(run, "cached", 0)["rot_k", 0].shape == (2, 16))
    lazy = run.activations("attn.rot_k")
    checks.check("sample: a file of activations is a lazy frame too", isinstance(lazy, pl.LazyFrame) and lazy.select(pl.len()).collect().item() == 3600)


def check_names(checks, every):
    """TransformerLens's short names in a run with every hook."""
    at = cache(every, "cached", 1)
    for short, full in {
        ("q", 1): "blocks.1.attn.hook_q",
        ("pattern", 1): "blocks.1.attn.hook_pattern",
        ("hook_pattern", 1): "blocks.1.attn.hook_pattern",
        ("normalized", 0, "ln2"): "blocks.0.ln2.hook_normalized",
        ("post", 2, "mlp"): "blocks.2.mlp.hook_post",
        ("resid_mid", np.int64(2)): "blocks.2.hook_resid_mid",
        "embed": "hook_embed",
        "ln_final.normalized": "ln_final.hook_normalized",
        "unembed.out": "unembed.hook_out",
    }.items():
        checks.check(f"names: {short} is {full}", np.shares_memory(at[short], at[full]))
    try:
        found = f"no error but {at['normalized', 0]!r}"
    except MissingActivation as error:
        found = str(error)
    checks.check("names: one that means several hooks is refused with all of them", "ln1.normalized, ln2.normalized, ln_final.normalized" in found, found)


def check_capture(checks, capture):
    """Step 0 of an uncached capture has every position."""
    run = load(capture)
    prompt = run.prompts.collect()["tokens"][0].to_list()
    rows = cache(run, "uncached", 0).rows("logits")
    checks.check("capture: step 0 has every position of the prompt", list(rows) == list(range(len(prompt))), str(list(rows)))
    checks.check("capture: the value of a step is that of its newest position", np.shares_memory(cache(run, "uncached", 0)["logits"], rows[len(prompt) - 1]))


def write_json(folder, name, change):
    path = os.path.join(folder, name)
    with open(path, encoding="utf-8") as file:
        content = json.load(file)
    change(content)
    with open(path, "w", encoding="utf-8") as file:
        json.dump(content, file)


def cut(folder, name, share):
    path = os.path.join(folder, name)
    os.truncate(path, int(os.path.getsize(path) * share))


def rewrite(folder, name, change):
    """The file with other columns or metadata."""
    path = os.path.join(folder, name)
    with pa.OSFile(path) as source:
        table = pa.ipc.open_file(source).read_all()
    table = change(table)
    with pa.OSFile(path, "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)


def with_metadata(**changes):
    def change(table):
        given = {name.encode(): value.encode() for name, value in changes.items()}
        return table.replace_schema_metadata({**table.schema.metadata, **given})

    return change


def overwrite(folder, name):
    """Bytes in the middle that no reader can make sense of, under an intact footer."""
    path = os.path.join(folder, name)
    with open(path, "r+b") as file:
        with pa.OSFile(path) as source:
            schema_end = pa.ipc.open_file(source).schema.serialize().size
        file.seek(schema_end + 8)
        file.write(b"\xff" * 4096)


POST = "activations/resid_post.arrow"
PATTERN = "activations/attn.pattern.arrow"
nothing = lambda folder: None
value = lambda key, **at: lambda folder: cache(folder, **{"arm": "cached", "step": 0, **at})[key]
# Claim → (what is done to the copy, what is asked, type of the error, what its line has to say).
ERRORS = {
    "a folder that is not there": (lambda folder: shutil.rmtree(folder), load, RunError, "manifest.json"),
    "a folder without a manifest": (lambda folder: os.remove(f"{folder}/manifest.json"), load, RunError, "manifest.json"),
    "a run that is not finished": (lambda folder: os.rename(f"{folder}/manifest.json", f"{folder}/journal.jsonl"), load, RunError, "--resume"),
    "a manifest that is no JSON": (lambda folder: cut(folder, "manifest.json", 0.5), load, RunError, "manifest.json"),
    "another schemaVersion": (lambda folder: write_json(folder, "manifest.json", lambda m: m.update(schemaVersion=99)), load, RunError, "99"),
    "a table that is not there": (nothing, lambda folder: load(folder).patches, MissingFile, "kvlens patch"),
    "verdicts of a run that is no study": (nothing, lambda folder: load(folder).verdicts, MissingFile, "kvlens study"),
    "a name with a separator": (nothing, lambda folder: load(folder).table("../copy/steps"), MissingFile, "steps"),
    "a table cut short": (lambda folder: cut(folder, "layers.arrow", 0.7), lambda folder: load(folder).layers, RunError, "layers.arrow"),
    "an empty table": (lambda folder: cut(folder, "steps.arrow", 0), lambda folder: load(folder).steps, RunError, "steps.arrow"),
    "a table that is something else": (lambda folder: shutil.copy(f"{folder}/manifest.json", f"{folder}/steps.arrow"), lambda folder: load(folder).steps, RunError, "steps.arrow"),
    "activations cut short": (lambda folder: cut(folder, POST, 0.9), value(("resid_post", 0)), RunError, POST),
    "activations damaged inside": (lambda folder: overwrite(folder, POST), value(("resid_post", 0)), RunError, POST),
    "activations without metadata": (lambda folder: rewrite(folder, POST, lambda t: t.replace_schema_metadata(None)), value(("resid_post", 0)), RunError, POST),
    "a shape that is not the values'": (lambda folder: rewrite(folder, POST, with_metadata(shape="[767]")), value(("resid_post", 0)), RunError, "767"),
    "axes that are not the shape's": (lambda folder: rewrite(folder, POST, with_metadata(axes="[]")), value(("resid_post", 0)), RunError, POST),
    "a shape with two open sizes": (lambda folder: rewrite(folder, PATTERN, with_metadata(shape="[null,null]")), value(("pattern", 0)), RunError, PATTERN),
    "a type nobody knows": (lambda folder: rewrite(folder, POST, with_metadata(dtype="f8")), value(("resid_post", 0)), RunError, POST),
    "a type that is not the values'": (lambda folder: rewrite(folder, POST, with_metadata(dtype="f32")), value(("resid_post", 0)), RunError, "float"),
    "activations without a column": (lambda folder: rewrite(folder, POST, lambda t: t.drop_columns(["position"])), value(("resid_post", 0)), RunError, "position"),
    "a kind that was not saved": (nothing, value(("mlp.post", 0)), MissingActivation, "mlp.post"),
    "a kind with separators": (nothing, value(("../../copy/activations/resid_post", 0)), MissingActivation, "resid_post"),
    "an absolute path as a kind": (nothing, lambda folder: load(folder).activations(f"{folder}/activations/resid_post"), MissingActivation, "kind"),
    "a kind with a null character": (nothing, value(("resid_post\0", 0)), MissingActivation, "resid_post"),
    "a kind with a line break": (nothing, value(("resid\npost", 0)), MissingActivation, "resid"),
    "a layer that is not there": (nothing, value(("resid_post", 99)), MissingActivation, "layer 99"),
    "no layer where there are several": (nothing, value("resid_post"), MissingActivation, "expected a layer"),
    "a key of another kind": (nothing, value(3), MissingActivation, "found 3"),
    "a layer as text": (nothing, value(("resid_post", "3")), MissingActivation, "'3'"),
    "a step that is not there": (nothing, value(("resid_post", 0), step=99), MissingActivation, "0 … 24"),
    "an arm nobody has": (nothing, value(("resid_post", 0), arm="chached"), RunError, "chached"),
    "a prompt that is not there": (nothing, value(("resid_post", 0), prompt="nobody"), RunError, "nobody"),
    "a place that is not there": (nothing, value(("resid_post", 0), prompt=3), RunError, "prompts.arrow"),
    "a condition that is not there": (nothing, value(("resid_post", 0), condition="hot"), RunError, "conditions.arrow"),
}  # fmt: skip


def check_errors(checks, sample):
    with tempfile.TemporaryDirectory() as work:
        for claim, (damage, ask, kind, says) in ERRORS.items():
            folder = os.path.join(work, "copy")
            shutil.rmtree(folder, ignore_errors=True)
            shutil.copytree(sample, folder, ignore=shutil.ignore_patterns("mlp.post.arrow", "mlp_out.arrow"))
            damage(folder)
            try:
                found = f"no error but {ask(folder)!r}"
                holds = False
            except Exception as error:  # whatever is raised is what is judged
                found = f"{type(error).__name__}: {error}"
                holds = type(error) is kind and "\n" not in str(error) and says in str(error) and folder in str(error)
            checks.check(f"errors: {claim} is a {kind.__name__} that says so in one line", holds, found[:300])
        folder = os.path.join(work, "lazy")
        shutil.copytree(sample, folder)
        cut(folder, "layers.arrow", 0.5)
        checks.attempt("errors: a damaged table is nobody's business who asks for another", lambda: load(folder).steps.collect())
        checks.check("errors: hasattr says whether a table is there", hasattr(load(sample), "steps") and not hasattr(load(sample), "patches"))
        try:
            found = f"no error but {load(os.path.join(work, 'two' + chr(10) + 'lines'))!r}"
        except RunError as error:
            found = str(error)
        checks.check("errors: a folder's name with a line break is still one line", "no manifest.json" in found and "\n" not in found, found)
        strange = os.path.join(work, "100 % [a]*?")
        shutil.copytree(sample, strange)
        checks.attempt("a folder may have any name", lambda: (load(strange).steps.collect(), cache(strange, "cached", 0)["resid_post", 0]))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folders", nargs=4, metavar=("SAMPLE", "SAMPLE_RAW", "EVERY_HOOK", "EVERY_HOOK_RAW"))
    parser.add_argument("--capture", required=True)
    options = parser.parse_args()
    checks = Checks()
    pairs = list(zip(options.folders[::2], options.folders[1::2]))
    for run, raw in pairs:
        check_tables(checks, run)
        check_values(checks, run, raw)
    check_batches(checks, pairs[0][0])
    check_capture(checks, options.capture)
    check_names(checks, pairs[1][0])
    check_errors(checks, pairs[0][0])
    lines = open(kvlens_run.__file__, encoding="utf-8").read().splitlines()
    needed = {line.split()[1].split(".")[0] for line in lines if line.startswith(("import ", "from "))}
    checks.check("the loader needs pyarrow, polars and numpy only", needed - set(sys.stdlib_module_names) == {"numpy", "polars", "pyarrow"}, str(needed))
    checks.finish()


if __name__ == "__main__":
    main()
