"""Kill a causal training at random moments, let it go on, and lay its loss curve beside an undisturbed one.

    python -m benchmarks.training_kills --out DIR [--kills 10] [--corpus FILE] [--model NAME] [--papers N] [OPTION...]

Without --model, a LLaMA of two layers and random weights is trained on made-up papers, which takes minutes; with
--processes N by torchrun. Prints a Markdown table: each kill, the seconds after which it fell, and the last whole
checkpoint then; then the largest difference between the two curves. Exit code 1 if it is not 0.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil

from benchmarks.training_tiny import write_tiny

ROOT = Path(__file__).resolve().parent.parent


def main() -> None:
    """The whole proof."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--corpus", type=Path)
    parser.add_argument("--model")
    parser.add_argument("--papers", type=int, default=400)
    parser.add_argument("--processes", type=int, default=1)
    arguments, more = parser.parse_known_args()
    folder = arguments.out
    folder.mkdir(parents=True, exist_ok=True)
    if arguments.model is None:
        arguments.model, arguments.corpus = write_tiny(folder, n_papers=arguments.papers)
        more = ["--context", "64", "--token-budget", "256", "--epochs", "2", "--learning-rate", "0.003", *more]
    several = ["-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={arguments.processes}"]
    command = [
        sys.executable, *(several if arguments.processes > 1 else []), "-m", "embedsearch", "finetune",
        str(arguments.corpus), "--objective", "causal", "--model", str(arguments.model),
        "--sample", str(arguments.papers), "--checkpoint-minutes", "0", *more,
    ]  # fmt: skip
    began = time.monotonic()
    subprocess.run([*command, "--out", str(folder / "undisturbed")], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    seconds = time.monotonic() - began
    rows = kill_and_go_on([*command, "--out", str(folder / "killed")], arguments, seconds)
    print("| kill | after s | last whole checkpoint |\n|---|---|---|")
    for row in rows:
        print("| " + " | ".join(map(str, row)) + " |")
    report(folder)


def kill_and_go_on(command: list[str], arguments: argparse.Namespace, seconds: float) -> list[tuple[int, float, str]]:
    """SIGKILL the command `kills` times, each time once it has begun to train, then let it finish."""
    draw = random.Random(arguments.seed)
    out = Path(command[command.index("--out") + 1])
    checkpoints = out.with_name(f".{out.name}.training") / "checkpoints"
    rows: list[tuple[int, float, str]] = []
    while len(rows) < arguments.kills:
        seen = steps_in(checkpoints)
        process = subprocess.Popen(
            command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
        )
        began = time.monotonic()
        # As soon as a step is new, or in the midst of what comes before: one in four
        early = draw.random() < 0.25
        while process.poll() is None and not early and steps_in(checkpoints) == seen:
            time.sleep(0.02)
        time.sleep(draw.uniform(0, min(1.0, seconds / arguments.kills / 4)))
        if process.poll() is not None:
            break
        for each in [*psutil.Process(process.pid).children(recursive=True), process]:
            each.kill()
        process.wait()
        latest = max(steps_in(checkpoints), default=0)
        rows.append((len(rows) + 1, round(time.monotonic() - began, 1), f"step {latest}" if latest else "none yet"))
    if not out.exists():
        subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    return rows


def steps_in(checkpoints: Path) -> set[int]:
    """The steps of the whole checkpoints."""
    return {int(path.parent.name.split("-")[1]) for path in checkpoints.glob("checkpoint-*/whole.json")}


def report(folder: Path) -> None:
    """Both curves, and the largest difference."""
    curves = [losses(folder / name) for name in ("undisturbed", "killed")]
    largest = 0.0
    print("\n| step | undisturbed | killed |\n|---|---|---|")
    steps = sorted(set(curves[0]) | set(curves[1]))
    for i, step in enumerate(steps):
        pair = [curve.get(step, float("inf")) for curve in curves]
        largest = max(largest, abs(pair[0] - pair[1]))
        if i % max(1, len(steps) // 10) == 0 or i == len(steps) - 1:
            print(f"| {step} | {pair[0]:.6f} | {pair[1]:.6f} |")
    print(f"\nLargest difference over {len(steps)} steps: {largest}")
    same = [(folder / name / "model.safetensors").read_bytes() for name in ("undisturbed", "killed")]
    print(f"The same weights, byte for byte: {'yes' if same[0] == same[1] else 'no'}")
    sys.exit(int(largest != 0))


def losses(out: Path) -> dict[int, float]:
    """The training loss by step."""
    made: dict[str, Any] = json.loads((out / "training.json").read_bytes())
    return {point["step"]: point["train"] for point in made["losses"] if point["train"] is not None}


if __name__ == "__main__":
    main()
