"""Rows: where decay enters, what multiplies λ, its shape."""

from gallery_parts.row import Row

ENTRY = (
    Row(
        "none",
        "wd.none()",
        "Without a gradient nothing moves, and the curves with and without the "
        "scheme are one: both cores reach the minimum, up to the last noise.",
    ),
    Row(
        "penalized",
        "wd.penalized(0.443)",
        "Without a gradient Adam makes steps of its full size out of the penalty, "
        "so every weight rushes to 0 and swings through it; with a loss both "
        "cores end at the same place, and so do the three starts, on the minimum "
        "of loss plus penalty.",
    ),
    Row(
        "coupled",
        "wd.coupled(0.443)",
        "Line for line the picture of `penalized`: with no clip between loss and "
        "gradient the two are one scheme.",
        source="`weight_decay` of torch's SGD, Adam and RMSprop.",
    ),
    Row(
        "decoupled",
        "wd.decoupled(0.443)",
        "Weights of every size shrink by the same factors, less at half the "
        "learning rate; SGD ends where it does with `coupled`, Adam higher, and "
        "in the plane the ends differ from start to start, since Adam divides the "
        "gradient by what it met on its way and the pull by nothing.",
        equation="d_t = η_t",
        source="`optax.adamw`, torch and Keras AdamW.",
    ),
    Row(
        "proximal",
        "wd.proximal(0.45)",
        "To the eye the picture of `decoupled`, which is its first-order "
        "approximation: at these rates the ends lie within 0.01.",
        equation="R(θ) = ½‖θ‖², d_t = η_t",
    ),
)

MULTIPLIERS = (
    Row(
        "decoupled times schedule",
        'wd.decoupled(0.0221, times="schedule")',
        "The dotted lines lie on the solid ones, since half the learning rate "
        "leaves the decay as it was; all else is the picture of `decoupled`.",
        equation="d_t = s_t",
        source="Loshchilov and Hutter, Decoupled weight decay regularization, 2019; "
        "big_vision.",
    ),
    Row(
        "decoupled times constant",
        'wd.decoupled(0.0111, times="constant")',
        "Decay goes on when the cosine has taken the learning rate away: in the "
        "second half of the run the loss can no longer hold the weight, the 1-D "
        "curves fall and the ends in the plane slide far towards 0.",
        equation="d_t = 1",
        source="`optax.adafactor`, tfa's AdamW.",
    ),
    Row(
        "decoupled times corrected",
        'wd.decoupled(0.59, times="corrected")',
        "Decay fades faster than the learning rate, so the pull is strongest in "
        "the beginning, the 1-D curves climb back while the rate falls, and all "
        "ends lie closer to the minimum than those of `decoupled`.",
        equation="d_t = η_t²/α",
        source="AdamC: Defazio, Why gradients rapidly increase near the end of "
        "training, 2025.",
    ),
    Row(
        "decoupled times lr_squared",
        'wd.decoupled(11.8, times="lr_squared")',
        "At one learning rate this is the picture of `corrected` with another "
        "unit of λ; at half of it (dotted) a quarter of the decay is left, not a "
        "half.",
        equation="d_t = η_t²",
        source="PaLM: Chowdhery et al., 2022, with λ = 1.",
    ),
)

SHAPES = (
    Row(
        "proximal l1",
        'wd.proximal(0.443, penalty="l1")',
        "Nearly straight lines to an exact 0, where the weights stay, since the "
        "pull is the same for every size; in the plane the paths have corners "
        "where they reach an axis, and run along it for a while.",
        equation="R(θ) = Σ|θ|",
        source="Tibshirani, 1996.",
    ),
    Row(
        "proximal elastic_net",
        'wd.proximal(0.443, penalty="elastic_net", l1_ratio=0.5)',
        "Between `decoupled` and `proximal l1`: the lines bend, and still reach "
        "an exact 0; the corners at the axes are there, and shorter.",
        equation="R(θ) = ρΣ|θ| + ½(1−ρ)Σθ², ρ = `l1_ratio`",
        source="Zou and Hastie, 2005.",
    ),
    Row(
        "proximal huber",
        'wd.proximal(0.886, penalty="huber", delta=0.5)',
        "The largest weight falls on a straight line down to δ = 0.5 and by "
        "factors from there on, without exact zeros; SGD ends where it does with "
        "`proximal l1`, whose pull is the same above δ.",
        equation="R(θ) = Σ ½θ² up to |θ| = δ, δ(|θ| − ½δ) beyond, δ = `delta`",
        source="AdamHD, 2025.",
    ),
    Row(
        "proximal p_norm",
        'wd.proximal(0.443, penalty="p_norm", p=0.8)',
        "The smaller a weight, the steeper it falls; on this way no weight gets "
        "past 0, so all ends stand at an exact 0, in 1-D and in the plane, where "
        "a path runs along the axis into it.",
        equation="R(θ) = Σ|θ|^p / p; instead of the minimum the step takes "
        "(θ − η_t·u)/(1 + d_tλ|θ|^(p−2)), with the |θ| before it",
        source="pWD: Outmezguine and Levi, Decoupled weight decay for any p norm, 2024.",
    ),
    Row(
        "proximal group_lasso",
        'wd.proximal(0.443, penalty="group_lasso")',
        "The three weights are one group: they keep their proportions and reach "
        "an exact 0 in the same step; in the plane there are no corners at the "
        "axes.",
        equation="R(θ) = Σ_G ‖θ_G‖, a group an output unit",
        source="Yuan and Lin, 2006.",
    ),
    Row(
        "decoupled spectral",
        'wd.decoupled(0.443, penalty="spectral")',
        "Only the largest singular value shrinks until the next one is as large, "
        "then both go on together at a smaller rate; the path from (−0.9, 1) "
        "zigzags along |x| = |y|.",
        equation="θ becomes ∇R, R(θ) = ½σ₁², the largest singular value",
        source="Yoshida and Miyato, 2017.",
        layout="diagonal",
    ),
    Row(
        "decoupled soft_orthogonality",
        'wd.decoupled(0.111, penalty="soft_orthogonality")',
        "The singular values go to 1, the smallest one up and last; the 1-D "
        "minimum is at 1 anyway, so SGD only gets there sooner, and in the plane "
        "the ends move outwards, away from 0.",
        equation="θ becomes ∇R, R(θ) = ‖WᵀW − I‖²",
        source="Bansal et al., 2018.",
        layout="diagonal",
    ),
)
