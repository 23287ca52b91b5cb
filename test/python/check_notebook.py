"""Run a notebook headless, cell by cell, and compare with what is committed: `python check_notebook.py NOTEBOOK [--write]`.

A cell holds if it raises nothing, prints and draws what the committed outputs do, and its outputs stay small. Of matplotlib's images the
number is compared alone: fonts differ between machines. Cells tagged `this-processor` compute with a model, so that their numbers are
those of a processor: they are compared where --machine is the one that wrote the notebook, and must run everywhere. With --write the
outputs are written into the file.
"""

import argparse
import json
import os
import queue
import re
import sys
import tempfile
import time

import nbformat
import psutil
from jupyter_core.utils import run_sync
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from traitlets.config import Config

from checks import Checks

SIZE = 100_000
NOTEBOOK_SIZE = 1_000_000
SECONDS_TO_A_FIGURE = 5
# Seconds without a message after which a cell has sent everything, and the most to wait for an output that is committed.
QUIET = 0.3
LATEST_OUTPUT = 20
IMAGES = ("image/svg+xml", "image/png")


def printed(cell):
    """What a cell says in words: its streams and plain results that are no picture's."""
    texts = []
    for output in cell.get("outputs", []):
        if output.output_type == "stream":
            texts.append(output.text)
        elif output.output_type in ("execute_result", "display_data") and not any(kind in output.data for kind in IMAGES):
            texts.append(output.data.get("text/plain", ""))
    return "".join(texts)


def pictures(cell):
    """The images of a cell, as text."""
    found = [next((o.data[kind] for kind in IMAGES if kind in o.data), None) for o in cell.get("outputs", []) if "data" in o]
    return [image for image in found if image is not None]


def first_difference(before, after):
    pairs = zip((before + "\n␃").splitlines(), (after + "\n␃").splitlines())
    return next((f"committed {a!r}, found {b!r}" for a, b in pairs if a != b), "")


def take_late_outputs(client, cell, index, expected):
    """Deno's kernel may say that a cell is done before it has sent what the cell shows."""
    deadline = time.monotonic() + LATEST_OUTPUT
    while True:
        wait = QUIET if len(cell.outputs) >= expected else deadline - time.monotonic()
        try:
            message = run_sync(client.kc.iopub_channel.get_msg)(timeout=max(wait, QUIET))
        except queue.Empty:
            return
        if message["msg_type"] != "status":
            client.process_message(message, cell, index)


def seconds_of(client):
    """Processor time of the kernel: what a cell costs, however busy the machine is."""
    times = psutil.Process(client.km.provisioner.pid).cpu_times()
    return times.user + times.system


def tidy(cell):
    """What changes from run to run and says nothing: times, and the date and ids of an SVG."""
    cell.metadata.pop("execution", None)
    for output in cell.get("outputs", []):
        if "image/svg+xml" in output.get("data", {}):
            output.data["image/svg+xml"] = re.sub(r"\s*<dc:date>.*?</dc:date>", "", output.data["image/svg+xml"])


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("notebook")
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--machine", required=True, help="what names this processor")
    options = parser.parse_args()
    checks = Checks()
    name = os.path.basename(options.notebook)
    committed = nbformat.read(options.notebook, as_version=4)
    notebook = nbformat.read(options.notebook, as_version=4)
    os.environ.pop("MPLBACKEND", None)
    os.environ["PYTHONHASHSEED"] = "0"
    folder = os.path.dirname(os.path.abspath(options.notebook))
    kernel = notebook.metadata.kernelspec.name
    same_machine = notebook.metadata.get("kvlens", {}).get("machine") == options.machine
    # Over sockets in a folder of one's own: nobody else on the machine can talk to the kernel. Deno's has none; a key signs its messages.
    sockets = tempfile.TemporaryDirectory()
    config = Config({"KernelManager": {"transport": "ipc", "ip": os.path.join(sockets.name, "kernel")}} if kernel == "python3" else {})
    client = NotebookClient(notebook, config=config, timeout=300, startup_timeout=180, kernel_name=kernel, resources={"metadata": {"path": folder}})
    figure_shown, failed = False, False
    with client.setup_kernel():
        for index, cell in enumerate(notebook.cells):
            if cell.cell_type != "code":
                continue
            claim = f"{name}: {cell.id}"
            if failed:
                checks.check(f"{claim} runs", False, "a cell before it failed")
                continue
            started = seconds_of(client)
            try:
                client.execute_cell(cell, index, execution_count=1 + sum(c.cell_type == "code" for c in notebook.cells[:index]))
            except CellExecutionError as error:
                failed = True
                checks.check(f"{claim} runs", False, f"{error.ename}: {error.evalue}")
                continue
            if kernel != "python3":
                take_late_outputs(client, cell, index, len(committed.cells[index].get("outputs", [])))
            seconds = seconds_of(client) - started
            tidy(cell)
            checks.check(f"{claim} runs", True)
            warned = [o.text for o in cell.outputs if o.output_type == "stream" and o.name == "stderr"]
            checks.check(f"{claim} warns of nothing", not warned, "".join(warned)[:200])
            size = len(json.dumps(cell.outputs))
            checks.check(f"{claim} has outputs below {SIZE:,} bytes", size < SIZE, f"{size:,} bytes")
            if not options.write:
                before = committed.cells[index]
                count = [len(pictures(each)) for each in (before, cell)]
                checks.check(f"{claim} shows as many pictures as are committed", count[0] == count[1], f"committed {count[0]}, found {count[1]}")
                if same_machine or "this-processor" not in cell.metadata.get("tags", []):
                    checks.check(f"{claim} prints what is committed", printed(before) == printed(cell), first_difference(printed(before), printed(cell)))
                    if kernel != "python3":
                        drawn = ["\n".join(pictures(each)) for each in (before, cell)]
                        checks.check(f"{claim} draws what is committed", drawn[0] == drawn[1], first_difference(*drawn)[:300])
            if not figure_shown and (figure_shown := len(pictures(cell)) > 0):
                checks.check(f"{name}: its first cell draws a figure within {SECONDS_TO_A_FIGURE} seconds", index <= 1 and seconds < SECONDS_TO_A_FIGURE, f"cell {index}, {seconds:.1f} s of processor time")
    text = json.dumps(notebook)
    checks.check(f"{name}: shows a figure", figure_shown)
    checks.check(f"{name}: names no path of a machine", folder not in text and "/home/" not in text and "/tmp/" not in text)
    size = len(nbformat.writes(notebook).encode())
    checks.check(f"{name}: is below {NOTEBOOK_SIZE:,} bytes", size < NOTEBOOK_SIZE, f"{size:,} bytes")
    if options.write and not failed:
        if any("this-processor" in cell.metadata.get("tags", []) for cell in notebook.cells):
            notebook.metadata.kvlens = {"machine": options.machine}
        nbformat.write(notebook, options.notebook)
    checks.finish()


if __name__ == "__main__":
    sys.exit(main())
