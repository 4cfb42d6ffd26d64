"""Put the results of a run into the documentation: the page, its plots and the figures behind them."""

from pathlib import Path

from benchmarks import plots, report
from benchmarks.figures import Results

PAGE = "benchmarks.md"
FOLDER = "benchmarks"
FIGURES = "figures.json"
# Everything below this line of the page is replaced.
MARKER = "<!-- What follows is written by `make bench-long`: change it there. -->"


def publish(folder: Path, results: Results, header: str, document: str) -> None:
    """Replace the results on the page of the documentation, and the files that it refers to.

    Args:
        folder: Where the page is.
        results: What was measured.
        header: What the figures depend on.
        document: The JSON text of the whole run.

    Raises:
        ValueError: If the page has no line that says where the results begin.
    """
    page = folder / PAGE
    prose, found, _ = page.read_text().partition(MARKER)
    if not found:
        raise ValueError(f"{page} has no line {MARKER!r}, below which the results go")
    drawn = plots.write(results, folder / FOLDER)
    (folder / FOLDER / FIGURES).write_text(f"{document}\n")
    shown = report.text(results, {name: f"{FOLDER}/{file}" for name, file in drawn.items()})
    link = f"Every figure of every round: [{FIGURES}]({FOLDER}/{FIGURES})."
    page.write_text(f"{prose}{MARKER}\n\n## Results\n\n{header}\n{link}\n\n{shown}")
