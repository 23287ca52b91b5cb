"""A run folder as kvlens writes it: Arrow files with the columns of src/store/schemas.ts, controls.json, manifest.json.

test/gpu/check_parts.py compares COLUMNS with the contract.
"""

import json
import os

import pyarrow as pa
import pyarrow.ipc as ipc

SCHEMA_VERSION = 1
MANIFEST_KEY = "kvlens.manifest"
TYPES = {
    "text": pa.dictionary(pa.int32(), pa.string()),
    "int32": pa.int32(),
    "float64": pa.float64(),
    "bool": pa.bool_(),
    "int32 list": pa.list_(pa.field("item", pa.int32(), nullable=False)),
}
# Column → type; a question mark where it may be null.
COLUMNS = {
    "conditions": {
        **{name: "text" for name in ("condition", "model", "precision", "kernels", "strategy")},
        **{"temperature": "float64?", "top_k": "int32?", "top_p": "float64?", "sampler": "text?", "seed": "float64"},
        **{"decode_rows": "int32", "threads": "int32", "template": "text", "coupling": "text", "padding": "int32"},
    },
    "prompts": {
        **{"prompt": "text", "index": "int32", "text": "text?", "tokens": "int32 list", "gold": "text?"},
        **{"model": "text"},
    },
    "steps": {
        **{"condition": "text", "prompt": "text", "protocol": "text", "step": "int32", "position": "int32"},
        **{"token_cached": "int32", "token_uncached": "int32", "flip": "bool?", "differs": "bool?"},
        **{"tie_cached": "bool", "tie_uncached": "bool", "diverged_before": "bool", "logits_n_differ": "int32"},
        **{name: "float64" for name in ("logits_max_abs", "logits_rel_l2", "logits_l2_centred", "kl", "js", "tv")},
        **{"tv_processed": "float64?", "margin_cached": "float64", "margin_uncached": "float64"},
        **{"top_shift": "float64", "margin_choice": "float64?", "boundary": "bool?"},
        **{name: "float64?" for name in ("error_cached", "error_uncached", "error_cosine")},
        **{f"drift_{of}_{arm}": "float64?" for of in ("fp32", "fp64") for arm in ("cached", "uncached")},
    },
}


def schema(table, identity):
    """The Arrow schema of one table; every file carries the run's identity."""
    fields = [pa.field(name, TYPES[kind.rstrip("?")], nullable=kind.endswith("?")) for name, kind in COLUMNS[table].items()]
    return pa.schema(fields, metadata={MANIFEST_KEY: json.dumps(identity)})


def table_of(name, rows, identity):
    """A table from a list of dicts; every column must be there."""
    wanted = schema(name, identity)
    columns = []
    for field in wanted:
        values = [row[field.name] for row in rows]
        if pa.types.is_dictionary(field.type):
            columns.append(pa.array(values, pa.string()).dictionary_encode())
        else:
            columns.append(pa.array(values, field.type))
    return pa.Table.from_arrays(columns, schema=wanted)


def write_run(folder, tables, identity, provenance, gates):
    """Write {table: rows} and what every run has; the manifest last."""
    for name, rows in tables.items():
        table = table_of(name, rows, identity).combine_chunks()
        with ipc.new_file(os.path.join(folder, f"{name}.arrow"), table.schema) as writer:
            writer.write_table(table)
    counts = {f"{name}.arrow": len(rows) for name, rows in tables.items()}
    write_json(os.path.join(folder, "controls.json"), {"gates": gates})
    manifest = {"schemaVersion": SCHEMA_VERSION, "identity": identity, "provenance": {**provenance, "rows": counts}}
    write_json(os.path.join(folder, "manifest.json"), manifest)


def write_json(path, value):
    with open(f"{path}.partial", "w", encoding="utf-8") as file:
        json.dump(value, file, indent=2, ensure_ascii=False)
        file.write("\n")
    os.replace(f"{path}.partial", path)
