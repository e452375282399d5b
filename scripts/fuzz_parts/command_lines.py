"""Command lines as nobody should type them, for every command."""

import dataclasses
import typing
from collections.abc import Sequence

from hypothesis import strategies as st

from jaxwd.cli import DataWords
from jaxwd.data.registry import PREPARED
from jaxwd.flags import Flags
from jaxwd.guide.commands import ConvertWords, RecommendWords
from jaxwd.lab.compare_command import CompareWords
from jaxwd.lab.ledger.command import ExportWords, MergeWords
from jaxwd.lab.sweep import SweepFlags
from jaxwd.probe.command import ExplainFlags
from jaxwd.report.command import ReportWords
from jaxwd.train.flags import TrainFlags

ODD = (
    *("", " ", "-", "--", "0", "-1", "1", "2", "7", "nan", "inf", "-inf", "1e400"),
    *("1e-300", "0.5", "99999999999999999999", "1_0", "0x10", "True", "None", "[]"),
    *("[/]", "[bold]", "[/b]x", "{}", "%s", "..", "../..", "/", "/dev/null", "~", "*"),
    *("a\nb", "\x1b[31m", "é", "λ", "𝛌", "\u202e", "\udcff", "<script>", "'", '"'),
    *("x" * 300, "a/" * 40, "C:\\", "out", "file", "empty", "ledger", "images", "runs"),
    *("folder:images", "folder:empty", "folder:file", "folder:", "folder:..", "tfds:"),
    *("folder:[/]", "folder:\udcff", "tfds:../x", "tfds:nothing", "tfds:mnist:9.9.9"),
    *(
        "digits",
        "friedman",
        "diabetes",
        "mine.py",
        "broken.py",
        "empty.py",
        "raises.py",
    ),
    *(
        "npy:images",
        "array_record:file",
        "decay.strength=0.1",
        "model_options.hidden=[4]",
    ),
    *("learning_rate=nan", "seed={}", "x=1", "dataset=", "decay.where=[", "a=b=c"),
    *("article", "optimizers", "lr_by_lambda", "conventions", "torch.AdamW", "paper"),
    *("cosine", "linear", "constant", "adam", "sgd", "muon", "mlp", "cnn", "he"),
    *("penalized", "coupled", "decoupled", "proximal", "cautious", "l1", "global_norm"),
    *("single", "pmap", "sharded", "loop", "vmap", "auto", "grid", "sobol", "loss"),
    *("lr", "schedule", "corrected", "lr_squared", "mean", "exact", "cpu", "gpu"),
)
"""Values in and out of place; some are names of what lies in the folder."""

ELSEWHERE = ("..", "../..", "/", "/dev/null", "~", "folder:..")
TINY = ("--dataset", "digits", "--model", "mlp", "--epochs", "1")


INTEGERS = ("-1", "0", "1", "2", "7", "33", "60", str(2**31), str(2**64), "9" * 30)
FLOATS = (
    *("-1", "0", "1e-300", "1e-8", "0.001", "0.1", "0.5", "1", "30", "1e38", "1e300"),
    *("nan", "inf", "-inf", "1e400", "-0.0"),
)


def flags_of(kind: type) -> list[st.SearchStrategy]:
    """Return for every flag of a dataclass what may be typed: the flag and its values."""
    hints = typing.get_type_hints(kind)
    return [
        _flag(field.name, str(hints[field.name]))
        for field in dataclasses.fields(kind)
        if field.name != "open"  # a browser
    ]


def _flag(name: str, hint: str) -> st.SearchStrategy:
    flag = "--" + name.replace("_", "-")
    if "bool" in hint:
        return st.sampled_from([(flag,), ("--no-" + flag[2:],)])
    values = odd = ODD
    if "Path" in hint or name.endswith("_dir"):
        # Whoever names another folder for the output wants it there.
        values = odd = [x for x in ODD if x not in ELSEWHERE]
    elif "int" in hint:
        values = INTEGERS
    elif "float" in hint:
        values = FLOATS
    # Mostly what the parser takes, so that what stands behind it is reached.
    usual = st.sampled_from(values).map(lambda value: (flag, value))
    return st.one_of(
        *[usual] * 9, st.sampled_from(odd).map(lambda value: (flag, value))
    )


def _line(*fixed: str, flags: Sequence = (), most: int = 4) -> st.SearchStrategy:
    """Return command lines: the words that are fixed, then a few flags."""
    strange = st.sampled_from([("--help",), ("--nothing",), ("-x",), ("",), ("λ", "1")])
    part = st.one_of(*flags, *flags, strange) if flags else strange
    few = st.lists(part, max_size=most)
    return few.map(lambda parts: [*fixed, *(word for part in parts for word in part)])


def _odd(*fixed: str, flags: Sequence = ()) -> st.SearchStrategy:
    """Return command lines with a few odd words behind the fixed ones."""
    odd = st.lists(st.sampled_from(ODD), max_size=3)
    return st.tuples(odd, _line(flags=flags)).map(lambda x: [*fixed, *x[0], *x[1]])


def _experiment(command: str, *kinds: type) -> st.SearchStrategy:
    flags = [flag for kind in kinds for flag in flags_of(kind)]
    name = st.sampled_from(EXPERIMENTS)
    return name.flatmap(lambda name: _line(command, name, *TINY, flags=flags))


EXPERIMENTS = (
    *("article", "mine.py", "mine.py", "optimizers", "lr_by_lambda", "lambda_by_task"),
    *("broken.py", "empty.py", "raises.py"),
)
KNOWN = ("--dataset-size", "1000", "--batch-size", "32", "--epochs", "5")
COMMANDS: dict[str, st.SearchStrategy] = {
    "anything": st.lists(st.sampled_from(ODD), max_size=4),
    "list": _odd("list"),
    "data": st.sampled_from([x for x in ODD if x not in PREPARED]).flatmap(
        lambda name: _line("data", name, flags=flags_of(DataWords)[1:])
    ),
    "report": _odd("report", flags=flags_of(ReportWords)[1:]),
    "show": _odd("ledger", "show"),
    "export": _odd("ledger", "export", "ledger", flags=flags_of(ExportWords)[1:]),
    "merge": _odd("ledger", "merge", "out", "ledger", flags=flags_of(MergeWords)[2:]),
    "convert": _line(
        *("convert", "0.1", "--source", "torch.AdamW", "--target", "paper"),
        flags=flags_of(ConvertWords)[1:],
    ),
    "recommend": _line(
        *("recommend", *KNOWN, "--learning-rate", "0.001"),
        flags=flags_of(RecommendWords),
    ),
    "explain": _line("explain", *TINY, flags=flags_of(ExplainFlags), most=3),
    "run": _experiment("run", Flags),
    "sweep": _experiment("sweep", SweepFlags),
    "compare": _experiment("compare", Flags, CompareWords),
    "train": _line("train", *TINY, flags=flags_of(TrainFlags), most=3),
}
"""Command → its command lines."""
