"""The time of a training step and of predicting: this library against hand-written loops and peers, each in its own process.

The contestants take turns: in each round every one does the task once, on one thread, while the others wait. Its time is
compared with that of the tight loop in the same round. A table gives the medians over the rounds, and another the seconds
that warming up took, which is making the model and doing the task three times, with whatever is compiled for it.

    python benchmarks/run.py --rounds 7 --only dense-64 predict-32 --contestants eager compiled
    python benchmarks/run.py --rounds 9 --write                  # puts the tables into benchmarks/README.md
"""

import argparse
import subprocess
import sys

import tables
from contestants import CONTESTANTS
from process import HERE, Process, environment
from tables import BASE, Result
from tasks import TASKS


def measure(task: str, names: list[str], device: str, rounds: int, length: float, clock: str) -> dict[str, Result]:
    """Return what was measured of each contestant at a task, by the clock on the wall or that of the processor."""
    processes, results = {}, {name: Result() for name in names}
    try:
        for name in names:  # they import side by side, and nothing is timed before all have
            processes[name] = Process(name, task, device)
        for name in names:
            processes[name].answer()
        for name in names:
            found = processes[name].order("prepare", length)
            results[name].warm, results[name].warnings = found.get("warm", 0.0), found.get("warnings", [])
        for number in range(rounds):
            start = number % len(names)  # whoever comes first finds other caches, so the order goes round
            turns = {name: processes[name].order("turn") for name in names[start:] + names[:start]}
            for name, found in turns.items():
                if "wall" in found and "wall" in turns[BASE]:
                    results[name].steps.append(found[clock])
                    results[name].ratios.append(found[clock] / turns[BASE][clock])
                    results[name].processors.append(found["processor"] / found["wall"])
        for name in names:
            results[name].absent = processes[name].absent
    finally:
        for process in processes.values():
            process.end()
    return results


def with_gpu() -> bool:
    """Whether torch sees a CUDA device. Another process looks, since this one is to stay small."""
    program = "import torch; print(torch.cuda.is_available())"
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=300).stdout.strip() == "True"


def options_of(arguments: list[str] | None) -> argparse.Namespace:
    """Return what was asked for on the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7, help="turns of each (default: 7)")
    parser.add_argument("--seconds", type=float, default=0.25, help="length of a turn (default: 0.25)")
    parser.add_argument("--only", nargs="+", choices=TASKS, metavar="TASK", help=f"of {', '.join(TASKS)} (default: all)")
    parser.add_argument("--contestants", nargs="+", choices=CONTESTANTS, metavar="NAME", help=f"of {', '.join(CONTESTANTS)} (default: all)")
    parser.add_argument("--clock", choices=("wall", "processor"), default="wall", help="processor: for a busy machine (default: wall)")
    parser.add_argument("--devices", nargs="+", choices=("cpu", "cuda"), help="(default: cpu, and cuda where there is one)")
    parser.add_argument("--markdown", action="store_true", help="print the tables as markdown")
    parser.add_argument("--write", action="store_true", help="write the tables into README.md")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> dict[str, dict[str, dict[str, Result]]]:
    """Print the tables, and return what was measured by device, task and contestant."""
    options = options_of(arguments)
    wanted = [name for name in CONTESTANTS if name == BASE or name in (options.contestants or CONTESTANTS)]
    names = [name for name in wanted if not CONTESTANTS[name].missing]
    texts = [f"{tables.setting()} {options.rounds} rounds with turns of {options.seconds:g} seconds, one thread each."]
    if options.clock == "processor":
        texts.append("Measured in time of the processor, of all threads together, since the machine was not quiet.")
    if left_out := [CONTESTANTS[name].title for name in wanted if name not in names]:
        texts.append(f"Left out, since not installed: {', '.join(left_out)}.")
    measured: dict[str, dict[str, dict[str, Result]]] = {}
    for device in options.devices or ["cpu", *(["cuda"] if with_gpu() else [])]:
        measured[device] = {}
        for task in options.only or TASKS:
            measured[device][task] = measure(task, names, device, options.rounds, options.seconds, options.clock)
            print(tables.line(device, task, measured[device][task]), file=sys.stderr, flush=True)
        texts.append(tables.tables(device, measured[device]))
    if "cuda" in measured:
        texts.append(gpu_figures())
    text = "\n\n".join(texts)
    if options.write:
        tables.write("times", text)
    print(text if options.markdown else tables.plain(text))
    return measured


def gpu_figures() -> str:
    """Return what `gpu.py` prints, which a process of its own measures."""
    command = [sys.executable, str(HERE / "gpu.py")]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=900, env=environment("cuda", {}))
    except subprocess.TimeoutExpired:
        return "gpu.py was not done after 15 minutes."
    return f"{done.stdout}\n{done.stderr[-500:] if done.returncode else ''}".strip()


if __name__ == "__main__":
    main()
