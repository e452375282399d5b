"""Every optimizer and every scheme once more in NumPy, written from the papers' form.

Independent of JAX, Optax and of `jaxwd`: one class a core with `direction(g)`, one
function for a step with decay. Plain float64 arrays, one leaf.
"""

import numpy as np


class Sgd:
    def direction(self, g):
        return g


class Momentum:
    def __init__(self, momentum=0.9, nesterov=False):
        self.mu, self.nesterov, self.buffer = momentum, nesterov, None

    def direction(self, g):
        self.buffer = g if self.buffer is None else self.mu * self.buffer + g
        return g + self.mu * self.buffer if self.nesterov else self.buffer


class Adagrad:
    def __init__(self, start=0.1, eps=1e-7, eps_inside=True):
        self.total, self.eps, self.inside = start, eps, eps_inside

    def direction(self, g):
        self.total = self.total + g**2
        if self.inside:
            return g / np.sqrt(self.total + self.eps)
        return g / (np.sqrt(self.total) + self.eps)


class Adadelta:
    def __init__(self, rho=0.9, eps=1e-6):
        self.rho, self.eps, self.g2, self.d2 = rho, eps, 0.0, 0.0

    def direction(self, g):
        self.g2 = self.rho * self.g2 + (1 - self.rho) * g**2
        d = g * np.sqrt(self.d2 + self.eps) / np.sqrt(self.g2 + self.eps)
        self.d2 = self.rho * self.d2 + (1 - self.rho) * d**2
        return d


class Rmsprop:
    def __init__(self, decay=0.9, eps=1e-8, eps_inside=True):
        self.decay, self.eps, self.inside, self.v = decay, eps, eps_inside, 0.0

    def direction(self, g):
        self.v = self.decay * self.v + (1 - self.decay) * g**2
        if self.inside:
            return g / np.sqrt(self.v + self.eps)
        return g / (np.sqrt(self.v) + self.eps)


class Moments:
    """What the Adam family shares: first and second moment and the step number."""

    def __init__(self, b1=0.9, b2=0.999, eps=1e-8):
        self.b1, self.b2, self.eps = b1, b2, eps
        self.m = self.v = 0.0
        self.t = 0

    def advance(self, g, v_target=None):
        self.t += 1
        self.m = self.b1 * self.m + (1 - self.b1) * g
        target = g**2 if v_target is None else v_target(g)
        self.v = self.b2 * self.v + (1 - self.b2) * target

    @property
    def m_hat(self):
        return self.m / (1 - self.b1**self.t)

    @property
    def v_hat(self):
        return self.v / (1 - self.b2**self.t)


class Adam(Moments):
    def direction(self, g):
        self.advance(g)
        return self.m_hat / (np.sqrt(self.v_hat) + self.eps)


class Adamax(Moments):
    def direction(self, g):
        self.t += 1
        self.m = self.b1 * self.m + (1 - self.b1) * g
        self.v = np.maximum(self.b2 * self.v, np.abs(g) + self.eps)
        return self.m_hat / self.v


class Nadam(Moments):
    """Optax's form: constant b1, looked one step ahead."""

    def direction(self, g):
        self.advance(g)
        ahead = self.b1 * self.m / (1 - self.b1 ** (self.t + 1))
        now = (1 - self.b1) * g / (1 - self.b1**self.t)
        return (ahead + now) / (np.sqrt(self.v_hat) + self.eps)


class TorchNadam(Moments):
    product = 1.0

    def mu(self, t):
        return self.b1 * (1 - 0.5 * 0.96 ** (t * 4e-3))

    def direction(self, g):
        self.advance(g)
        mu, after = self.mu(self.t), self.mu(self.t + 1)
        self.product *= mu
        top = (1 - mu) * g / (1 - self.product)
        top = top + after * self.m / (1 - self.product * after)
        return top / (np.sqrt(self.v_hat) + self.eps)


class Amsgrad(Moments):
    largest = 0.0

    def direction(self, g):
        self.advance(g)
        self.largest = np.maximum(self.largest, self.v_hat)
        return self.m_hat / (np.sqrt(self.largest) + self.eps)


class TorchAmsgrad(Moments):
    largest = 0.0

    def direction(self, g):
        self.advance(g)
        self.largest = np.maximum(self.largest, self.v)
        corrected = self.largest / (1 - self.b2**self.t)
        return self.m_hat / (np.sqrt(corrected) + self.eps)


class Radam(Moments):
    torch = False

    def direction(self, g):
        self.advance(g)
        rho_inf = 2 / (1 - self.b2) - 1
        rho = rho_inf - 2 * self.t * self.b2**self.t / (1 - self.b2**self.t)
        if rho <= 5:
            return self.m_hat
        r = np.sqrt(
            (rho - 4) * (rho - 2) * rho_inf / ((rho_inf - 4) * (rho_inf - 2) * rho)
        )
        if self.torch:
            root = np.sqrt(1 - self.b2**self.t)
            return r * self.m_hat * root / (np.sqrt(self.v) + self.eps)
        return r * self.m_hat / (np.sqrt(self.v_hat) + self.eps)


class TorchRadam(Radam):
    torch = True


class Adabelief(Moments):
    def __init__(self, eps=1e-16, eps_root=1e-16):
        super().__init__(eps=eps)
        self.eps_root = eps_root

    def direction(self, g):
        self.t += 1
        self.m = self.b1 * self.m + (1 - self.b1) * g
        self.v = self.b2 * self.v + (1 - self.b2) * (g - self.m) ** 2 + self.eps_root
        return self.m_hat / (np.sqrt(self.v_hat) + self.eps)


class Yogi(Moments):
    def __init__(self, eps=1e-3, start=1e-6):
        super().__init__(eps=eps)
        self.m = self.v = start

    def direction(self, g):
        self.t += 1
        self.m = self.b1 * self.m + (1 - self.b1) * g
        self.v = self.v - (1 - self.b2) * np.sign(self.v - g**2) * g**2
        return self.m_hat / (np.sqrt(self.v_hat) + self.eps)


class Lion:
    def __init__(self, b1=0.9, b2=0.99):
        self.b1, self.b2, self.m = b1, b2, 0.0

    def direction(self, g):
        u = np.sign(self.b1 * self.m + (1 - self.b1) * g)
        self.m = self.b2 * self.m + (1 - self.b2) * g
        return u


CORES = {
    "sgd": Sgd,
    "momentum": Momentum,
    "nesterov": lambda: Momentum(nesterov=True),
    "adagrad": Adagrad,
    "adadelta": Adadelta,
    "rmsprop": Rmsprop,
    "adam": Adam,
    "adamax": Adamax,
    "nadam": Nadam,
    "amsgrad": Amsgrad,
    "radam": Radam,
    "adabelief": Adabelief,
    "yogi": Yogi,
    "lion": Lion,
    "torch.sgd": Sgd,
    "torch.momentum": Momentum,
    "torch.nesterov": lambda: Momentum(nesterov=True),
    "torch.adagrad": lambda: Adagrad(start=0.0, eps=1e-10, eps_inside=False),
    "torch.adadelta": Adadelta,
    "torch.rmsprop": lambda: Rmsprop(decay=0.99, eps_inside=False),
    "torch.adam": Adam,
    "torch.adamax": Adamax,
    "torch.nadam": TorchNadam,
    "torch.radam": TorchRadam,
    "torch.amsgrad": TorchAmsgrad,
}

# d_t of θ' = θ − η_t u − d_t λ θ, from (η_t, α).
SHRINK = {
    "lr": lambda eta, alpha: eta,
    "schedule": lambda eta, alpha: eta / alpha,
    "constant": lambda eta, alpha: 1.0,
    "corrected": lambda eta, alpha: eta**2 / alpha,
}


def trajectory(core, kind, times, strength, theta, gradient, etas, alpha, decays=True):
    """Return θ after every step, shape (steps + 1, …).

    `gradient(θ, t)` is the data gradient, `strength` a function of the step.
    """
    rule = CORES[core]()
    path = [np.array(theta, np.float64)]
    for t, eta in enumerate(etas):
        theta, lam = path[-1], strength(t) * decays
        g = gradient(theta, t)
        rule.theta, rule.curvature = theta, gradient(theta + 1.0, t) - g  # some ask
        if kind in ("coupled", "penalized"):
            g = g + lam * theta
        if inside := kind == "decoupled" and core.endswith(".inside"):
            rule.inside = lam * theta
        new = theta - eta * rule.direction(g)
        if kind == "decoupled" and not inside:
            new = new - SHRINK[times](eta, alpha) * lam * theta
        path.append(new)
    return np.stack(path)
