"""What a sweep's settings reached: a table, the best one in a sentence."""

import math
from collections.abc import Sequence

from jaxwd.lab.study import Study
from jaxwd.report.table import Table
from jaxwd.report.tables import scaled
from jaxwd.report.trials import Group, Trial, in_text, short


def tried(study: Study | None) -> list[Trial]:
    """Return what tuning a study's arms tried, one trial for its mean over seeds."""
    found = []
    for arm, tuned in getattr(study, "tuning", {}).items():
        metric = f"validation_{study.score}" if study is not None else ""
        if tuned.metric != metric:
            continue
        for one in tuned.trials:
            final = {metric: one.validation, "validation_loss": one.loss}
            status = "diverged" if one.trouble else "finished"
            message = one.trouble
            outcome = None if one.trouble else final
            labels = tuple(one.values)
            found.append(Trial(arm, 0, labels, status, outcome, (), message))
    return found


def score_of(trials: Sequence[Trial]) -> str:
    """Return the name of the score that runs report."""
    for one in trials:
        for row in (one.final, *one.history[:1]):
            for name in row or ():
                if name.startswith("validation_") and not name.endswith("_loss"):
                    return name.removeprefix("validation_")
    return "accuracy"


def metrics_of(found: Sequence[Group], score: str) -> list[str]:
    """Return the metrics a sweep can be looked at by; what selects comes first."""
    wanted = [f"validation_{score}", "validation_loss", f"train_{score}", "train_loss"]
    wanted += ["param_norm", "decay_share", f"test_{score}", "test_loss"]
    there = {name for g in found for t in g.finished for name in t.final or ()}
    return [name for name in wanted if name in there]


def settings_table(found: Sequence[Group], score: str) -> Table:
    """Return every setting of a sweep, best validation score first."""
    paths = list(dict.fromkeys(path for g in found for path, _ in g.labels))
    arms = any(g.arm for g in found)
    shown = (f"validation_{score}", "validation_loss", f"train_{score}", "param_norm")
    rows = []
    for group in found:
        got, labels = group.metrics(shown), dict(group.labels)
        cells = [_cell(got.get(name), name) for name in shown]
        words = (in_text(labels[p]) if p in labels else "" for p in paths)
        states = ", ".join(
            f"{n} {state}"
            for state in ("diverged", "stopped", "running", "waiting")
            if (n := sum(t.status == state for t in group.trials))
        )
        head = [group.arm] * arms + [*words, str(len(group.finished))]
        order = got.get(shown[0], (-math.inf,))[0]
        rows.append((order, (*head, *cells, states)))
    rows.sort(key=lambda row: -row[0])
    percent = " %" if score == "accuracy" else ""
    columns = ("arm",) * arms + tuple(short(p) for p in paths)
    columns += (
        "n",
        f"validation{percent}",
        "val. loss",
        f"train{percent}",
        "‖θ‖",
        "not done",
    )
    used = None if any(cells[-1] for _, cells in rows) else -1
    return Table(
        "Every setting",
        columns[:used],
        tuple(cells[:used] for _, cells in rows),
        "Mean ± half of the 95 % t-interval over the n seeds that finished. The best of "
        "many is flattered by the choice: its score on data not used for choosing is "
        "expected to be lower.",
    )


def best_setting(found: Sequence[Group], score: str) -> str:
    """Return a sentence on the best setting by validation score, where there is one."""
    metric = f"validation_{score}"
    done = [(g.metrics([metric]).get(metric), g) for g in found]
    done = [(got, g) for got, g in done if got is not None]
    total = sum(len(g.trials) for g in found)
    if not found:
        return ""
    if not done:
        return f"None of the {total:,} runs of the sweep finished."
    got, best = max(done, key=lambda pair: pair[0][0])
    unit = " %" if score == "accuracy" else ""
    n = len(best.finished)
    spread = "" if n < 2 else f" ± {_cell(got, metric).split(' ± ')[1]}"
    seeds = f"{n} seeds" if n > 1 else "one seed"
    return (
        f"Of {len(found):,} settings, {best.name} has the highest validation {score}: "
        f"{_cell(got, metric).split(' ± ')[0]}{spread}{unit} with {seeds}. It was chosen "
        "on these validation examples, so expect less of it on others."
    )


def _cell(got: tuple[float, float] | None, metric: str) -> str:
    if got is None:
        return ""
    accuracy = metric.endswith("accuracy")
    digits = 2 if accuracy else 1 if metric == "param_norm" else 3
    mean, half = (scaled(x, "accuracy" if accuracy else "") for x in got)
    if math.isnan(half) or metric == "param_norm":
        return f"{mean:.{digits}f}"
    return f"{mean:.{digits}f} ± {half:.{digits}f}"
