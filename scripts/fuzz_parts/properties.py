"""What no input may do, whatever it is: one property a way in.

No traceback, errors of one line with a documented exit code, nothing written outside
the output and the cache folder. Hypothesis draws the inputs; `scripts/fuzz` lets
atheris steer the same properties by the code they reach.
"""

import contextlib
import gzip
import io
import os
import pathlib
import shutil
import tempfile
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

from fuzz_parts import samples
from fuzz_parts.command_lines import COMMANDS
from fuzz_parts.damage import JSON, damaged
from fuzz_parts.sandbox import listing, watched
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

import jaxwd as wd
from jaxwd import cli
from jaxwd.errors import InputError
from jaxwd.lab.ledger.values import clean, packed, seal

CODES = (0, 1, 2, 130)
BASE = settings(
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.explicit, Phase.generate, Phase.shrink],
    suppress_health_check=[*HealthCheck],  # type: ignore[arg-type]
)
TRAINS = (
    *("jaxwd.lab.study.run_study", "jaxwd.lab.compare_run.compare"),
    *("jaxwd.lab.engines.run_many", "jaxwd.lab.engines.halving"),
)


@contextlib.contextmanager
def folder() -> Iterator[pathlib.Path]:
    """Work in a new folder, under a watch, with a cache of its own."""
    before = pathlib.Path.cwd()
    root = pathlib.Path(tempfile.mkdtemp(prefix="jaxwd-"))
    work = root / "work"
    work.mkdir()
    os.chdir(work)
    own = {
        "JAXWD_CACHE": str(root / "cache"),
        "TFDS_DATA_DIR": str(root / "tfds"),
        "MPLCONFIGDIR": str(root / "matplotlib"),
        "JAXWD_COMPILATION_CACHE": "0",  # a setting of the whole process
        "JAXWD_TRACEBACK": "1",  # so that what nobody foresaw is seen here
    }
    try:
        programs = os.environ.get("JAX_COMPILATION_CACHE_DIR", root)
        with mock.patch.dict(os.environ, own), watched(root, programs):
            yield work
    finally:
        os.chdir(before)
        shutil.rmtree(root)


def called(words: list[str]) -> tuple[int, str]:
    """Return exit code and what the command said on the standard error."""
    out = io.TextIOWrapper(io.BytesIO(), "utf-8", "strict")
    err = io.TextIOWrapper(io.BytesIO(), "utf-8", "backslashreplace")
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code: Any = cli.main(words)
        except SystemExit as ended:  # help, and what the parser refuses
            code = ended.code
    out.flush()
    err.flush()
    said = err.buffer.getvalue().decode()  # type: ignore[attr-defined]
    assert code in CODES, (words, code, said)
    if said.startswith("error: "):
        assert code in (1, 2), (words, code, said)
        assert len(said.splitlines()) == 1, (words, said)
    return code, said


def furnished(work: pathlib.Path) -> None:
    """Put into a folder what the command lines name."""
    (work / "file").write_text("x")
    (work / "empty").mkdir()
    (work / "empty.py").write_text("")
    (work / "mine.py").write_text(samples.MINE)
    for name in ("ledger", "runs/ledger.sqlite"):
        (work / name).parent.mkdir(exist_ok=True)
        (work / name).write_bytes(samples.ledger_bytes())
    for i in range(8):
        path = work / "images" / "ab"[i % 2] / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(samples.picture_bytes("png"))


def interrupted(*_: object, **__: object) -> None:
    raise KeyboardInterrupt  # as if somebody pressed Ctrl-C when training begins


def _command(lines: st.SearchStrategy) -> Callable[[], None]:
    @settings(BASE, max_examples=20)
    @given(lines)
    def check(words: list[str]) -> None:
        with folder() as work, contextlib.ExitStack() as stack:
            furnished(work)
            for name in TRAINS:
                stack.enter_context(mock.patch(name, interrupted))
            named = [work / word for word in ("images", "mine.py", "ledger")]
            kept = [listing(x) if x.is_dir() else x.read_bytes() for x in named]
            called(words)
            where = [x for x in words if x.startswith(("-", "out"))]
            if not {"--out", "--to", "merge"} & {*words, *where}:
                now = [listing(x) if x.is_dir() else x.read_bytes() for x in named]
                assert now == kept, words

    return check


_FIELDS = [*wd.Recipe.__dataclass_fields__]
_VALUES = JSON | st.sampled_from(["mlp", "cnn", "cosine", "value", 1, 0.5, 2**70])


@settings(BASE, max_examples=150)
@given(st.dictionaries(st.sampled_from(_FIELDS), _VALUES, max_size=3))
def recipe_fields(fields: dict[str, Any]) -> None:
    """A recipe is made and written down, or refused in one line."""
    with contextlib.suppress(InputError):
        recipe = wd.Recipe(**fields)
        recipe.structure()
        assert recipe.digest() in recipe.digest() + str(recipe)


@settings(BASE, max_examples=150)
@given(
    st.lists(st.tuples(st.sampled_from([*_FIELDS, "x"]), _VALUES), max_size=3),
    st.lists(st.tuples(st.sampled_from(_FIELDS[:20]), st.just(None)), max_size=1),
    st.dictionaries(
        st.sampled_from([*wd.DecayScheme.__dataclass_fields__, "x"]), JSON, max_size=2
    ),
)
def recipe_from_paper(changed: list, without: list, decay: dict) -> None:
    """What is no recipe on paper is refused in one line; what is, reads as it was."""
    from jaxwd.training.on_paper import recipe_from

    paper = wd.Recipe(decay=wd.decoupled(0.1)).to_dict()
    paper["decay"] |= decay
    for name, value in changed:
        paper[name] = value
    for name, _ in without:
        paper.pop(name, None)
    with contextlib.suppress(InputError):
        recipe = recipe_from(paper)
        assert recipe_from(recipe.to_dict()) == recipe


_PATTERNS = st.sampled_from(
    [".*", "(.*/)?kernel", "(", "[", "a{9}", "(?P<x>.)", "", "\0", "(a|b)*", "λ", "*"]
) | st.text(alphabet="ak/.*+?()[]{}|\\^$0", max_size=8)


@settings(BASE, max_examples=150)
@given(
    st.dictionaries(_PATTERNS, st.floats() | st.booleans() | JSON, max_size=3)
    | st.lists(st.tuples(_PATTERNS, st.floats()), max_size=3)
    | JSON
    | _PATTERNS
)
def path_rules(where: Any) -> None:
    """Rules decide every leaf, or are refused in one line."""
    params = {"a": {"kernel": 1.0, "bias": 2.0}, "k": {"kernel": 3.0}}
    with contextlib.suppress(InputError):
        rules = wd.rules(where)
        str(rules)
        assert set(rules.decide(params)) == {"a/kernel", "a/bias", "k/kernel"}


@settings(BASE, max_examples=40)
@given(damaged(samples.ledger_bytes()))
def damaged_ledger(data: bytes) -> None:
    """A damaged ledger is refused and left as it is, or reads as it was written."""
    with folder() as work:
        (work / "x.sqlite").write_bytes(data)
        (work / "sound.sqlite").write_bytes(samples.ledger_bytes())
        code, _ = called(["ledger", "show", "x.sqlite"])
        called(["ledger", "export", "x.sqlite", "--to", "x.csv", "--epochs"])
        called(["ledger", "merge", "m.sqlite", "x.sqlite", "sound.sqlite"])
        assert code == 0 or (work / "x.sqlite").read_bytes() == data
        assert (work / "sound.sqlite").read_bytes() == samples.ledger_bytes()


_TABLES = {
    "run": ("recipe", "labels", "outcome", "status", "arm", "message", "step", "seed"),
    "epoch": ("metrics",),
    "provenance": ("content",),
}


def forge(path: pathlib.Path, table: str, column: str, value: Any) -> None:
    """Put a value into every row of a ledger's table, under a seal that fits."""
    import sqlite3

    from jaxwd.lab.ledger.reading import SEALED

    with contextlib.closing(sqlite3.connect(path)) as db:
        db.create_function("seal", -1, seal)
        with contextlib.suppress(sqlite3.IntegrityError):
            db.execute(f"UPDATE {table} SET {column} = ?", (value,))
        for name, cells in (
            ("run", SEALED),
            ("epoch", "run, epoch, metrics"),
            ("provenance", "content"),
        ):
            db.execute(f"UPDATE {name} SET seal = seal({cells}) WHERE seal NOT NULL")
        db.commit()


@settings(BASE, max_examples=20)
@given(
    st.sampled_from([(t, column) for t, names in _TABLES.items() for column in names]),
    JSON.map(packed)
    | JSON.filter(lambda x: not isinstance(x, list | dict))
    | st.sampled_from(["{", "[" * 9999, '{"a":[[[[]]]]}', "finished"]),
)
def forged_ledger(place: tuple[str, str], value: Any) -> None:
    """A ledger with sound seals over anything is read or refused in one line."""
    table, column = place
    value = clean(value) if isinstance(value, str) else value
    if isinstance(value, int) and abs(value) >= 2**63:
        value = str(value)
    with folder() as work:
        path = work / "ledger.sqlite"
        path.write_bytes(samples.ledger_bytes())
        forge(path, table, column, value)
        called(["ledger", "show", "."])
        called(["ledger", "export", ".", "--to", "x.json"])
        called(["ledger", "merge", "m.sqlite", "."])
        if table != "run":  # half a second each
            return
        with mock.patch.dict(os.environ):
            del os.environ[
                "JAXWD_TRACEBACK"
            ]  # what metrics are missing is not foreseen
            called(["report", "."])


_SUFFIXES = ("png", "jpeg", "gif", "bmp", "tiff", "webp", "ppm")
_PICTURES = st.tuples(
    st.sampled_from(
        ["x.png", "x.JPG", "[b].gif", "a\nb.tif", "<b>.bmp", "é.webp", "x"]
    ),
    st.sampled_from(_SUFFIXES).flatmap(lambda x: damaged(samples.picture_bytes(x)))
    | st.binary(max_size=40)
    | st.just(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n"),
)


@settings(BASE, max_examples=40)
@given(
    st.lists(_PICTURES, max_size=3),
    st.sampled_from(["link", "folder", "pipe", ""]),
    st.sampled_from(["oak", "[b]", "a\nb", "<script>", "\udcff", ".."]),
)
def image_folders(pictures: list, odd: str, name: str) -> None:
    """Any folder is read, or refused in one line; links and pipes are never followed."""
    with folder() as work:
        furnished(work)
        root = work / "images"
        inside = root / (name if name != ".." else "oak")
        inside.mkdir()
        for i in range(4):
            (inside / f"{i}.png").write_bytes(samples.picture_bytes("png"))
        for file, data in pictures:
            (inside / file).write_bytes(data)
        if odd == "link":
            (inside / "l.png").symlink_to("/etc/passwd")
        elif odd == "folder":
            (root / "linked").symlink_to("/", target_is_directory=True)
        elif odd == "pipe":
            os.mkfifo(inside / "p.png")
        code, said = called(["data", "folder:images", "--image-size", "4"])
        assert not odd or (code == 2 and ("link" in said or "pipe" in said)), said


@settings(BASE, max_examples=60)
@given(damaged(samples.npz_bytes()) | st.binary(max_size=60))
def array_files(data: bytes) -> None:
    """A cached array file reads as it was written, or is refused by name."""
    import numpy as np

    from jaxwd.data import cache

    with folder() as work:
        path = work.parent / "cache" / "decoded" / "x.npz"
        path.parent.mkdir(parents=True)
        path.write_bytes(data)
        with contextlib.suppress(InputError):
            found = cache.decoded("x", dict)
            if "_labels" in found:
                np.testing.assert_array_equal(found["_labels"], np.arange(8) % 2)


@settings(BASE, max_examples=60)
@given(
    damaged(gzip.decompress(samples.idx_bytes((3, 28, 28)))).map(gzip.compress)
    | damaged(samples.idx_bytes((3, 28, 28)))
)
def idx_files(data: bytes) -> None:
    """A damaged idx file is refused by name."""
    from jaxwd.data.formats import read_idx

    with folder() as work:
        (work / "x").write_bytes(data)
        (work / "y").write_bytes(samples.idx_bytes((3,)))
        with contextlib.suppress(InputError):
            assert len(list(read_idx(work / "x", work / "y"))) == 3


PROPERTIES: dict[str, Callable[[], None]] = {
    check.__name__: check
    for check in (
        *(recipe_fields, recipe_from_paper, path_rules, damaged_ledger),
        *(forged_ledger, image_folders, array_files, idx_files),
    )
} | {f"jaxwd {name}": _command(lines) for name, lines in COMMANDS.items()}
"""Name → a property; call it to check it on examples."""
