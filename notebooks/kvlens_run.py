"""Read a run of kvlens in Python. One file to copy beside a notebook; it needs pyarrow, polars and numpy.

    run = load("kvlens-runs/diverge-mini-llama-1")
    run.steps, run.layers                # polars LazyFrames: nothing is read until .collect()
    run.manifest, run.controls           # JSON files, parsed
    cached, uncached = (cache(run, arm, step=5) for arm in ("cached", "uncached"))
    cached["resid_post", 3]              # numpy array [d_model], a view of the memory-mapped file
    cached["blocks.3.hook_resid_post"]   # the same, by TransformerLens's name

Tables and columns are those of docs/tables.md, hooks those of docs/hooks.md.
"""

import json
import re
from collections.abc import Mapping
from math import prod
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa

SCHEMA_VERSION = 1
WRITERS = {
    **dict.fromkeys(("candidates", "layers", "steps"), "kvlens diverge and kvlens study write"),
    **dict.fromkeys(("patches", "attributions", "classes", "places", "gains", "nulls"), "kvlens patch writes"),
    **dict.fromkeys(("answers", "outcomes", "verdicts", "temperatures", "placebo"), "kvlens study writes"),
    "activations": "kvlens diverge --save-activations and kvlens capture write",
}
KEY = ("condition", "prompt", "arm", "step", "position", "layer", "hook", "value")
ELEMENTS = {"f16": np.float16, "bf16": np.float32, "f32": np.float32, "f64": np.float64}


class RunError(Exception):
    """What cannot be read, in one line: the file, what was found, what was expected or what to do."""

    def __str__(self):
        return " ".join(str(self.args[0]).splitlines()) if self.args else ""


class MissingFile(RunError, AttributeError):
    """The run has no such table or JSON file."""


class MissingActivation(RunError, KeyError):
    """The run has no such activation."""


def load(folder):
    """Open the folder of a finished run. @raises RunError if it holds none"""
    return Run(folder)


class Run:
    """A run: each table is an attribute, a polars LazyFrame; each JSON file is one too, parsed."""

    def __init__(self, folder):
        self.folder = Path(folder)
        self._json, self._readers, self._activations = {}, {}, {}
        if not (self.folder / "manifest.json").is_file():
            if (self.folder / "journal.jsonl").is_file():
                raise RunError(f"{self.folder}: the run is not finished: kvlens study --resume --out {self.folder} goes on with it")
            raise RunError(f"{self.folder}: holds no finished run (no manifest.json), expected a folder that kvlens wrote")
        version = self.manifest.get("schemaVersion") if isinstance(self.manifest, dict) else None
        if version != SCHEMA_VERSION:
            advice = "take the kvlens_run.py of the kvlens that wrote the run"
            raise RunError(f"{self.folder / 'manifest.json'}: schemaVersion is {version!r}, expected {SCHEMA_VERSION}: {advice}")

    @property
    def tables(self):
        """Names of the tables there are: steps, layers, …"""
        return _names(self.folder, ".arrow")

    @property
    def kinds(self):
        """Kinds of the activations there are: resid_post, attn.z, …"""
        return _names(self.folder / "activations", ".arrow")

    def table(self, name):
        """A table as a LazyFrame; text columns are categorical. @raises MissingFile"""
        # Names are looked up in the folder's listing, never joined to a path as they come.
        if name not in self.tables:
            raise MissingFile(f"{self.folder}: has no {name}, it has {_listed([*self.tables, *self._json_names])}{_writer(name)}")
        return self._scan(self.folder / f"{name}.arrow")

    def activations(self, kind):
        """The file of a kind as a LazyFrame: one row per position, hook and arm. @raises MissingActivation"""
        return self._scan(self._file(kind).path)

    @property
    def _json_names(self):
        return _names(self.folder, ".json")

    def __getattr__(self, name):
        if name.startswith("_"):
            raise AttributeError(name)
        if name not in self._json:
            if name not in self._json_names:
                return self.table(name)
            self._json[name] = _attempt(self.folder / f"{name}.json", lambda path: json.loads(path.read_text("utf-8")))
        return self._json[name]

    def __dir__(self):
        return [*super().__dir__(), *self.tables, *self._json_names]

    def __repr__(self):
        return f"Run({str(self.folder)!r}, {_listed(self.tables)}{', activations' if self.kinds else ''})"

    def _scan(self, path):
        self._reader(path)  # a damaged file is refused here, in one line, not at the end of a query
        return pl.scan_ipc(path.resolve(), glob=False)

    def _reader(self, path):
        if path not in self._readers:
            self._readers[path] = _attempt(path, lambda path: pa.ipc.open_file(pa.memory_map(str(path))))
        return self._readers[path]

    def _file(self, kind):
        if kind not in self.kinds:
            found = _listed(self.kinds) or "none"
            raise MissingActivation(f"{self.folder}: has no activations of kind {kind!r}, it has {found}{_writer('activations')}")
        if kind not in self._activations:
            path = self.folder / "activations" / f"{kind}.arrow"
            self._activations[kind] = ActivationFile(path, self._reader(path))
        return self._activations[kind]


def cache(run, arm, step, prompt=0, condition=0):
    """What an arm computed in a step, by hook: `cache(run, "cached", 5)["resid_post", 3]`.

    `run` is a Run or a folder, `arm` cached or uncached, step 0 the prefill; `prompt` and `condition` are ids, or places
    in prompts.arrow and conditions.arrow. @raises RunError
    """
    run = run if isinstance(run, Run) else load(run)
    if arm not in ("cached", "uncached"):
        raise RunError(f"{run.folder}: found arm {arm!r}, expected 'cached' or 'uncached'")
    ids = {}
    for name, wanted in (("prompt", prompt), ("condition", condition)):
        found = run.table(f"{name}s").select(pl.col(name).cast(pl.String)).collect()[name].to_list()
        place = isinstance(wanted, int) and -len(found) <= wanted < len(found)
        if not place and wanted not in found:
            raise RunError(f"{run.folder / f'{name}s.arrow'}: has no {name} {wanted!r}, it has {len(found)}: {_listed(found)}")
        ids[name] = found[wanted] if place else wanted
    return ActivationCache(run, {**ids, "arm": arm, "step": step})


class ActivationCache(Mapping):
    """Activations of an arm in one step: `cache["resid_post", 3]`, `cache["scale", 3, "ln1"]`, `cache["blocks.3.hook_resid_post"]`.

    A value is the row of the newest position, shaped by the axes in the file's metadata: [d_model], [head, d_head],
    [head, key]. It is a read-only view of the memory-mapped file: float16 of f16, float32 of f32 and bf16, float64 of f64.
    """

    def __init__(self, run, where):
        self.run, self.where = run, where

    def __getitem__(self, key):
        file, rows = self._find(key)
        return file.value(*rows[-1][1:])

    def rows(self, *key):
        """Every position that the step wrote, first to last: {position: value}. A capture's step 0 has the whole prompt."""
        file, rows = self._find(key[0] if len(key) == 1 else key)
        return {position: file.value(batch, row) for position, batch, row in rows}

    def axes(self, *key):
        """Names of a value's axes."""
        return tuple(self._find(key[0] if len(key) == 1 else key)[0].axes)

    def __iter__(self):
        """Full names of the hooks that the step has."""
        return (hook for kind in self.run.kinds for hook in self.run._file(kind).hooks(self.where))

    def __len__(self):
        return sum(1 for _ in self)

    def _find(self, key):
        """The file of a key, and its rows in this step as (position, batch, row), in the order of positions."""
        name, layer, *sublayer = key if isinstance(key, tuple) and len(key) in (2, 3) else (key, None)
        if not isinstance(name, str) or not (layer is None or isinstance(layer, (int, np.integer))):
            raise MissingActivation(f"{self.run.folder}: found {key!r}, expected ('resid_post', 3) or 'blocks.3.hook_resid_post'")
        if full := re.fullmatch(r"blocks\.(\d+)\.(.+)", name):
            name, layer = full[2], int(full[1])
        file = self.run._file(self._kind(".".join([*sublayer, name.replace("hook_", "", 1)])))
        rows = file.rows(self.where)
        layers = sorted({found for _, found, _, _ in rows})
        if layer is None and len(layers) == 1:
            layer = layers[0]
        chosen = sorted((position, batch, row) for position, found, batch, row in rows if found == layer)
        if not chosen:
            said = ", ".join(f"{name} {value}" for name, value in self.where.items())
            has = f"expected a layer of {_listed(layers)}" if layers else f"it has {file.extent(self.where)}"
            raise MissingActivation(f"{file.path}: has no row for {said}, layer {layer}; {has}")
        return file, chosen

    def _kind(self, name):
        """`z` is attn.z where no other kind ends so."""
        kinds = self.run.kinds
        found = [kind for kind in kinds if kind == name] or [kind for kind in kinds if kind.endswith(f".{name}")]
        if len(found) > 1:
            raise MissingActivation(f"{self.run.folder}: {name!r} is one of {_listed(found)}, say which")
        return found[0] if found else name


class ActivationFile:
    """activations/KIND.arrow, memory-mapped: rows are found by their key, values are views."""

    def __init__(self, path, reader):
        self.path, self._reader, self._batches = path, reader, {}
        self.shape, self.axes, element = _attempt(path, lambda _: _described(reader.schema.metadata))
        if lost := [name for name in KEY if name not in reader.schema.names]:
            raise RunError(f"{path}: has no column {_listed(lost)}, expected {_listed(KEY)}")
        kind = reader.schema.field("value").type
        size = None if None in self.shape else prod(self.shape)
        wanted = pa.list_(pa.field("item", pa.from_numpy_dtype(element), nullable=False), -1 if size is None else size)
        if kind != wanted:
            raise RunError(f"{path}: its values are {kind}, expected {wanted} as its metadata says")

    def batch(self, number):
        if number not in self._batches:
            self._batches[number] = _attempt(self.path, lambda _: self._reader.get_batch(number))
        return self._batches[number]

    def _matching(self, where):
        """(number of batch, its rows) that have these values in text and step columns."""
        for number in range(self._reader.num_record_batches):
            batch = self.batch(number)
            holds = np.ones(batch.num_rows, bool)
            for name, wanted in where.items():
                column = batch.column(name)
                if pa.types.is_dictionary(column.type):
                    code = column.dictionary.index(wanted).as_py()
                    holds &= column.indices.to_numpy() == code
                else:
                    holds &= column.to_numpy() == wanted
            yield number, np.flatnonzero(holds)

    def rows(self, where):
        """(position, layer, batch, row) of what a step has."""
        return [
            (position, layer, number, row)
            for number, rows in self._matching(where)
            for position, layer, row in zip(*(self.batch(number).column(c).to_numpy()[rows].tolist() for c in ("position", "layer")), rows.tolist())
        ]

    def hooks(self, where):
        """Full names of the hooks that a step has, in the file's order."""
        return dict.fromkeys(hook for number, rows in self._matching(where) for hook in self.batch(number).column("hook").take(rows).to_pylist())

    def extent(self, where):
        """What steps and arms there are, for messages."""
        same = {name: where[name] for name in ("prompt", "condition")}
        found = [(self.batch(number), rows) for number, rows in self._matching(same) if len(rows)]
        if not found:
            return "no rows of this prompt and condition"
        steps = np.unique(np.concatenate([batch.column("step").to_numpy()[rows] for batch, rows in found]))
        arms = sorted({arm for batch, rows in found for arm in batch.column("arm").take(rows).unique().to_pylist()})
        return f"arms {_listed(arms)}, steps {steps[0]} … {steps[-1]}"

    def value(self, number, row):
        """A view of one row, shaped; the ragged axis, which has no size in the metadata, by what is left."""
        values = self.batch(number).column("value")[row].values.to_numpy(zero_copy_only=True)
        return values.reshape([-1 if size is None else size for size in self.shape])


def _described(metadata):
    """Shape, axes and numpy type of a file's values."""
    shape, axes = (json.loads(metadata[name]) for name in (b"shape", b"axes"))
    if len(shape) != len(axes) or shape.count(None) > 1:
        raise ValueError(f"shape {shape} does not fit axes {axes}")
    return shape, axes, ELEMENTS[metadata[b"dtype"].decode()]


def _attempt(path, action):
    """What cannot be read is one line that names the file."""
    try:
        return action(path)
    except (pa.ArrowException, OSError, ValueError, KeyError, TypeError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise RunError(f"{path}: is damaged or no file of kvlens ({reason}): copy the run again, or make it anew") from error


def _names(folder, suffix):
    return sorted(path.name.removesuffix(suffix) for path in folder.glob(f"*{suffix}") if path.is_file() and not path.name.startswith("."))


def _listed(names, most=8):
    return ", ".join(map(str, names[:most])) + (f", … {len(names) - most} more" if len(names) > most else "")


def _writer(name):
    return f"; {WRITERS[name]} it" if name in WRITERS else ""
