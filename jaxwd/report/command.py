"""`jaxwd report`: one HTML file of a folder of results."""

import pathlib
from dataclasses import dataclass

from tyro.conf import Positional

from jaxwd.flags import guarded, parse


@dataclass(frozen=True)
class ReportWords:
    """Write the report of a folder of results: one HTML file that opens offline."""

    runs: Positional[pathlib.Path]
    """A folder that an experiment or a sweep wrote, such as runs/article."""
    out: pathlib.Path | None = None
    """The file to write; default RUNS/report.html."""
    figures: bool = False
    """Write the figures too, as PNG and SVG, into a folder `figures` beside it."""
    open: bool = False
    """Open it in the browser."""


def command(words: list[str]) -> int:
    """Write the report of a folder of results."""

    def report() -> None:
        given = parse(ReportWords, "jaxwd report", "", words)
        from jaxwd.report.folder import open_runs
        from jaxwd.report.html import write_html
        from jaxwd.report.paper import write_figures

        found = open_runs(given.runs)
        out = given.out or given.runs / "report.html"
        more = {"mask": found.mask, "title": found.title, "about": found.about}
        page = write_html(found.study, found.runs, out, **more)
        print(f"{page} ({page.stat().st_size / 1e6:.1f} MB)")
        if given.figures:
            for path in write_figures(found.study, found.runs, page.parent / "figures"):
                print(path)
        if given.open:
            import webbrowser

            webbrowser.open(page.resolve().as_uri())

    return guarded(report)
