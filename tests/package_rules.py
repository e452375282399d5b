"""What packages compute that are compared by equations, not by a scheme of jaxwd yet.

One function a package and method, in NumPy, read from the source named with it. Each
gets one leaf: memory m (`m.start` the first weights, `m.t` the step from 1, `m.alpha`
the peak), weights x where the gradient was taken, gradient g, the rate η and the leaf's
λ; it returns the weights after the step.
"""

import types

import numpy as np


def average(m, name, beta, value):
    """m.name ← β·m.name + (1 − β)·value, from 0."""
    setattr(m, name, beta * getattr(m, name, 0.0) + (1 - beta) * value)
    return getattr(m, name)


def adam(m, g, eps, b1=0.9, b2=0.999):
    """m̂/(√v̂ + ε)."""
    first = average(m, "first", b1, g) / (1 - b1**m.t)
    return first / (np.sqrt(average(m, "second", b2, g * g) / (1 - b2**m.t)) + eps)


def ratio(x, u, eps=0.0, most=np.inf):
    """min(‖θ‖, most)/(‖u‖ + ε), 1 where a norm is 0."""
    size, length = min(np.linalg.norm(x), most), np.linalg.norm(u)
    return size / (length + eps) if size > 0 and length > 0 else 1.0


# --- LAMB: trust ratio r over Adam's direction u ------------------------------------


def timm_lamb(m, x, g, eta, lam, outside=False, corrected=False, adapt_all=True):
    u = adam(m, g, 1e-6)
    if outside:
        x = x - (eta**2 / m.alpha if corrected else eta) * lam * x
    else:
        u = u + lam * x
    return x - eta * (ratio(x, u) if lam or adapt_all else 1.0) * u


def timm_lamb_default(m, x, g, eta, lam):
    """Default: the whole gradient is clipped to norm 1, and λ = 0 means ratio 1."""
    return timm_lamb(m, x, g / max(1.0, m.norm), eta, lam, adapt_all=False)


def pytorch_optimizer_lamb(m, x, g, eta, lam, outside=True):
    """First moment corrected through the rate, second moment not at all."""
    first, second = average(m, "first", 0.9, g), average(m, "second", 0.999, g * g)
    u = first / (np.sqrt(second) + 1e-6)
    if outside:
        x = x - eta * lam * x
    else:
        u = u + lam * x
    return x - eta / (1 - 0.9**m.t) * ratio(x, u, 1e-6, most=10.0) * u


def keras_lamb(m, x, g, eta, lam):
    x = x - eta * lam * x
    u = adam(m, g, 1e-7)
    return x - eta * ratio(x, u) * u


# --- LARS: trust ratio over the gradient, decay inside, rate after the momentum ------


def lars(m, x, g, eta, lam, trust=0.1, eps=1e-8, nesterov=False, vectors=True):
    if vectors or x.ndim > 1:
        size, length = np.linalg.norm(x), np.linalg.norm(g)
        g = trust * size / (length + lam * size + eps) * (g + lam * x)
    m.buffer = 0.9 * getattr(m, "buffer", 0.0) + g
    return x - eta * (g + 0.9 * m.buffer if nesterov else m.buffer)


# --- norms held: CPR and HyperBall ----------------------------------------------------


def cpr(m, x, g, eta, lam, kappa, mu=1.0, by_lr=False, wide=True):
    """Λ ← max(0, Λ + (μ/n)(‖θ̃‖² − κ)); θ' = θ̃ − 2Λθ̃, θ̃ the weights after Adam's step.

    κ is a number, ("of start", f), ("at", t) or ("inflection", every, keep): f·R(θ₀),
    R(θ̃_t), or 1e6 until `find_inflection`. Λ, κ, μ/n are float32 unless `wide`.
    """
    kind = np.float64 if wide else np.float32
    y = x - eta * adam(m, g, 1e-8)
    if not lam:
        return y
    size = np.sum(y * y)
    match kappa:
        case "of start", share:
            m.kappa = kind(share) * kind(np.sum(m.start**2))
        case "at", step:
            m.kappa = kind(size) if m.t == step else getattr(m, "kappa", kind(0))
            if m.t <= step:
                return y
        case "inflection", every, keep:
            m.kappa = getattr(m, "kappa", kind(1e6))
        case number:
            m.kappa = kind(number)
    excess = kind(mu / x.size) * (size - np.float64(m.kappa))
    m.multiplier = kind(max(0.0, getattr(m, "multiplier", kind(0)) + excess))
    y = y - 2 * (eta if by_lr else 1.0) * np.float64(m.multiplier) * y
    if m.kappa == 1e6:
        find_inflection(m, y, every, keep, kind)
    return y


def find_inflection(m, y, every, keep, kind):
    """κ ← ‖θ‖² once ‖θ‖ (smoothed, seen every `every` steps) grows by more than 1 %
    but less than the time before; looked for from the fourth time on.
    """
    size = np.linalg.norm(y)
    m.smooth = kind(keep * m.smooth + (1 - keep) * size if m.t >= every else size)
    if m.t > every and m.t % every == 0:
        growth = (m.smooth - getattr(m, "seen", kind(0))) / m.smooth
        m.seen = m.smooth
        if m.t > 3 * every and m.growth > growth > 0.01:
            m.kappa = kind(np.sum(y * y))
        if m.t > 2 * every:
            m.growth = growth


def hyperball(m, x, g, eta, lam):
    """θ̃ = θ − η‖θ₀‖w/‖w‖, w = g/max(√v̂, ε) + λθ; θ' = θ̃·‖θ₀‖/‖θ̃‖. Vectors: RMSprop."""
    second = average(m, "second", 0.999, g * g) / (1 - 0.999**m.t)
    u = g / np.maximum(np.sqrt(second), 1e-8)
    if x.ndim < 2:
        return x - eta * u
    radius, w = np.linalg.norm(m.start), u + lam * x
    y = x - eta * radius * w / np.linalg.norm(w)
    return y * radius / np.linalg.norm(y)


# --- SGDP of adamp without Nesterov: the projection stays in the momentum buffer ------


def sgdp_in_place(m, x, g, eta, lam, delta=0.9, share=0.25):
    m.buffer = 0.9 * getattr(m, "buffer", 0.0) + g
    lam = lam / (1 - 0.9)
    for rows in (x.reshape(len(x), -1), x.reshape(1, -1)) if x.ndim > 1 else ():
        along = np.sum(g.reshape(rows.shape) * rows, 1)
        sizes = np.linalg.norm(rows, axis=1)
        cosines = along / np.linalg.norm(g.reshape(rows.shape), axis=1) / sizes
        if np.abs(cosines).max() < delta / np.sqrt(rows.shape[1]):
            unit = rows / (sizes[:, None] + 1e-8)
            radial = np.sum(unit * m.buffer.reshape(rows.shape), 1, keepdims=True)
            m.buffer = m.buffer - (unit * radial).reshape(x.shape)
            lam = lam * share
            break
    return x - eta * lam * x - eta * m.buffer


# --- schedule-free: gradient at y, steps on z, average x, y = βx + (1 − β)z -----------


def schedule_free(
    m, x, g, eta, lam, core, at="y", largest=True, weigh=True, everywhere=None
):
    """z' = z − η(u + λ·[y or z]); x' = (1 − c)x + cz'; c = w/Σw, w = (max η)²."""
    y, beta = x, 0.9
    lam = lam if everywhere is None else everywhere  # wrappers decay all leaves
    z, mean = getattr(m, "z", m.start), getattr(m, "mean", m.start)
    m.top = max(getattr(m, "top", 0.0), eta) if largest else eta
    weight = m.top**2 if weigh else 1.0
    m.total = getattr(m, "total", 0.0) + weight
    point = {"y": y, "z": z, "y alone": 0.0, "z and y": z}[at]
    m.z = z - eta * (core(m, g) + lam * point)
    if at == "y alone":  # Keras: y shrinks, z does not, so the average does
        mean = (y * (1 - eta * lam) - (1 - beta) * z) / beta
    if at == "z and y":  # z(1 − ηλ), y(1 − ηλ(1 − β)): the average moves towards z
        mean = mean - eta * lam * (1 - beta) * (mean - z)
    c = weight / m.total
    m.mean = (1 - c) * mean + c * m.z
    return beta * m.mean + (1 - beta) * m.z


def root(eps, inside=0.0, clamp=False):
    """g/(√v̂ + ε), g/(√(v̂ + ε₀) + ε) or g/max(√v̂, ε)."""

    def core(m, g):
        second = average(m, "second", 0.999, g * g) / (1 - 0.999**m.t) + inside
        size = np.sqrt(second)
        return g / (np.maximum(size, eps) if clamp else size + eps)

    return core


def plain(m, g):
    return g


def trajectory(rule, problem, decay):
    """Return the kept weights, flat, and for schedule-free their averages too."""
    theta = {k: problem[f"start/{k}"] for k in ("kernel", "bias")}
    alpha = float(problem["peak"])
    memory = {k: types.SimpleNamespace(start=x, alpha=alpha) for k, x in theta.items()}
    path, means = [], []
    for t, eta in enumerate(problem["rates"]):
        g = {
            k: problem[f"curvature/{k}"] * (x - 1.0) + problem[f"noise/{k}"][t]
            for k, x in theta.items()
        }
        norm = np.sqrt(sum(np.sum(leaf**2) for leaf in g.values()))
        for k, m in memory.items():
            m.t, m.norm = t + 1, norm
            theta[k] = rule(m, theta[k], g[k], eta, decay if k == "kernel" else 0.0)
        if t + 1 in problem["kept"]:
            path.append(np.concatenate([x.ravel() for x in theta.values()]))
            mean = [getattr(m, "mean", m.start) for m in memory.values()]
            means.append(np.concatenate([x.ravel() for x in mean]))
    return np.stack(path), np.stack(means)
