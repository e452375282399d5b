"""Training curves of every arm with bands over seeds, as PNG. Colour-blind safe."""

import pathlib

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, NullFormatter, StrMethodFormatter

from jaxwd.lab.statistics import interval
from jaxwd.lab.study import Study
from jaxwd.report.tables import scaled

# Okabe and Ito, Color universal design, 2008; and a line style each, for print.
COLORS = ("#000000", "#E69F00", "#0072B2", "#009E73", "#CC79A7", "#D55E00", "#56B4E9")
STYLES = ("-", "--", "-.", ":")


def curves(study: Study, path: pathlib.Path) -> pathlib.Path:
    """Draw loss, score, norm and decay share against the epoch; return the file."""
    score = study.score
    unit = " (%)" if score == "accuracy" else ""
    panels = [
        ("running_loss", "loss", "training data loss, running"),
        (f"validation_{score}", score, f"validation {score}{unit}"),
        ("validation_loss", "loss", "validation data loss"),
        ("param_norm", "norm", "‖θ‖"),
        ("grad_norm", "norm", "‖g‖"),
        ("decay_share", "share", "decay's share where it enters"),
    ]
    figure = Figure(figsize=(12, 6.4), layout="constrained")
    axes = figure.subplots(2, 3).ravel()
    for axis, (metric, kind, label) in zip(axes, panels, strict=True):
        for i, arm in enumerate(study.arms):
            runs = list(study.curves[arm.name].values())
            if not runs:
                continue
            epochs = [row["epoch"] for row in runs[0]]
            values = scaled(1.0, kind) * np.array(
                [[row[metric] for row in run] for run in runs]
            )
            bands = [interval(column.tolist()) for column in values.T]
            mean = np.array([band.mean for band in bands])
            half = np.nan_to_num(np.array([band.half for band in bands]))
            color = COLORS[i % len(COLORS)]
            axis.plot(
                epochs,
                mean,
                label=arm.name,
                color=color,
                linestyle=STYLES[i % len(STYLES)],
                marker="o" if len(epochs) == 1 else None,
            )
            axis.fill_between(epochs, mean - half, mean + half, color=color, alpha=0.12)
        axis.set_title(label, fontsize=10, loc="left")
        axis.set_xlabel("epoch")
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
        axis.grid(alpha=0.25)
        if kind == "loss":
            log_scale(axis)
    n = max((len(runs) for runs in study.curves.values()), default=0)
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=len(study.arms))
    figure.supxlabel(
        f"mean over {n} seeds, bands: 95 % t-interval · {study.data}", fontsize=8
    )
    figure.savefig(path, dpi=130)
    return path


def log_scale(axis) -> None:
    """A log axis with plain numbers: 0.4 and not 4 × 10⁻¹; minor ones under a decade."""
    axis.set_yscale("log")
    low, high = axis.get_ylim()
    plain = StrMethodFormatter("{x:g}")
    axis.yaxis.set_major_formatter(plain)
    axis.yaxis.set_minor_formatter(plain if high < 10 * low else NullFormatter())


def differences(study: Study, path: pathlib.Path) -> pathlib.Path:
    """Draw every arm's paired differences to its reference, seed by seed."""
    metric = f"test_{study.score}"
    others = study.compared()
    figure = Figure(figsize=(7.5, 1.2 + 0.5 * len(others)), layout="constrained")
    axis = figure.subplots()
    axis.axvline(0, color="#777777", linewidth=1)
    for i, arm in enumerate(others):
        a, b = study.pairs(arm, metric)
        gaps = scaled(1.0, study.score) * (np.array(a) - np.array(b))
        if not gaps.size:
            continue
        got = interval(gaps.tolist())
        color = COLORS[(i + 1) % len(COLORS)]
        axis.plot(
            gaps, np.full(gaps.size, i), "o", color=color, alpha=0.35, markersize=5
        )
        axis.errorbar(
            got.mean, i, xerr=np.nan_to_num(got.half), color=color, fmt="D", capsize=4
        )
    axis.set_yticks(
        range(len(others)), [f"{arm.name} − {study.reference(arm)}" for arm in others]
    )
    axis.set_ylim(-0.6, len(others) - 0.4)
    axis.invert_yaxis()
    unit = "points" if study.score == "accuracy" else study.score
    # Of the whole figure, not of the axes: long names of arms leave those narrow.
    figure.supxlabel(
        f"test {study.score} minus the reference, {unit}: each seed, mean, 95 % interval",
        fontsize=10,
    )
    axis.grid(axis="x", alpha=0.25)
    figure.savefig(path, dpi=130)
    return path
