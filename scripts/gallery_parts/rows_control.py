"""Rows: gates, anchors, allocations, norms."""

from gallery_parts.row import Row

GATES = (
    Row(
        "cautious",
        "wd.cautious(wd.decoupled(0.443))",
        "Without a gradient the picture of `decoupled`; without noise (plane) all "
        "ends stand on the loss's own minimum, and with noise, which opens the "
        "gate again and again, SGD ends below it, but far above `decoupled`.",
    ),
    Row(
        "tangent",
        "wd.tangent(wd.decoupled(0.443))",
        "The third loss sees only the direction of θ: plain Adam drifts outwards "
        "and mostly leaves the frame, the scheme keeps close to its circle on the "
        "way round and then lets the length shrink slowly; a zero gradient passes "
        "the test, so decay there is a tenth of that of `decoupled`; one weight "
        "has no tangent, so panel 2 is that of `decoupled`.",
        plane="direction",
    ),
    Row(
        "selective",
        "wd.selective(1.0)",
        "Only what grows the distance to the start against the gradient is taken "
        "back: Adam's overshoot near step 45 in 1-D is cut off, as is the loop "
        "from (−0.9, 1) in the plane, and the ends are those without the scheme.",
        paragraphs=2,
    ),
)

ANCHORS = (
    Row(
        "to_init",
        "wd.to_init(wd.decoupled(0.443))",
        "Without a gradient the weights stand where they are pulled to; in the "
        "plane every start ends at a place of its own, drawn back towards where "
        "it came from.",
    ),
    Row(
        "to_tree",
        "wd.to_tree(wd.decoupled(0.443), anchor)",
        "All weights go to 0.5, the smaller ones upwards; in the plane the ends "
        "lie on the side of the minimum where the anchor (0.5, 0.5) is.",
        note="a = 0.5 for every weight",
    ),
    Row(
        "to_ema",
        "wd.to_ema(wd.decoupled(0.443), beta=0.95)",
        "A brake and no pull to a place: nothing moves without a gradient, SGD is "
        "late, the overshoot and the loops of Adam are smaller, and the ends are "
        "nearly those without the scheme.",
    ),
    Row(
        "to_norm",
        "wd.to_norm(wd.decoupled(0.443), 0.6)",
        "The three weights keep their proportions and shrink until their common "
        "length is 0.6; with a loss the length is drawn towards 0.6 (dashed "
        "circle) and does not get there.",
        bound=(0.6, "circle"),
    ),
    Row(
        "amos",
        "wd.amos(scale=0.5)",
        "No gradient, no decay. η̃ halves every step at first and later steps shrink "
        "further, so the 1-D curves are slower than without and smoother at the end; "
        "the pull fades with the steps, and the ends lie at or near the minimum.",
    ),
)

ALLOCATIONS = (
    Row(
        "stable",
        "wd.stable(wd.decoupled(0.2))",
        "Before any gradient was seen there is no decay at all; later its "
        "strength follows the typical size of the gradients, and the three ends "
        "in the plane lie closer together than those of `decoupled`.",
    ),
    Row(
        "awd",
        "wd.awd(wd.coupled(0.5))",
        "No gradient, no decay; in the plane decay fades with the gradient and "
        "one end reaches the minimum, while the noise in 1-D keeps the gradient "
        "and so the decay alive, alike under both cores.",
    ),
    Row(
        "adadecay",
        "wd.adadecay(wd.coupled(0.443))",
        "One weight is its own average, and so are zero gradients, so panels 1 "
        "and 2 are those of `coupled`; in the plane the coordinate with the "
        "larger gradient decays by nearly 2λ and the other hardly at all, and "
        "which one that is depends on the start: two different ends.",
    ),
    Row(
        "alpha_decay",
        "wd.alpha_decay(wd.decoupled(0.443), every=50)",
        "The weight in the heavy-tailed kernel decays slowest (⅔ λ), the one in "
        "the light-tailed kernel fastest (3λ); in 1-D the heavy kernel is shown, "
        "closer to 1 than `decoupled`, and in the plane x is in the heavy and y "
        "in the light one, so the ends lie lower than those of `decoupled`.",
        paragraphs=2,
        layout="spectra",
    ),
    Row(
        "auto_l2",
        "wd.auto_l2(wd.coupled(0.443), refractory=10)",
        "The objective handed over here has no decay in it. It begins as `coupled` does, "
        "held short of the minimum; once the loss is stuck λ falls tenfold, and the "
        "weights go on to the minimum: in 1-D after step 60, in the plane at the loops. "
        "Without a gradient the loss never gets lower, so λ falls there as well.",
        paragraphs=2,
    ),
)

NORMS = (
    Row(
        "max_norm",
        "wd.max_norm(0.6)",
        "Every weight is a unit of its own, so only the one above 0.6 is cut, in "
        "the first step; both cores stop at 0.6, and in the plane the units make "
        "a square (dashed), which starts outside enter at once and on whose side "
        "all ends stand.",
        layout="units",
        bound=(0.6, "square"),
    ),
    Row(
        "norm_ball",
        "wd.norm_ball(0.6)",
        "One leaf: in the first step all three weights are scaled to a common "
        "length of 0.6; in the plane the starts jump to the circle (dashed) and "
        "end on it side by side, not quite in one point.",
        bound=(0.6, "circle"),
    ),
    Row(
        "radial_brake",
        "wd.radial_brake(outward=0.25)",
        "On the way to 0 nothing changes; beyond it a quarter of each growth is "
        "let through, so the 1-D curves bend at 0 and rise slowly, and SGD stays "
        "below 1, since noise inwards counts in full and noise outwards by a "
        "quarter.",
    ),
    Row(
        "lawn",
        "wd.lawn(30)",
        "From step 30 on lengths are frozen: in 1-D the weight stands still, and "
        "in the plane only arcs around 0 are left, such as the last piece of the "
        "path from (−0.9, 1).",
        paragraphs=2,
    ),
    Row(
        "hyperball",
        "wd.hyperball()",
        "Lengths never change: one weight can only stay where it is, and in the "
        "plane each start moves on its own circle, swings, and ends where the "
        "loss is lowest nearby, for (−0.7, −0.8) on the far side from the "
        "minimum.",
    ),
    Row(
        "rotational",
        "wd.rotational(0.443, center=False)",
        "The circles and the ends of `hyperball` with other swings: the angle of "
        "a step is set by λ and the learning rate, so the path from (−0.7, −0.8) "
        "first runs past its end.",
        paragraphs=2,
    ),
    Row(
        "cpr",
        'wd.cpr(bound="uniform", kappa=0.36, update=0.05)',
        "The multiplier grows while ‖θ‖² is above 0.36 and needs as long to fall "
        "again: without a gradient it pulls the length far below 0.6, and with a "
        "loss the 1-D curves swing around 0.6 and settle there, as do the ends in "
        "the plane near the circle (dashed).",
        paragraphs=2,
        bound=(0.6, "circle"),
    ),
)
