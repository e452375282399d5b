"""The cores that are not elementwise, or need more than a gradient, in NumPy.

Written from the papers' form and from other mathematics where there is one: Muon's
iteration by singular values, Adafactor's average as an outer product. A rule reads
its own leaf from `theta`, and adds `inside` where its paper has λθ. Prodigy is a rule
for all leaves laid end to end (`whole`).
"""

import numpy as np
from rules import CORES, Adam, Moments, Momentum, Nadam


def trust(theta, update, coefficient=1.0):
    """c‖θ‖/‖u‖, and 1 where either is zero."""
    a, b = np.sqrt((theta**2).sum()), np.sqrt((update**2).sum())
    return coefficient * a / b if a > 0 and b > 0 else 1.0


class Lamb(Adam):
    inside = 0.0

    def __init__(self):
        super().__init__(eps=1e-6)

    def direction(self, g):
        u = super().direction(g) + self.inside
        return trust(self.theta, u) * u


class Lars(Momentum):
    def direction(self, g):
        return super().direction(trust(self.theta, g, 1e-3) * g)


class Novograd:
    inside = 0.0

    def __init__(self, b1=0.9, b2=0.25, eps=1e-6):
        self.b1, self.b2, self.eps, self.m, self.v = b1, b2, eps, 0.0, None

    def direction(self, g):
        size = (g**2).sum()
        self.v = size if self.v is None else self.b2 * self.v + (1 - self.b2) * size
        self.m = self.b1 * self.m + g / (np.sqrt(self.v) + self.eps) + self.inside
        return self.m


class Amos:
    def __init__(self, b2=0.999):
        self.b2, self.t, self.v = b2, 0, 0.0

    def direction(self, g):
        self.t += 1
        self.v = self.b2 * self.v + (1 - self.b2) * (g**2).mean()
        return g / np.sqrt(self.v / (1 - self.b2**self.t))


class Adafactor:
    """Factored over the two longest axes of a leaf that has two of at least `least`."""

    def __init__(self, least=128, rate=0.8, clip=1.0, eps=1e-30):
        self.least, self.rate, self.clip, self.eps = least, rate, clip, eps
        self.t, self.v = 0, 0.0

    def direction(self, g):
        self.t += 1
        b = float(1 - np.float32(self.t) ** np.float32(-self.rate))  # Optax's float32
        self.v = b * self.v + (1 - b) * (g**2 + self.eps)
        u = g / np.sqrt(self.estimate(self.v))
        u = u / max(1.0, np.sqrt(np.mean(u**2)) / self.clip)
        return u * max(np.sqrt(np.mean(self.theta**2)), 1e-3)

    def estimate(self, v):
        """v of its row and column means alone: averaging and means commute."""
        axes = tuple(np.argsort(v.shape)[-2:])
        if v.ndim < 2 or v.shape[axes[0]] < self.least:
            return v
        rows, columns = (v.mean(axis, keepdims=True) for axis in axes)
        return rows * columns / v.mean(axes, keepdims=True)


class Muon:
    """Newton–Schulz acts on singular values alone: UΣVᵀ → U p(…p(Σ/‖Σ‖)) Vᵀ."""

    def __init__(self, beta=0.95, rms=None, flatten=False):
        self.beta, self.rms, self.flatten = beta, rms, flatten
        self.t, self.m, self.adam = 0, 0.0, Nadam()

    def direction(self, g):
        if not (g.ndim == 2 or (self.flatten and g.ndim > 2)):
            return self.adam.direction(g)
        self.t += 1
        b = self.beta
        self.m = b * self.m + (1 - b) * g
        ahead = b * self.m / (1 - b ** (self.t + 1)) + (1 - b) * g / (1 - b**self.t)
        u, s, vt = np.linalg.svd(ahead.reshape(-1, g.shape[-1]), full_matrices=False)
        s = s / (np.sqrt((s**2).sum()) + 1e-8)
        for _ in range(5):
            s = 3.4445 * s - 4.7750 * s**3 + 2.0315 * s**5
        fan_in, fan_out = u.shape[0], vt.shape[1]
        scale = np.sqrt(max(1.0, fan_out / fan_in))
        if self.rms is not None:
            scale = self.rms * np.sqrt(max(fan_in, fan_out))
        return scale * (u * s @ vt).reshape(g.shape)


class Adan:
    """Optax's form: the difference of gradients counts 1 − b2."""

    def __init__(self, b1=0.98, b2=0.92, b3=0.99, eps=1e-8):
        self.b, self.eps, self.t, self.last = (b1, b2, b3), eps, 0, None
        self.m = self.v = self.n = 0.0

    def direction(self, g):
        (b1, b2, b3), self.t = self.b, self.t + 1
        change = 0.0 * g if self.last is None else g - self.last
        self.last = g
        self.m = b1 * self.m + (1 - b1) * g
        self.v = b2 * self.v + (1 - b2) * change
        self.n = b3 * self.n + (1 - b3) * (g + (1 - b2) * change) ** 2
        top = self.m / (1 - b1**self.t) + (1 - b2) * self.v / (1 - b2**self.t)
        return top / (np.sqrt(self.n / (1 - b3**self.t) + self.eps) + self.eps)


class Adopt:
    """m averages g/√(v of the step before), clipped at t^¼."""

    def __init__(self, b1=0.9, b2=0.9999, eps=1e-6):
        self.b1, self.b2, self.eps, self.t, self.m = b1, b2, eps, 0, 0.0

    def direction(self, g):
        if self.t == 0:
            self.v = g**2
        else:
            u = g / np.maximum(np.sqrt(self.v), self.eps)
            u = np.clip(u, -(self.t**0.25), self.t**0.25)
            self.m = self.b1 * self.m + (1 - self.b1) * u
            self.v = self.b2 * self.v + (1 - self.b2) * g**2
        self.t += 1
        return self.m + 0.0 * g


class Ademamix(Moments):
    slow = 0.0

    def direction(self, g):
        self.advance(g)
        self.slow = 0.9999 * self.slow + (1 - 0.9999) * g
        return (self.m_hat + 5.0 * self.slow) / (np.sqrt(self.v_hat) + self.eps)


class Sophia:
    """The Hessian of the toy problem is diagonal, and there Hutchinson is exact."""

    def __init__(self, b1=0.965, b2=0.99, gamma=0.01, every=10, eps=1e-8):
        self.b1, self.b2, self.gamma, self.every = b1, b2, gamma, every
        self.eps, self.t, self.m, self.h = eps, 0, 0.0, 0.0

    def direction(self, g):
        self.m = self.b1 * self.m + (1 - self.b1) * g
        m_hat = self.m / (1 - self.b1 ** (self.t + 1))
        u = np.clip(m_hat / np.maximum(self.gamma * self.h, self.eps), -1, 1)
        if self.t % self.every == 0:
            self.h = self.b2 * self.h + (1 - self.b2) * self.curvature
        self.t += 1
        return u


class Prodigy:
    whole = True
    inside = 0.0

    def __init__(self, b1=0.9, b2=0.999, eps=1e-8, d0=1e-6):
        self.b1, self.b2, self.b3, self.eps = b1, b2, np.sqrt(b2), eps
        self.d = self.d0 = d0
        self.t = self.r = 0
        self.m = self.v = self.s = 0.0

    def direction(self, g):
        d, self.t = self.d, self.t + 1
        start = self.start = getattr(self, "start", self.theta)
        c = d * np.sqrt(1 - self.b2**self.t) / (1 - self.b1**self.t)
        self.m = self.b1 * self.m + (1 - self.b1) * d * g
        self.v = self.b2 * self.v + (1 - self.b2) * (d * g) ** 2
        self.s = self.b3 * self.s + c * d * g / self.d0
        pull = (g * (start - self.theta)).sum()
        self.r = self.b3 * self.r + c * d / self.d0 * pull
        size = np.abs(self.s).sum()
        self.d = max(d, self.r / size) if size > 0 else d
        return c * (self.m / (np.sqrt(self.v) + d * self.eps) + self.inside)


MORE = {
    "lamb": Lamb,
    "lamb.inside": Lamb,
    "lars": Lars,
    "novograd": Novograd,
    "novograd.inside": Novograd,
    "adafactor": lambda: Adafactor(least=2),
    "amos": Amos,
    "muon": Muon,
    "adan": Adan,
    "adopt": Adopt,
    "ademamix": Ademamix,
    "sophia": lambda: Sophia(gamma=1.0, b2=0.5, every=3),
    "prodigy": lambda: Prodigy(d0=0.1),
    "prodigy.inside": lambda: Prodigy(d0=0.1),
}

# What the table tests set so that a toy problem reaches the interesting part.
HYPER = {
    "adafactor": {"min_dim_size_to_factor": 2},
    "sophia": {"gamma": 1.0, "b2": 0.5, "update_interval": 3},
    "prodigy": {"estim_lr0": 0.1},
    "prodigy.inside": {"estim_lr0": 0.1},
}


def schedule_free(rule, kind, at, strength, theta, gradient, etas, b1=0.9, power=2.0):
    """Return y and x after every step; `etas` has one value more than there are steps.

    z steps, x is the average with weights (largest η so far, one step ahead)^power.
    """
    y = z = x = np.array(theta, np.float64)
    ys, xs, total, top = [y], [x], 0.0, 0.0
    for t, eta in enumerate(etas[:-1]):
        rule.theta = y
        g = gradient(y, t)
        if kind in ("coupled", "penalized"):
            g = g + strength * y
        step = rule.direction(g)
        if kind == "decoupled":
            step = step + strength * (y if at == "y" else z)
        z = z - eta * step
        top = max(top, etas[t + 1])
        total += top**power
        c = top**power / total if total else 0.0
        x = (1 - c) * x + c * z
        y = b1 * x + (1 - b1) * z
        ys.append(y)
        xs.append(x)
    return np.stack(ys), np.stack(xs)


CORES.update(MORE)
