"""The checks can fail: `python self_test.py --sample RUN RAW --run RUN RAW --graphs DIR --statistics FILE`.

Each corruption is applied to a copy and must make its check report more failures than the untouched copy does.
--statistics FILE: the same for what dump-statistics.mts wrote.
"""

import argparse
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import onnx
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.ipc as ipc

from checks import Checks

HERE = os.path.dirname(os.path.abspath(__file__))


def failures(script, *arguments):
    """Failed checks that a script reports; a crash without a count is no report."""
    command = [sys.executable, os.path.join(HERE, script), *arguments, "--quiet"]
    result = subprocess.run(command, capture_output=True, text=True)
    found = re.search(r"^(\d+) passed, (\d+) failed$", result.stdout, re.MULTILINE)
    if not found or (result.returncode != 0) != (int(found[2]) > 0):
        raise RuntimeError(f"{script} gave no count (exit code {result.returncode}): {result.stderr.strip().splitlines()[-1:]}")
    return int(found[2])


def rewrite(run, name, change, **options):
    """Read an Arrow file, change its table, write it with the same metadata."""
    path = os.path.join(run, f"{name}.arrow")
    with pa.OSFile(path) as source:
        table = ipc.open_file(source).read_all()
    metadata = table.schema.metadata
    table = change(table)
    if table.schema.metadata != metadata and not options.pop("new_metadata", False):
        table = table.replace_schema_metadata(metadata)
    with pa.OSFile(path, "wb") as sink, ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)


def set_column(table, name, values, **field):
    index = table.schema.get_field_index(name)
    old = table.schema.field(index)
    return table.set_column(index, pa.field(name, field.get("type", old.type), field.get("nullable", old.nullable)), values)


def cast(name, kind):
    return lambda table: set_column(table, name, table[name].cast(kind), type=kind)


def one_value(name, change, at=-1):
    """Change the last (at 0: the first) value of a column that is not null."""

    def apply(table):
        values = table[name].to_pylist()
        index = [i for i, value in enumerate(values) if value is not None][at]
        values[index] = change(values[index])
        return set_column(table, name, pa.array(values, table.schema.field(name).type))

    return apply


def one_bit(table):
    """Flip the last bit of the last activation."""
    column = table["value"].combine_chunks()
    values = column.flatten().to_numpy().copy()
    values.view(np.uint8)[-values.dtype.itemsize] ^= 1
    field = table.schema.field("value")
    return set_column(table, "value", pa.FixedSizeListArray.from_arrays(pa.array(values), type=field.type))


def growing_dictionary(run, name):
    """The same rows, with a dictionary that grows from batch to batch."""
    path = os.path.join(run, f"{name}.arrow")
    with pa.OSFile(path) as source:
        table = ipc.open_file(source).read_all()
    parts = [table.slice(0, 5), table.slice(5)]
    columns = [[p["condition"].cast(pa.string()).combine_chunks() for p in parts]]
    values = pa.array(sorted(set(table["condition"].to_pylist())) + ["unused"])
    dictionaries = [values.slice(0, len(values) - 1), values]
    batches = []
    for part, column, dictionary in zip(parts, columns[0], dictionaries):
        encoded = pa.DictionaryArray.from_arrays(pc.index_in(column, dictionary).cast(pa.int32()), dictionary)
        part = set_column(part.combine_chunks(), "condition", encoded)
        batches += part.combine_chunks().to_batches()
    with pa.OSFile(path, "wb") as sink:
        with ipc.new_file(sink, table.schema, options=ipc.IpcWriteOptions(emit_dictionary_deltas=True)) as writer:
            for batch in batches:
                writer.write_batch(batch)


def truncate(path, share):
    os.truncate(path, int(os.path.getsize(path) * share))


def arrow(name, change, **options):
    return lambda run: rewrite(run, name, change, **options)


def other_identity(run):
    path = os.path.join(run, "manifest.json")
    with open(path, encoding="utf-8") as file:
        manifest = json.load(file)
    manifest["identity"]["command"] = "another"
    with open(path, "w", encoding="utf-8") as file:
        json.dump(manifest, file)


ARROW = {
    "a column of another type": arrow("steps", cast("step", pa.int64())),
    "a text column without a dictionary": arrow("steps", cast("protocol", pa.string())),
    "a dictionary with narrow indices": arrow("steps", cast("protocol", pa.dictionary(pa.int8(), pa.string()))),
    "a dictionary that grows": lambda run: growing_dictionary(run, "steps"),
    "a column that may be null and should not": arrow("layers", lambda t: set_column(t, "hook", t["hook"], nullable=True)),
    "a column that may not be null and should": arrow("conditions", lambda t: set_column(t, "threads", t["threads"], nullable=True)),
    "a missing column": arrow("layers", lambda t: t.drop_columns(["max_ulp"])),
    "an unknown file": lambda run: shutil.copy(os.path.join(run, "steps.arrow"), os.path.join(run, "more.arrow")),
    "a missing file": lambda run: os.remove(os.path.join(run, "vocab.arrow")),
    "a prompt that prompts.arrow does not have": arrow("prompts", lambda t: t.slice(1)),
    "a repeated row": arrow("layers", lambda t: pa.concat_tables([t, t.slice(0, 1)]).combine_chunks()),
    "a lost row": arrow("layers", lambda t: t.slice(1)),
    "metadata that is not the manifest's identity": other_identity,
    "a file without metadata": arrow("steps", lambda t: t.replace_schema_metadata(None), new_metadata=True),
    "a file cut short": lambda run: truncate(os.path.join(run, "layers.arrow"), 0.7),
    "one bit of one activation": arrow("activations/resid_post", one_bit),
    "an activation of another type": arrow("activations/resid_post", cast("value", pa.list_(pa.field("item", pa.float32(), False), -1))),
}
SAMPLE = {
    "a float that is next to the one written": arrow("steps", one_value("kl", lambda x: float(np.nextafter(x, 7)))),
    "NaN where null was written": arrow("layers", lambda t: set_column(t, "added_rel_l2", t["added_rel_l2"].fill_null(float("nan")))),
    "a byte of a vocabulary entry": arrow("vocab", one_value("bytes", lambda b: b + b"x")),
}
RUN = {
    "a difference that numpy does not find": arrow("layers", one_value("rel_l2", lambda x: x + 1e-6)),
    "a count that is one too high": arrow("layers", one_value("n_differ", lambda x: x + 1)),
    "a divergence of the logits": arrow("steps", one_value("logits_l2_centred", lambda x: x + 1e-6, at=0)),
    "a token that is not the largest logit's": arrow("steps", one_value("token_cached", lambda x: x + 1, at=0)),
    "a position that is off by one": arrow("steps", one_value("position", lambda x: x + 1)),
}


def edit_graph(name, change):
    """Change a graph and record its new digest, so that the digest is not what notices."""

    def apply(folder):
        path = os.path.join(folder, name)
        change(path)
        manifest = os.path.join(folder, "graph.json")
        with open(manifest, encoding="utf-8") as file:
            content = json.load(file)
        with open(path, "rb") as file:
            digest = hashlib.sha256(file.read()).hexdigest()
        for entry in content["graphs"]:
            if entry["file"] == name:
                entry["sha256"] = digest
        with open(manifest, "w", encoding="utf-8") as file:
            json.dump(content, file)

    return apply


def in_model(change):
    def apply(path):
        model = onnx.load(path, load_external_data=False)
        change(model)
        with open(path, "wb") as file:
            file.write(model.SerializeToString())

    return apply


def node_of(model, kind):
    return next(node for node in model.graph.node if node.op_type == kind)


def shift_weight(model):
    tensor = next(t for t in model.graph.initializer if t.external_data)
    entry = next(e for e in tensor.external_data if e.key == "offset")
    entry.value = str(int(entry.value) + 2)


def flip_byte(path):
    with open(path, "r+b") as file:
        file.seek(os.path.getsize(path) // 2)
        byte = file.read(1)
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte[0] ^ 0x55]))


GRAPHS = {
    "a graph cut short": edit_graph("block_0.onnx", lambda path: truncate(path, 0.6)),
    "a byte of a graph, with the old digest": lambda folder: flip_byte(os.path.join(folder, "block_0.onnx")),
    "an operator nobody knows": edit_graph("block_0.onnx", in_model(lambda m: setattr(node_of(m, "Softmax"), "op_type", "Softmaks"))),
    "an input that nothing makes": edit_graph("block_0.onnx", in_model(lambda m: node_of(m, "Softmax").input.__setitem__(0, "nothing"))),
    "an output of another type": edit_graph("block_0.onnx", in_model(lambda m: setattr(m.graph.output[0].type.tensor_type, "elem_type", onnx.TensorProto.DOUBLE))),
    "a weight two bytes further on": edit_graph("block_0.onnx", in_model(shift_weight)),
    "a missing graph": lambda folder: os.remove(os.path.join(folder, "block_1.onnx")),
}


def with_absolute_paths(source, target):
    """A copy of a graph folder elsewhere still finds its checkpoint."""
    shutil.copytree(source, target)
    path = os.path.join(target, "graph.json")
    with open(path, encoding="utf-8") as file:
        manifest = json.load(file)
    manifest["weights"] = os.path.abspath(os.path.join(source, manifest["weights"]))
    manifest["checkpoint"]["path"] = os.path.abspath(os.path.join(source, manifest["checkpoint"]["path"]))
    with open(path, "w", encoding="utf-8") as file:
        json.dump(manifest, file)


def statistic(section, change):
    """Change one row of a section of the dumped statistics."""

    def apply(path):
        with open(path, encoding="utf-8") as file:
            data = json.load(file)
        change(data[section][0] if isinstance(data[section], list) else data[section])
        with open(path, "w", encoding="utf-8") as file:
            json.dump(data, file)

    return apply


def scaled(name, factor):
    return lambda row: row.update({name: row[name] * factor})


STATISTICS = {
    "a tail of the normal distribution, relative 1e-10": statistic("normal", scaled("value", 1 + 1e-10)),
    "a quantile": statistic("quantiles", lambda row: row.update(value=row["value"] + 1e-9)),
    "an end of Wilson's interval": statistic("rates", lambda row: row.update(high=row["high"] - 1e-9)),
    "a rule-of-three bound": statistic("rates", scaled("unseen", 3 / 2.9957)),
    "an exact p": statistic("pairs", scaled("p", 0.999999)),
    "an end of a paired interval": statistic("pairs", lambda row: row.update(low=row["low"] + 1e-5)),
    "Holm's adjustment": statistic("families", lambda row: row["adjusted"].__setitem__(0, row["adjusted"][0] / 2 + 1e-3)),
    "a cumulative incidence": statistic("incidences", lambda row: row["curve"][-1].update(event=row["curve"][-1]["event"] + 1e-9)),
    "a narrower interval of an incidence": statistic("incidenceBands", lambda row: row["interval"].update(upper=row["interval"]["value"])),
    "an area under a curve": statistic("rankings", lambda row: row.update(value=(row["value"] or 0.5) + 1e-9)),
    "a permutation p": statistic("signFlips", scaled("p", 0.999)),
    "a bootstrap interval of half the width": statistic("bootstraps", lambda row: row.update(low=(row["low"] + row["high"]) / 2)),
    "intervals that hold the truth too rarely": statistic("coverage", lambda row: row["held"].update({"95": 0.85 * row["trials"]})),
    "intervals that always hold the truth": statistic("coverage", lambda row: row["held"].update({"95": row["trials"]})),
    "an extreme drift one bin lower": statistic("histograms", scaled("extreme", 2 ** (-1 / 64))),
    "predicted flips": statistic("predictions", lambda row: row["prediction"].update(predicted=row["prediction"]["predicted"] + 1e-6)),
}


def few_rows(source, target):
    """A copy with a few rows of each section: a corruption is in the first."""
    with open(source, encoding="utf-8") as file:
        data = json.load(file)
    with open(target, "w", encoding="utf-8") as file:
        json.dump({name: rows[:3] if isinstance(rows, list) else rows for name, rows in data.items()}, file)


def noticed(checks, what, corruptions, copy, script, *arguments):
    """Each corruption of a fresh copy makes the script report more failures."""
    with tempfile.TemporaryDirectory() as folder:
        untouched = os.path.join(folder, "untouched")
        copy(untouched)
        before = failures(script, untouched, *arguments)

        def after(numbered):
            number, corrupt = numbered
            target = os.path.join(folder, str(number))
            copy(target)
            try:
                corrupt(target)
                return failures(script, target, *arguments)
            except Exception as error:  # a corruption that cannot be made, or a script without a count: nothing was noticed
                return f"{type(error).__name__}: {error}"
            finally:
                shutil.rmtree(target) if os.path.isdir(target) else os.remove(target)

        with ThreadPoolExecutor(os.cpu_count()) as pool:
            for name, found in zip(corruptions, pool.map(after, enumerate(corruptions.values()))):
                holds = isinstance(found, int) and found > before
                checks.check(f"{what}: {name} is noticed", holds, f"{before} failures before; after: {found}")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sample", nargs=2, required=True, metavar=("RUN", "RAW"))
    parser.add_argument("--run", nargs=2, required=True, metavar=("RUN", "RAW"))
    parser.add_argument("--graphs", required=True)
    parser.add_argument("--statistics", required=True, metavar="FILE")
    options = parser.parse_args()
    checks = Checks()
    same = arrow("steps", lambda table: table)
    for what, (run, raw), more in (("sample", options.sample, SAMPLE), ("run", options.run, RUN)):
        copy = lambda target, run=run: shutil.copytree(run, target)
        before = failures("check_arrow.py", run, "--raw", raw)
        with tempfile.TemporaryDirectory() as folder:
            copied = os.path.join(folder, "copy")
            copy(copied)
            same(copied)
            after = failures("check_arrow.py", copied, "--raw", raw)
            checks.check(f"{what}: a file that is only written anew fails nothing more", after == before, f"{before}, {after}")
        corruptions = {**ARROW, **more} if what == "sample" else more
        noticed(checks, what, corruptions, copy, "check_arrow.py", "--raw", raw)
    noticed(checks, "graphs", GRAPHS, lambda target: with_absolute_paths(options.graphs, target), "check_onnx.py")
    noticed(checks, "statistics", STATISTICS, lambda target: few_rows(options.statistics, target), "check_statistics.py")
    checks.finish()


if __name__ == "__main__":
    main()
