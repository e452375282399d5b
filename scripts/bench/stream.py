"""How many examples a second does a stream give, and what does streaming cost a training?

    python scripts/bench/stream.py --write experiments/results/bench_stream.md

Reading alone: batches of 128 stacked into pieces, nothing trained, by source, threads
and bytes of a piece. Training: the same recipe in memory and streamed, in turns, with
programs compiled before; examples a second within the epochs, evaluation left out.
The .npy files, the pictures and the array_record file are made of the images in the
package and lie in the page cache: what a disk adds is not measured.
"""

import argparse
import itertools
import pathlib
import statistics
import sys
import tempfile
import time
from typing import Any

sys.path.insert(0, str(pathlib.Path(__file__).parents[2]))

import numpy as np

import jaxwd as wd
from jaxwd.data.formats import png
from jaxwd.lab.provenance import provenance
from jaxwd.training.streaming.feed import Feed, Reading

QUESTION = (__doc__ or "").splitlines()[0]
BATCH = 128
THREADS = (0, 1, 2, 4, 8)
PIECES = {"one step": 1, "1 MB": 2**20, "64 MB": 2**26}
RECIPES = {
    "perceptron 784-64-10, batch 128": wd.Recipe(
        model="mlp", model_options=(("hidden", (64,)),), batch_size=BATCH, epochs=2
    ),
    "CNN of the study, batch 128": wd.Recipe(
        train_examples=2048, batch_size=BATCH, epochs=1
    ),
}


def sources(folder, data):
    """Write the same images in each form; return name → stream."""
    for part in ("train", "validation", "test"):
        split = getattr(data, part)
        np.save(folder / f"{part}_inputs.npy", split.inputs)
        np.save(folder / f"{part}_targets.npy", split.targets)
        write_records(folder / f"{part}.array_record", split)
        few = slice(0, 2048)
        write_pictures(
            folder / "pictures" / part, split.inputs[few], split.targets[few]
        )
    return {
        "arrays in memory": wd.stream(data),
        ".npy": wd.stream(f"npy:{folder}"),
        "array_record of PNG": wd.stream(f"array_record:{folder}"),
        "PNG files": wd.stream(
            f"folder:{folder}/pictures", image_size=28, grayscale=True
        ),
    }


def write_records(path, split):
    from array_record.python.array_record_module import ArrayRecordWriter
    from tensorflow_datasets.proto import tf_example_pb2

    Example: Any = vars(tf_example_pb2)["Example"]  # made when it is imported

    writer = ArrayRecordWriter(str(path), "group_size:1")
    for image, label in zip(split.inputs, split.targets, strict=True):
        example = Example()
        example.features.feature["image"].bytes_list.value.append(png(image))
        example.features.feature["label"].int64_list.value.append(int(label))
        writer.write(example.SerializeToString())
    writer.close()


def write_pictures(folder, images, labels):
    for i, (image, label) in enumerate(zip(images, labels, strict=True)):
        path = folder / str(label) / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png(image))


def reading_rate(source, threads, piece_bytes):
    """Return examples a second of a feed over one epoch."""
    rng = np.random.default_rng(0)
    steps = len(source) // BATCH
    length = max(1, piece_bytes // (BATCH * 784))
    reading = Reading(0, 1, threads, piece_bytes)
    feed = Feed(
        source, lambda _: rng.permutation(len(source)), BATCH, steps, 1, reading, None
    )
    began = time.perf_counter()
    for start in range(0, steps, length):
        feed.take(min(length, steps - start))
    seconds = time.perf_counter() - began
    feed.close()
    return steps * BATCH / seconds


def shown(rates):
    middle = statistics.median(rates)
    return f"{middle:,.0f} ({min(rates):,.0f}–{max(rates):,.0f})"


def main():
    parser = argparse.ArgumentParser(description=QUESTION)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--write", type=pathlib.Path)
    given = parser.parse_args()
    lines = []

    def say(line):
        lines.append(line)
        print(line, flush=True)

    data = wd.load("fashion_mnist_12k")
    with tempfile.TemporaryDirectory() as folder:
        streams = sources(pathlib.Path(folder), data)
        heads = " | ".join(f"{t} threads" for t in THREADS)
        say(f"| source, pieces of 1 MB | {heads} |")
        say("| :-- " + "| --: " * len(THREADS) + "|")
        for name, stream in streams.items():
            rates = {t: [] for t in THREADS}
            for _, t in itertools.product(range(given.rounds), THREADS):
                rates[t].append(reading_rate(stream.train, t, 2**20))
            say(f"| {name} | " + " | ".join(shown(r) for r in rates.values()) + " |")
        say("")
        say(
            "| source, 2 threads | "
            + " | ".join(f"pieces of {p}" for p in PIECES)
            + " |"
        )
        say("| :-- " + "| --: " * len(PIECES) + "|")
        for name, stream in streams.items():
            rates = {p: [] for p in PIECES}
            for _, p in itertools.product(range(given.rounds), PIECES):
                rates[p].append(reading_rate(stream.train, 2, PIECES[p]))
            say(f"| {name} | " + " | ".join(shown(r) for r in rates.values()) + " |")
        say("")
        names = ["in memory", *(f"streamed, {name}" for name in streams)]
        say("| training | " + " | ".join(names) + " |")
        say("| :-- " + "| --: " * len(names) + "|")
        for name, recipe in RECIPES.items():
            how = {"in memory": lambda r: wd.run(r, data)} | {
                n: lambda r, s=s: wd.run_streamed(r, s) for n, s in streams.items()
            }
            if recipe.train_examples is None:
                del how["PNG files"]  # fewer examples: another program
            for train in how.values():
                train(recipe)  # compiles
            rates = {n: [] for n in how}
            for _, n in itertools.product(range(given.rounds), how):
                rates[n].append(how[n](recipe).images_per_second)
            cells = [shown(r) for r in rates.values()]
            cells += ["–"] * (len(names) - len(cells))
            say(f"| {name} | " + " | ".join(cells) + " |")
    about = provenance()
    versions = ", ".join(f"{k} {v}" for k, v in about["versions"].items() if v)
    text = "\n".join(
        [
            f"# {QUESTION}",
            "",
            "Examples a second: median (min–max).",
            "",
            *lines,
            "",
            f"{given.rounds} rounds in turns; Python {about['python']}, "
            f"{about['processor']}, {about['cores']} cores, {versions}, {about['time']}. "
            "`python scripts/bench/stream.py`",
            "",
        ]
    )
    if given.write:
        given.write.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
