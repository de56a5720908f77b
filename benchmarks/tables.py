"""What `run.py` measured as markdown and as plain text, with the machine and the versions that it was measured with."""

import datetime
import importlib.metadata
import os
import platform
import statistics
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from contestants import CONTESTANTS
from tasks import TASKS

BASE = "tight"  # whom the others are compared with
README = Path(__file__).resolve().parent / "README.md"
BEGIN, END = "<!-- {}: written by --write -->", "<!-- end of {} -->"
PACKAGES = ("torch", "numpy", "keras", "jax", "lightning", "skorch", "poutyne", "pytorch-ignite")


@dataclass
class Result:
    """What was measured of a contestant at a task: a figure for each round, or why there is none."""

    steps: list[float] = field(default_factory=list)  # seconds
    ratios: list[float] = field(default_factory=list)  # to the tight loop of the round
    processors: list[float] = field(default_factory=list)
    warm: float = 0.0  # seconds
    absent: str | None = None
    warnings: list[str] = field(default_factory=list)


Row = Mapping[str, Result]  # by contestant


def setting() -> str:
    """Return the day, the machine and the versions."""
    versions = [f"Python {platform.python_version()}"]
    for package in PACKAGES:
        try:
            versions.append(f"{package} {importlib.metadata.version(package)}")
        except importlib.metadata.PackageNotFoundError:
            continue
    machine = f"{processor()}, {os.cpu_count()} cores, {system()}"
    return f"{datetime.date.today()}; {machine}; {', '.join(versions)}."


def processor() -> str:
    """Return the model of the processor."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def system() -> str:
    """Return the operating system with its version."""
    try:
        name = platform.freedesktop_os_release()["PRETTY_NAME"]
    except (OSError, KeyError):
        name = platform.platform(terse=True)
    return f"{name} (kernel {platform.release()})"


def ratio(result: Result | None, bar: float | None = None) -> str:
    """Return the median ratio of a contestant, with its bar, and in bold where it misses that."""
    if result is None or not result.ratios:
        return "-"
    found = statistics.median(result.ratios)
    text = f"{found:.2f}" if found < 10 else f"{found:.0f}"
    if bar is None:
        return text
    return f"**{text}** ({bar:.2f})" if round(found, 2) > bar else f"{text} ({bar:.2f})"


def bars_of(task: str) -> dict[str, float | None]:
    """Return the bars of a task by contestant."""
    return {"eager": TASKS[task].bar, "compiled": TASKS[task].compiled_bar}


def cells(task: str, results: Row, columns: Iterable[str], with_bars: bool) -> list[str]:
    """Return a row of the table of ratios."""
    bars = bars_of(task) if with_bars else {}
    tight = results[BASE].steps
    first = f"{statistics.median(tight) * 1e6:.0f} µs ± {spread(tight):.0%}" if tight else "-"
    return [task, first, *(ratio(results.get(name), bars.get(name)) for name in columns)]


def spread(values: list[float]) -> float:
    """Return half the distance between the quartiles, as a part of the median."""
    if len(values) < 2:
        return 0.0
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return (high - low) / 2 / middle


def columns_of(measured: Mapping[str, Row]) -> list[str]:
    """Return the contestants that have a figure for some task, in order, but for the tight loop."""
    return [name for name in CONTESTANTS if name != BASE and any(name in row and row[name].ratios for row in measured.values())]


def tables(device: str, measured: Mapping[str, Row]) -> str:
    """Return the ratios, the warm-up in seconds, and what is to be said of them."""
    columns = columns_of(measured)
    titles = [CONTESTANTS[name].title for name in columns]
    with_bars = device == "cpu"
    ratios = [cells(task, results, columns, with_bars) for task, results in measured.items()]
    bars = " In brackets the bar; a figure above it is bold." if with_bars else ""
    parts = [
        f"Time of a step on the {dict(cpu='CPU', cuda='GPU')[device]} as a ratio to the tight loop, whose own is given.{bars}",
        markdown(["task", "tight loop", *titles], ratios),
        *([missed(measured)] if with_bars else []),
        "Warming up, in seconds:",
        markdown(["task", "tight loop", *titles], [warm_cells(task, results, columns) for task, results in measured.items()]),
        *remarks(measured),
    ]
    return "\n\n".join(parts)


def missed(measured: Mapping[str, Row]) -> str:
    """Return which bars are missed, and in how many of the rounds."""
    said = []
    for task, results in measured.items():
        for name, bar in bars_of(task).items():
            found = results[name].ratios if name in results else []
            if found and bar is not None and round(statistics.median(found), 2) > bar:
                above = sum(ratio > bar for ratio in found)
                said.append(f"{CONTESTANTS[name].title} at {task} (above {bar:.2f} in {above} of {len(found)} rounds)")
    return f"Bars missed: {'; '.join(said)}." if said else "No bar is missed."


def warm_cells(task: str, results: Row, columns: Iterable[str]) -> list[str]:
    """Return a row of the table of warm-ups."""
    return [task, *(f"{results[name].warm:.1f}" if name in results and results[name].ratios else "-" for name in [BASE, *columns])]


def remarks(measured: Mapping[str, Row]) -> list[str]:
    """Return what is to be said of the figures: who failed, who was warned, and who had more or less than one processor."""
    failed: dict[str, list[str]] = {}
    for task, results in measured.items():
        for name, result in results.items():
            title = CONTESTANTS[name].title
            if result.absent is not None and result.absent != "no idiom for this task":
                failed.setdefault(f"{title}: {result.absent}", []).append(task)
            for warning in (text for text in result.warnings if "jit_compile" in text):
                failed.setdefault(f"{title} warned: {warning}", []).append(task)
    said = [f"- {text} ({', '.join(tasks)})" for text, tasks in failed.items()]
    shares = {name: [share for row in measured.values() if name in row for share in row[name].processors] for name in CONTESTANTS}
    medians = {name: statistics.median(found) for name, found in shares.items() if found}
    said += [f"- {CONTESTANTS[name].title} used {share:.2f} processors." for name, share in medians.items() if share > 1.05]
    if medians.get(BASE, 1.0) < 0.97:
        said.append(f"- The machine was busy: the tight loop had {medians[BASE]:.2f} of a processor.")
    return ["\n".join(said)] if said else []


def markdown(titles: list[str], rows: list[list[str]]) -> str:
    """Return a table as markdown."""
    lines = [titles, ["---"] * len(titles), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def plain(text: str) -> str:
    """Return markdown with the columns of its tables aligned, as a terminal shows them best."""
    out: list[str] = []
    table: list[list[str]] = []
    for line in [*text.replace("**", "*").splitlines(), ""]:
        if line.startswith("|"):
            if not line.startswith("| ---"):
                table.append(line[2:-2].split(" | "))
            continue
        if table:
            widths = [max(map(len, column)) for column in zip(*table, strict=True)]
            out += ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in table]
            table = []
        out.append(line)
    return "\n".join(out).rstrip()


def line(device: str, task: str, results: Row) -> str:
    """Return what is said of a task as soon as it is measured."""
    found = [f"{name} {ratio(result)}" for name, result in results.items() if name != BASE]
    return f"{device} {cells(task, results, [], False)[1]:>14} {task}: {', '.join(found)}"


def write(section: str, text: str, page: Path = README) -> None:
    """Put results between the two marks of their section in a page."""
    begin, end = BEGIN.format(section), END.format(section)
    before, found, rest = page.read_text().partition(begin)
    _, closed, after = rest.partition(end)
    if not (found and closed):
        raise RuntimeError(f"{page} has no {begin} ... {end}.")
    page.write_text(f"{before}{begin}\n\n{text}\n\n{end}{after}")
