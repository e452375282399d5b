"""Every further scheme once more in NumPy: one function a scheme, from its paper.

A rule returns the decayed leaf after one step. It gets what the step has: the weights
x, the gradients g of all leaves, the core's `u(gradient)`, η, α, and a memory that is
its own and starts with the weights at the first step, `m.start`.
"""

import types

import numpy as np

STRENGTH = 0.3  # λ of every row, unless its own number stands in the rule


def lr_squared(m, x, g, u, eta, alpha, lam=STRENGTH):
    return x - eta * u(g["kernel"]) - eta**2 * lam * x


def cautious(m, x, g, u, eta, alpha, lam=STRENGTH, open_gate=np.greater_equal):
    d = u(g["kernel"])
    return x - eta * d - eta * lam * x * open_gate(d * x, 0)


def cautious_constant(m, x, g, u, eta, alpha, lam=0.01):
    """The step's sign is turned in the bracket where constant decay stands."""
    d = u(g["kernel"])
    return x - eta * d - lam * x * (d * x >= 0)


def tangent(m, x, g, u, eta, alpha, lam=STRENGTH, delta=0.9, ratio=0.25):
    d = u(g["kernel"])
    columns = x / np.linalg.norm(x, axis=0)

    def cosines(a, b, axis):
        sizes = np.sqrt((a * a).sum(axis)) * np.sqrt((b * b).sum(axis))
        return np.abs((a * b).sum(axis)) / sizes

    if cosines(g["kernel"], x, 0).max() < delta / np.sqrt(x.shape[0]):
        m.seen.add("unit")
        d = d - columns * (columns * d).sum(0)
    elif cosines(g["kernel"], x, None) < delta / np.sqrt(x.size):
        m.seen.add("leaf")
        whole = x / np.linalg.norm(x)
        d = d - whole * (whole * d).sum()
    else:
        m.seen.add("neither")
        ratio = 1.0
    return x - eta * d - eta * lam * ratio * x


def to_init(m, x, g, u, eta, alpha, lam=STRENGTH):
    return x - eta * u(g["kernel"]) - eta * lam * (x - m.start)


def to_init_coupled(m, x, g, u, eta, alpha, lam=STRENGTH):
    return x - eta * u(g["kernel"] + lam * (x - m.start))


def to_ones(m, x, g, u, eta, alpha, lam=STRENGTH):
    return x - eta * u(g["kernel"] + lam * (x - 1.0))


def to_ema(m, x, g, u, eta, alpha, lam=STRENGTH, beta=0.9):
    m.ema = beta * m.get("ema", m.start) + (1 - beta) * x
    return x - eta * u(g["kernel"]) - eta * lam * (x - m.ema)


def to_ema_debiased(m, x, g, u, eta, alpha, lam=STRENGTH, beta=0.9):
    """The average of all weights so far, each by how long ago it was."""
    m.all = [*m.get("all", []), x]
    shares = beta ** np.arange(len(m.all))[::-1]
    ema = np.tensordot(shares / shares.sum(), np.stack(m.all), 1)
    return x - eta * u(g["kernel"]) - eta * lam * (x - ema)


def to_norm(m, x, g, u, eta, alpha, lam=STRENGTH, r=2.0):
    return x * (1 - eta * lam * (1 - r / np.linalg.norm(x))) - eta * u(g["kernel"])


def to_own_norm(m, x, g, u, eta, alpha, lam=STRENGTH):
    return to_norm(m, x, g, u, eta, alpha, lam, np.linalg.norm(m.start))


def soft(y, t):
    return np.where(y > t, y - t, np.where(y < -t, y + t, 0.0))


def coupled_l1(m, x, g, u, eta, alpha, lam=STRENGTH):
    return x - eta * u(g["kernel"] + lam * np.sign(x))


def decoupled_huber(m, x, g, u, eta, alpha, lam=STRENGTH, delta=0.5):
    slope = np.where(np.abs(x) <= delta, x, delta * np.sign(x))
    return x - eta * u(g["kernel"]) - eta * lam * slope


def decoupled_p_norm(m, x, g, u, eta, alpha, lam=STRENGTH, p=1.5):
    return x - eta * u(g["kernel"]) - eta * lam * np.sign(x) * np.abs(x) ** (p - 1)


def prox_l2(m, x, g, u, eta, alpha, lam=STRENGTH):
    return (x - eta * u(g["kernel"])) / (1 + eta * lam)


def prox_l2_schedule(m, x, g, u, eta, alpha, lam=0.01):
    return (x - eta * u(g["kernel"])) / (1 + eta / alpha * lam)


def prox_l1(m, x, g, u, eta, alpha, lam=STRENGTH):
    return soft(x - eta * u(g["kernel"]), eta * lam)


def prox_elastic(m, x, g, u, eta, alpha, lam=STRENGTH, rho=0.25):
    t = eta * lam
    return soft(x - eta * u(g["kernel"]), t * rho) / (1 + t * (1 - rho))


def prox_huber(m, x, g, u, eta, alpha, lam=STRENGTH, delta=0.5):
    y, t = x - eta * u(g["kernel"]), eta * lam
    near = np.abs(y) <= (1 + t) * delta
    return np.where(near, y / (1 + t), y - t * delta * np.sign(y))


def prox_p_norm(m, x, g, u, eta, alpha, lam=STRENGTH, p=0.8):
    y = x - eta * u(g["kernel"])
    with np.errstate(over="ignore", divide="ignore"):  # |x| falls to 0: y/∞ = 0
        return y / (1 + eta * lam * np.abs(x) ** (p - 2))


def prox_group(m, x, g, u, eta, alpha, lam=STRENGTH):
    y = x - eta * u(g["kernel"])
    return y * np.maximum(1 - eta * lam / np.linalg.norm(y, axis=0), 0)


def prox_to_init(m, x, g, u, eta, alpha, lam=STRENGTH):
    y = x - eta * u(g["kernel"])
    return m.start + (y - m.start) / (1 + eta * lam)


def selective(m, x, g, u, eta, alpha, lam=0.7):
    y = x - eta * u(g["kernel"]) - m.start
    size, was = np.linalg.norm(y), np.linalg.norm(x - m.start)
    if (g["kernel"] * (x - m.start)).sum() > 0:
        m.seen.add("back")
        y = y * (1 - lam * min(max((size - was) / size, 0.0), 1.0))
    else:
        m.seen.add("free")
    return m.start + y


def stable(m, x, g, u, eta, alpha, lam=STRENGTH, b2=0.9):
    """AdamS: √v̄ is the mean of the bias-corrected v̂ over every weight there is."""
    m.t = m.get("t", 0) + 1
    old = m.get("v", {k: np.zeros_like(leaf) for k, leaf in g.items()})
    m.v = {k: b2 * old[k] + (1 - b2) * leaf**2 for k, leaf in g.items()}
    v_hat = np.concatenate([(v / (1 - b2**m.t)).ravel() for v in m.v.values()])
    d = u(g["kernel"])
    return x - eta * d - eta * lam / np.sqrt(v_hat.mean()) * x


def awd(m, x, g, u, eta, alpha, lam=STRENGTH):
    size = np.sqrt(sum((leaf**2).sum() for leaf in g.values()))
    m.ratio = 0.1 * m.get("ratio", 0.0) + 0.9 * size / np.linalg.norm(x)
    return x - eta * u(g["kernel"] + lam * m.ratio * x)


def adadecay(m, x, g, u, eta, alpha, lam=STRENGTH):
    size = np.abs(g["kernel"])
    z = (size - size.mean()) / size.std()
    return x - eta * u(g["kernel"] + lam * 2 / (1 + np.exp(-4 * z)) * x)


def auto_l2(m, x, g, u, eta, alpha, lam=STRENGTH, wait=2.0, every=3):
    """As google/autol2 keeps its books: a list of losses, the least of all but one."""
    m.t = m.get("t", -1) + 1
    if m.t == 0:
        m.losses, m.least, m.lam, m.since = [], np.inf, lam, 0
    if m.t % every == 0:
        m.losses.append((g["kernel"] ** 2).sum())
        stuck = len(m.losses) > 2 and min(m.losses[-2:]) >= m.least
        falls = stuck and m.t > m.since + (wait / m.lam if m.lam else np.inf)
        m.seen |= {("stuck", stuck), ("falls", falls)}
        if falls:
            m.lam, m.since = m.lam / 4, m.t
        elif len(m.losses) >= 2:
            m.least = min(m.least, m.losses[-2])
    return x - eta * u(g["kernel"] + m.lam * x)


def amos(m, x, g, u, eta, alpha, scale=0.5, b2=0.9, c=0.25, d=0.25):
    """google-research/jestimator's update with one v and one b a leaf."""
    m.t = m.get("t", 0) + 1
    square = (g["kernel"] ** 2).mean()
    m.v = b2 * m.get("v", 0.0) + (1 - b2) * square
    b, v_hat = m.get("b", 0.0), m.v / (1 - b2**m.t)
    gamma = eta**2 * square / v_hat / np.sqrt(1 + c * np.sqrt(eta) * b)
    m.b = b + gamma * (1 + b)
    step = eta * scale * u(g["kernel"]) + gamma / 2 * x
    return x - step / (1 + d * np.sqrt(eta * scale) * b)


def unit_norms(x):
    return np.sqrt((x**2).sum(axis=0))


def max_norm(m, x, g, u, eta, alpha, limit=0.9):
    y = x - eta * u(g["kernel"])
    m.seen.add(bool((unit_norms(y) > limit).any()))
    return y / np.maximum(unit_norms(y) / limit, 1)


def norm_ball(m, x, g, u, eta, alpha, radius=1.5):
    y = x - eta * u(g["kernel"])
    return y / max(np.linalg.norm(y) / radius, 1)


def radial_brake(m, x, g, u, eta, alpha, outward=0.25, inward=0.5):
    y = x - eta * u(g["kernel"])
    was, now = np.linalg.norm(x), np.linalg.norm(y)
    m.seen.add(bool(now > was))
    return y / now * (was + (outward if now > was else inward) * (now - was))


def lawn(m, x, g, u, eta, alpha, free=30):
    m.t = m.get("t", -1) + 1
    if m.t < free:
        return x - eta * u(g["kernel"])
    unit = x / np.linalg.norm(x)
    y = x - eta * u(g["kernel"] - (g["kernel"] * unit).sum() * unit)
    return y * np.linalg.norm(x) / np.linalg.norm(y)


def hyperball(m, x, g, u, eta, alpha):
    d = u(g["kernel"])
    size = np.linalg.norm(d)
    y = x - eta * np.linalg.norm(x) * d / size if size else x  # some begin with no step
    return y * np.linalg.norm(m.start) / np.linalg.norm(y)


def rotational(m, x, g, u, eta, alpha, lam=STRENGTH, c=0.1 / 1.9, center=True):
    """epfml/REQ's wrapper, unit by unit: a unit is a column here."""
    m.t = m.get("t", 0) + 1
    length = unit_norms(m.start)
    d = u(g["kernel"])
    d = d - x * (d * x).sum(0) / length**2
    if center:
        d = d - d.mean(0)
    m.square = 0.9 * m.get("square", 0.0) + 0.1 * unit_norms(d) ** 2
    typical = np.sqrt(m.square / (1 - 0.9**m.t)) + 1e-8
    y = x - np.sqrt(2 * eta * lam * c) * length * d / typical
    return y * length / unit_norms(y)


CPR_MEASURES = {
    "l2": (lambda x: (x**2).sum(), lambda x: 2 * x, lambda x: x.size),
    "l1": (lambda x: np.abs(x).sum(), np.sign, lambda x: x.size),
    "std": (
        lambda x: x.std(ddof=1),
        lambda x: (x - x.mean()) / ((x.size - 1) * x.std(ddof=1)),
        lambda x: 1,
    ),
}


def cpr(m, x, g, u, eta, alpha, measure="l2", kappa=None, bound="given", mu=1.0):
    """pytorch-cpr's foreach path in float64; κ = ∞ until it is set."""
    value, slope, per = CPR_MEASURES[measure]
    m.t = m.get("t", 0) + 1
    if m.t == 1:
        m.kappa = {"dependent": 0.8 * value(x)}.get(bound, kappa or np.inf)
        m.lagrange, m.growth, m.last = 0.0, 0.0, 0.0
    y = x - eta * u(g["kernel"])
    m.lagrange = max(0.0, m.lagrange + mu / per(y) * (value(y) - m.kappa))
    m.seen.add(m.lagrange > 0)
    y = y - m.lagrange * slope(y)
    if bound == "warm_start" and m.t == 20:
        m.kappa = value(y)
    if bound == "inflection":
        every, size = 8, np.linalg.norm(y)
        m.average = 0.9 * m.average + 0.1 * size if m.t >= every else size
        if m.t > every and m.t % every == 0:
            growth = (m.average - m.last) / m.average
            m.last = m.average
            if m.t > 3 * every and m.growth > growth > 0.01 and m.kappa == np.inf:
                m.kappa = value(y)
                m.seen.add("inflection")
            if m.t > 2 * every:
                m.growth = growth
    return y


def hill(x):
    eigenvalues = np.sort(np.linalg.eigvalsh(x.T @ x))[::-1]
    tail = eigenvalues[: max(1, len(eigenvalues) // 2)]
    return 1 + len(tail) / max(np.log(tail / tail[-1]).sum(), 1e-12)


class Memory(types.SimpleNamespace):
    """What a rule remembers; `seen` says which of its branches were taken."""

    def get(self, name, otherwise):
        return getattr(self, name, otherwise)


def trajectory(rule, cores, start, gradient, etas, alpha):
    """Return both leaves after every step and the branches taken.

    `cores` is one NumPy core a leaf; only `kernel` decays.
    """
    theta = {k: np.array(leaf, np.float64) for k, leaf in start.items()}
    path = {k: [leaf] for k, leaf in theta.items()}
    memory = Memory(start=theta["kernel"], seen=set())
    for t, eta in enumerate(etas):
        g = gradient(theta, t)
        ahead = gradient({k: leaf + 1.0 for k, leaf in theta.items()}, t)
        for k, core in cores.items():  # some ask for their weights and the curvature
            core.theta, core.curvature = theta[k], ahead[k] - g[k]
        theta = {
            "kernel": rule(
                memory, theta["kernel"], g, cores["kernel"].direction, eta, alpha
            ),
            "bias": theta["bias"] - eta * cores["bias"].direction(g["bias"]),
        }
        for k, leaf in theta.items():
            path[k].append(leaf)
    return {k: np.stack(leaves) for k, leaves in path.items()}, memory.seen
