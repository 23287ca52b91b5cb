"""Open every Arrow file of a run with pyarrow, polars and pandas: `python check_arrow.py RUN_DIR [--raw DIR] [--quiet]`.

The contract comes from `print-schemas.mts`. With --raw, values are compared bit for bit with a dump that was written
without Arrow: `write-sample-run.mts` (made-up rows) or `dump-activations.mts` (a real run, recomputed).
"""

import argparse
import json
import os
import subprocess
import sys

import numpy as np
import pandas
import polars
import pyarrow as pa
import pyarrow.ipc as ipc

from checks import Checks

HERE = os.path.dirname(os.path.abspath(__file__))
TEXT = pa.dictionary(pa.int32(), pa.string())
TYPES = {
    "text": TEXT,
    "string": pa.string(),
    "int16": pa.int16(),
    "int32": pa.int32(),
    "float64": pa.float64(),
    "bool": pa.bool_(),
    "int32 list": pa.list_(pa.field("item", pa.int32(), nullable=False)),
    "float64 list": pa.list_(pa.field("item", pa.float64(), nullable=False)),
    "binary": pa.binary(),
}
ACTIVATION_COLUMNS = {
    "condition": TEXT,
    "prompt": TEXT,
    "arm": TEXT,
    "step": pa.int32(),
    "position": pa.int32(),
    "token": pa.int32(),
    "layer": pa.int16(),
    "hook": TEXT,
}
# bf16 has no Arrow type and is stored as float32.
ELEMENTS = {"f16": pa.float16(), "bf16": pa.float32(), "f32": pa.float32(), "f64": pa.float64()}
BITS = {2: np.uint16, 4: np.uint32, 8: np.uint64}
KEYS = {
    "conditions": ["condition"],
    "prompts": ["prompt"],
    "vocab": ["id"],
    "steps": ["condition", "prompt", "protocol", "step"],
    "layers": ["condition", "prompt", "protocol", "step", "hook", "head"],
    "activations": ["condition", "prompt", "arm", "step", "position", "hook"],
    "candidates": ["condition", "prompt", "step", "arm"],
}
TOLERANCE = 1e-12  # relative; columns and numpy sum in different orders


def contract():
    """{table: {column: {type, nullable}}} as the sources define it."""
    given = os.environ.get("KVLENS_SCHEMAS")
    if given:
        with open(given, encoding="utf-8") as file:
            return json.load(file)
    printed = subprocess.run(
        ["npx", "tsx", os.path.join(HERE, "print-schemas.mts")], cwd=HERE, capture_output=True, text=True, check=True
    )
    return json.loads(printed.stdout)


def bits_of(values):
    """Floats as unsigned integers, so that NaN equals itself and −0 is not 0."""
    values = np.ascontiguousarray(values)
    return values.view(BITS[values.dtype.itemsize]) if values.dtype.kind == "f" else values


def comparable(values):
    """A list of Python values in which floats are compared by their bits."""
    return [np.float64(value).tobytes() if isinstance(value, float) else value for value in values]


def difference(left, right):
    """Where two lists of values differ first, or the empty string."""
    if len(left) != len(right):
        return f"{len(left)} and {len(right)} values"
    for i, (a, b) in enumerate(zip(comparable(left), comparable(right))):
        if a != b:
            return f"row {i}: {left[i]!r} and {right[i]!r}"
    return ""


class ArrowFile:
    """One file, read by three libraries."""

    def __init__(self, checks, path, name, identity):
        self.checks, self.path, self.name, self.identity = checks, path, name, identity
        self.table = checks.attempt(f"{name}: pyarrow reads it", self.read)
        if self.table is not None:
            checks.attempt(f"{name}: it is valid", lambda: self.table.validate(full=True))
            self.frame = checks.attempt(f"{name}: polars reads it", lambda: polars.read_ipc(path))
            self.pandas = checks.attempt(f"{name}: pandas reads it", lambda: pandas.read_feather(path))

    @property
    def readable(self):
        return self.table is not None and self.frame is not None and self.pandas is not None

    def read(self):
        with pa.OSFile(self.path) as source:
            reader = ipc.open_file(source)
            self.batches = [reader.get_batch(i) for i in range(reader.num_record_batches)]
            self.stats = reader.stats
            self.schema = reader.schema
            return pa.Table.from_batches(self.batches, reader.schema)

    def columns(self, expected):
        """Columns, types and nullability against {name: (type, nullable)}; more columns are welcome."""
        for column, (kind, nullable) in expected.items():
            claim = f"{self.name}: {column} is {kind}{'' if nullable else ', never null'}"
            index = self.schema.get_field_index(column)
            if index < 0:
                self.checks.check(claim, False, "no such column")
                continue
            field = self.schema.field(index)
            nulls = self.table.column(index).null_count
            holds = field.type == kind and field.nullable == nullable and (nullable or nulls == 0)
            self.checks.check(claim, holds, f"{field.type}, nullable {field.nullable}, {nulls} nulls")

    def dictionaries(self):
        """Text columns are encoded, with one dictionary per file and no value twice."""
        texts = [field.name for field in self.schema if pa.types.is_dictionary(field.type)]
        plain = [f.name for f in self.schema if pa.types.is_string(f.type) and self.name != "vocab"]
        self.checks.check(f"{self.name}: every text column is dictionary-encoded", not plain, str(plain))
        stats = self.stats
        found = (stats.num_dictionary_batches, stats.num_dictionary_deltas, stats.num_replaced_dictionaries)
        # A file without rows needs no dictionaries.
        expected = (len(texts), 0, 0) if self.batches else (found[0], 0, 0)
        self.checks.check(f"{self.name}: one dictionary per text column and file", found == expected, f"{found}")
        for name in texts:
            values = [batch.column(name).dictionary.to_pylist() for batch in self.batches]
            once = all(len(set(v)) == len(v) and v == values[0] and None not in v for v in values)
            self.checks.check(f"{self.name}: the dictionary of {name} holds each value once", once, str(values[:1]))

    def metadata(self):
        """`kvlens.manifest` is the manifest's identity."""
        found = self.checks.attempt(
            f"{self.name}: metadata kvlens.manifest is JSON", lambda: json.loads(self.schema.metadata[b"kvlens.manifest"])
        )
        if found is not None:
            keys = [k for k in {**found, **self.identity} if found.get(k, KeyError) != self.identity.get(k, KeyError)]
            self.checks.check(f"{self.name}: it is the identity in manifest.json", not keys, f"unequal: {', '.join(keys)}")

    def readers_agree(self):
        """pyarrow, polars and pandas see equal values."""
        shape = (self.table.num_rows, self.table.num_columns)
        found = [self.frame.shape, self.pandas.shape]
        self.checks.check(f"{self.name}: pyarrow, polars and pandas see equal shapes", all(s == shape for s in found), f"{shape} {found}")
        for name in self.table.column_names:
            if name == "value":
                continue
            ours = self.table[name].to_pylist()
            wrong = difference(ours, [list(v) if isinstance(v, polars.Series) else v for v in self.frame[name].to_list()])
            self.checks.check(f"{self.name}: {name} is equal in pyarrow and polars", not wrong, wrong)

    def row_count(self, manifest):
        rows = manifest["provenance"]["rows"].get(f"{self.name}.arrow")
        self.checks.check(f"{self.name}: has the rows the manifest says", rows == self.table.num_rows, f"{rows} said, {self.table.num_rows} found")

    def key_is_unique(self, key):
        rows = list(zip(*(self.table[name].to_pylist() for name in key)))
        self.checks.check(f"{self.name}: {', '.join(key)} is a key", len(set(rows)) == len(rows), f"{len(rows) - len(set(rows))} repeated")

    def joins(self, name, other):
        unknown = set(self.table[name].to_pylist()) - set(other.table[name].to_pylist())
        self.checks.check(f"{self.name}: every {name} is in {other.name}", not unknown, str(sorted(unknown)[:3]))


def values_of(batch):
    """The value column of a batch as (flat numpy array, offsets)."""
    column = batch.column("value")
    if pa.types.is_fixed_size_list(column.type):
        size = column.type.list_size
        return column.flatten().to_numpy(zero_copy_only=True), np.arange(len(column) + 1) * size
    offsets = column.offsets.to_numpy()
    return column.flatten().to_numpy(zero_copy_only=True), offsets - offsets[0]


def polars_values(frame):
    """The same through polars: all values, flattened."""
    return frame["value"].explode(empty_as_null=False).to_numpy()


def check_activations(file, raw):
    """Columns, metadata and values of activations/KIND.arrow."""
    checks, name, schema = file.checks, file.name, file.schema
    file.columns({column: (kind, False) for column, kind in ACTIVATION_COLUMNS.items()})
    metadata = {key.decode(): value.decode() for key, value in schema.metadata.items()}
    described = checks.attempt(
        f"{name}: metadata has shape, axes and dtype",
        lambda: (json.loads(metadata["shape"]), json.loads(metadata["axes"]), ELEMENTS[metadata["dtype"]]),
    )
    if described is None:
        return None
    shape, axes, element = described
    checks.check(f"{name}: one name per axis", len(shape) == len(axes) and all(isinstance(a, str) for a in axes), f"{shape} {axes}")
    item = pa.field("item", element, nullable=False)
    wanted = pa.list_(item) if None in shape else pa.list_(item, int(np.prod(shape)))
    field = schema.field("value") if "value" in schema.names else None
    if not checks.check(f"{name}: value is {wanted}, never null", field is not None and field.type == wanted and not field.nullable, str(field)):
        return None
    flat, rows = [], []
    for batch in file.batches:
        values, offsets = values_of(batch)
        keys = zip(*(batch.column(key).to_pylist() for key in ACTIVATION_COLUMNS))
        rows += [(key, values[offsets[i] : offsets[i + 1]]) for i, key in enumerate(keys)]
        flat.append(values)
    everything = np.concatenate(flat) if flat else np.empty(0, element.to_pandas_dtype())
    theirs = checks.attempt(f"{name}: polars gives the values", lambda: polars_values(file.frame))
    if theirs is not None:
        equal = theirs.dtype == everything.dtype and np.array_equal(bits_of(theirs), bits_of(everything))
        checks.check(f"{name}: values are equal in pyarrow and polars", equal, f"{theirs.dtype} {theirs.shape}, {everything.dtype} {everything.shape}")
    if metadata["dtype"] == "bf16":
        checks.check(f"{name}: values are bfloat16 numbers", not np.any(everything.view(np.uint32) & 0xFFFF))
    if raw is not None:
        compare_with_raw(checks, name, rows, everything.dtype, raw)
    return dict(rows)


def compare_with_raw(checks, name, rows, dtype, raw):
    """Bit for bit, row by row, against the dump of the same kind; numpy does the rounding to binary16."""
    kind = name.split("/", 1)[1]
    with open(os.path.join(raw, "index.json"), encoding="utf-8") as file:
        index = json.load(file).get(kind)
    if not checks.check(f"{name}: is in the raw dump", index is not None):
        return
    bytes_ = np.fromfile(os.path.join(raw, f"{kind}.bin"), dtype=np.uint8)
    source = np.dtype("<f4" if index["type"] == "f32" else "<f8")
    dumped = {}
    for row in index["rows"]:
        start = row["offset"]
        values = bytes_[start : start + row["length"] * source.itemsize].view(source)
        with np.errstate(over="ignore"):
            dumped[tuple(row[key] for key in ACTIVATION_COLUMNS)] = values.astype(dtype)
    found = dict(rows)
    lost = set(dumped) ^ set(found)
    checks.check(f"{name}: has the rows of the raw dump ({len(dumped)})", not lost, f"{len(lost)} differ: {sorted(lost)[:2]}")
    unequal = [key for key in found if key in dumped and not same_numbers(found[key], dumped[key])]
    total = sum(len(values) for values in found.values())
    checks.check(f"{name}: {total:,} values equal the raw dump bit for bit", not unequal, f"{len(unequal)} rows, first {unequal[:1]}")


def same_numbers(left, right):
    """Equal bits; any NaN equals any NaN, whose payload is nobody's claim."""
    if left.shape != right.shape:
        return False
    return bool(np.all((bits_of(left) == bits_of(right)) | (np.isnan(left) & np.isnan(right))))


def check_residuals(checks, activations):
    """The input of a block is the output of the block before, bit for bit, in two files."""
    before, after = activations.get("activations/resid_pre"), activations.get("activations/resid_post")
    if not before or not after:
        return
    place = lambda key: key[:6]  # condition, prompt, arm, step, position, token
    outputs = {(*place(key), key[6] + 1): values for key, values in after.items()}
    pairs = [(values, outputs[*place(key), key[6]]) for key, values in before.items() if (*place(key), key[6]) in outputs]
    wrong = sum(not same_numbers(a, b) if a.dtype == b.dtype else True for a, b in pairs)
    checks.check(f"activations: {len(pairs)} inputs of blocks are the outputs before them", pairs and not wrong, f"{wrong} are not")


def compare_with_tables(checks, tables, path):
    """Values of every table against what was handed to the writer."""
    with open(path, encoding="utf-8") as file:
        written = json.load(file)
    for name, columns in written.items():
        for column, values in columns.items():
            kind = tables[name].table[column].type
            if pa.types.is_float64(kind):
                values = [None if value is None else float(value) for value in values]
            elif pa.types.is_binary(kind):
                values = [None if value is None else bytes(value) for value in values]
            wrong = difference(tables[name].table[column].to_pylist(), values)
            checks.check(f"{name}: {column} holds what was written", not wrong, wrong)


def check_steps(checks, steps, prompts):
    """What the columns of steps.arrow imply about each other."""
    rows = steps.table.to_pylist()
    length = {row["prompt"]: len(row["tokens"]) for row in prompts.table.to_pylist()}
    wrong = [r for r in rows if r["flip"] is not None and r["flip"] != (r["token_cached"] != r["token_uncached"])]
    checks.check("steps: flip says whether the tokens differ", not wrong, str(wrong[:1]))
    wrong = [r for r in rows if r["position"] != length[r["prompt"]] + r["step"] - 1]
    checks.check("steps: position is that of the newest input token", not wrong, str(wrong[:1]))
    wrong = [r for r in rows if r["diverged_before"] and (r["protocol"] == "teacher-forced" or r["flip"] is not None)]
    checks.check("steps: histories part only in free-running rows, where flip is null", not wrong, str(wrong[:1]))
    wrong = [r for r in rows if not (r["js"] >= 0 and 0 <= r["tv"] <= 1 and r["kl"] >= -1e-12)]
    checks.check("steps: KL, JS and TV are in their ranges", not wrong, str(wrong[:1]))
    wrong = [r for r in rows if r["logits_n_differ"] == 0 and (r["kl"] or r["tv"] or r["logits_max_abs"])]
    checks.check("steps: equal logits have no distance", not wrong, str(wrong[:1]))


def close(found, expected, scale=0.0):
    return abs(found - expected) <= TOLERANCE * max(abs(expected), scale) or (np.isnan(found) and np.isnan(expected))


def check_statistics(checks, layers, steps, activations):
    """layers.arrow and steps.arrow against numpy on the saved activations themselves."""
    by_key = {}
    for rows in activations.values():
        for (condition, prompt, arm, step, _, _, _, hook), values in rows.items():
            by_key[condition, prompt, step, hook, arm] = values.astype(np.float64)
    wrong, seen = {}, 0
    for row in layers.table.to_pylist():
        key = (row["condition"], row["prompt"], row["step"], row["hook"])
        if row["head"] is not None or (*key, "cached") not in by_key:
            continue
        c, u = by_key[(*key, "cached")], by_key[(*key, "uncached")]
        seen += 1
        norm_c, norm_u = np.linalg.norm(c), np.linalg.norm(u)
        expected = {
            "n_elements": u.size,
            "n_differ": np.count_nonzero(c != u),
            "signed_zero": np.count_nonzero((c == u) & (np.signbit(c) != np.signbit(u))),
            "max_abs": np.max(np.abs(c - u)),
            "rel_l2": np.linalg.norm(c - u) / norm_u,
            "cosine": np.dot(c / norm_c, u / norm_u),
        }
        for column, value in expected.items():
            if not close(row[column], value):
                wrong.setdefault(column, f"{key}: {row[column]} said, {value} by numpy")
    if seen:
        for column in ("n_elements", "n_differ", "signed_zero", "max_abs", "rel_l2", "cosine"):
            checks.check(f"layers: {column} of {seen} rows is what numpy finds in the activations", column not in wrong, wrong.get(column))
    check_logits(checks, steps, by_key)


def log_softmax(x):
    shifted = x - np.max(x)
    return shifted - np.log(np.sum(np.exp(shifted)))


def check_logits(checks, steps, by_key):
    wrong, seen = {}, 0
    for row in steps.table.to_pylist():
        key = (row["condition"], row["prompt"], row["step"], "logits")
        if row["protocol"] != "teacher-forced" or (*key, "cached") not in by_key:
            continue
        c, u = by_key[(*key, "cached")], by_key[(*key, "uncached")]
        seen += 1
        p, q = log_softmax(u), log_softmax(c)
        middle = np.logaddexp(p, q) - np.log(2)
        top = {"cached": np.sort(c)[::-1], "uncached": np.sort(u)[::-1]}
        # Divergences this small are differences of sums near 1: absolute rounding, not relative, is what remains.
        expected = {
            "logits_n_differ": (np.count_nonzero(c != u), 0),
            "logits_max_abs": (np.max(np.abs(c - u)), 0),
            "logits_rel_l2": (np.linalg.norm(c - u) / np.linalg.norm(u), 0),
            "logits_l2_centred": (np.linalg.norm((c - c.mean()) - (u - u.mean())), 1),
            "kl": (np.sum(np.exp(p) * (p - q)), 1),
            "js": (0.5 * np.sum(np.exp(p) * (p - middle)) + 0.5 * np.sum(np.exp(q) * (q - middle)), 1),
            "tv": (0.5 * np.sum(np.abs(np.exp(p) - np.exp(q))), 1),
            "margin_cached": (top["cached"][0] - top["cached"][1], 0),
            "margin_uncached": (top["uncached"][0] - top["uncached"][1], 0),
            "tie_cached": (top["cached"][0] == top["cached"][1], 0),
            "tie_uncached": (top["uncached"][0] == top["uncached"][1], 0),
        }
        for column, (value, scale) in expected.items():
            if not close(float(row[column]), float(value), scale):
                wrong.setdefault(column, f"{key}: {row[column]} said, {value} by numpy")
        for arm, logits in (("cached", c), ("uncached", u)):
            if int(np.argmax(logits)) != row[f"token_{arm}"]:
                wrong.setdefault(f"token_{arm}", f"{key}: {row[f'token_{arm}']} said, arg max {np.argmax(logits)}")
        names = [*expected, "token_cached", "token_uncached"]
    if seen:
        for column in names:
            checks.check(f"steps: {column} of {seen} rows is what numpy finds in the logits", column not in wrong, wrong.get(column))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run")
    parser.add_argument("--raw", help="folder of a raw dump")
    parser.add_argument("--quiet", action="store_true", help="print the count only")
    options = parser.parse_args()
    checks = Checks(options.quiet)
    with open(os.path.join(options.run, "manifest.json"), encoding="utf-8") as file:
        manifest = json.load(file)
    schemas = contract()
    tables, activations = {}, {}
    names = sorted(
        os.path.relpath(os.path.join(folder, name), options.run)[: -len(".arrow")].replace(os.sep, "/")
        for folder, _, files in os.walk(options.run)
        for name in files
        if name.endswith(".arrow")
    )
    said = sorted(name[: -len(".arrow")] for name in manifest["provenance"]["rows"])
    checks.check("the manifest names the Arrow files that are there", names == said, f"{names} found, {said} said")
    for name in names:
        file = ArrowFile(checks, os.path.join(options.run, f"{name}.arrow"), name, manifest["identity"])
        if not file.readable:
            continue
        file.dictionaries()
        file.metadata()
        file.readers_agree()
        file.row_count(manifest)
        if name in schemas:
            tables[name] = file
            file.columns({c: (TYPES[d["type"]], d["nullable"]) for c, d in schemas[name].items()})
            if set(KEYS[name]) <= set(file.table.column_names):
                file.key_is_unique(KEYS[name])
        elif checks.check(f"{name}: is a file of the contract", name.startswith("activations/")):
            claim = f"{name}: its values can be read"
            activations[name] = checks.attempt(claim, lambda file=file: check_activations(file, options.raw)) or {}
            if set(KEYS["activations"]) <= set(file.table.column_names):
                file.key_is_unique(KEYS["activations"])
        for key, other in (("condition", "conditions"), ("prompt", "prompts")):
            path = os.path.join(options.run, f"{other}.arrow")
            if key in file.table.column_names and name != other:
                target = tables.get(other) or ArrowFile(Checks(quiet=True), path, other, {})
                if checks.check(f"{name}: {other} can be joined", target.table is not None and key in target.table.column_names):
                    file.joins(key, target)
    sampled = options.raw is not None and os.path.exists(os.path.join(options.raw, "tables.json"))
    if sampled:
        path = os.path.join(options.raw, "tables.json")
        checks.attempt("the tables can be compared with what was written", lambda: compare_with_tables(checks, tables, path))
    if not sampled:
        check_residuals(checks, activations)
    if not sampled and {"steps", "layers", "prompts"} <= set(tables):
        checks.attempt("steps can be checked row by row", lambda: check_steps(checks, tables["steps"], tables["prompts"]))
        if activations and manifest["identity"].get("strategy", {}).get("kind") == "greedy":
            action = lambda: check_statistics(checks, tables["layers"], tables["steps"], activations)
            checks.attempt("the statistics can be computed anew from the activations", action)
    checks.finish()


if __name__ == "__main__":
    main()
