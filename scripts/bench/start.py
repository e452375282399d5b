"""How long until the command answers, and what does `import jaxwd` cost?

python scripts/bench/start.py
"""

import statistics
import subprocess
import sys
import time

RUNS = 11
COMMANDS = {
    "jaxwd --help": ["-m", "jaxwd", "--help"],
    "jaxwd run article --help": ["-m", "jaxwd", "run", "article", "--help"],
    "import jaxwd": ["-c", "import jaxwd"],
    "import jaxwd as wd; wd.optimizer, wd.decoupled": [
        "-c",
        "import jaxwd as wd; wd.optimizer, wd.decoupled",
    ],
    "import jax, optax": ["-c", "import jax, optax"],
}


def main():
    took = {name: [] for name in COMMANDS}
    for _ in range(RUNS):
        for name, words in COMMANDS.items():
            start = time.perf_counter()
            subprocess.run([sys.executable, *words], check=True, capture_output=True)
            took[name].append(time.perf_counter() - start)
    base = took["import jax, optax"]
    print("| command | seconds, median | min–max | ÷ import jax, optax, same round |")
    print("| :-- | --: | --: | --: |")
    for name, seconds in took.items():
        ratio = statistics.median(a / b for a, b in zip(seconds, base, strict=True))
        print(
            f"| `{name}` | {statistics.median(seconds):.2f} | "
            f"{min(seconds):.2f}–{max(seconds):.2f} | {ratio:.2f} |"
        )
    print(f"\nWhole processes, {RUNS} rounds, Python {sys.version.split()[0]}")


if __name__ == "__main__":
    main()
