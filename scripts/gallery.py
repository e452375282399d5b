"""Draw the gallery: one picture a scheme and their page.

python scripts/gallery.py                          # experiments/results/gallery/
python scripts/gallery.py cautious --out /tmp/one  # one picture, no page
"""

import argparse
import pathlib

from gallery_parts.figure import draw
from gallery_parts.page import OUT, page
from gallery_parts.rows import ROWS
from gallery_parts.runs import paths


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    names = [row.name for row in ROWS]
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(names))
    parser.add_argument("--out", type=pathlib.Path, default=OUT, help="folder")
    given = parser.parse_args(arguments)
    if wrong := set(given.names) - set(names):
        parser.error(
            f"no picture is named {', '.join(sorted(wrong))}; choose from: "
            f"{', '.join(names)}"
        )
    for row in ROWS:
        if not given.names or row.name in given.names:
            print(draw(row, given.out / row.file))
    if not given.names:
        results = {row.name: paths(row.call, row.layout, row.plane) for row in ROWS}
        (given.out / "README.md").write_text(page(results))
        print(given.out / "README.md")


if __name__ == "__main__":
    main()
