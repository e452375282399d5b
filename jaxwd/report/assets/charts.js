// Training curves with bands, and paired differences.

const shown = new Map(); // index of a curve → its place, which is its colour and dash

function place(index) {
  const taken = new Set(shown.values());
  let free = 0;
  while (taken.has(free)) free++;
  shown.set(index, free);
}

function firstShown(curves) {
  const order = curves.map((_, i) => i);
  if (curves.length > HUES.length) {
    order.sort((a, b) => (curves[b].rank ?? -Infinity) - (curves[a].rank ?? -Infinity));
  }
  order.slice(0, Math.min(HUES.length, curves.length > HUES.length ? 6 : 7)).forEach(place);
}

const SHAPES = {
  circle: '<circle cx="13" cy="6" r="3.5"/>', square: '<path d="M9.5 2.5h7v7h-7z"/>',
  diamond: '<path d="M13 1.5l4.5 4.5-4.5 4.5-4.5-4.5z"/>',
  "triangle-up": '<path d="M13 2l4 7h-8z"/>', "triangle-down": '<path d="M13 10l-4-7h8z"/>',
  cross: '<path d="M11.5 2h3v2.5h2.5v3h-2.5v2.5h-3v-2.5h-2.5v-3h2.5z"/>',
  star: '<path d="M13 1l1.5 3.2 3.5.4-2.6 2.4.7 3.4-3.1-1.7-3.1 1.7.7-3.4-2.6-2.4 3.5-.4z"/>',
  x: '<path d="M9.5 2.5l7 7m0-7l-7 7" stroke-width="2"/>',
};

// What stands for a trace beside its name: no text of anybody's is in it.
function swatch(color, dash, mark) {
  const dashes = { solid: "", dash: "6 4", dashdot: "7 3 2 3", dot: "2 3" };
  const line = dash ? `<path d="M1 6h24" stroke-width="2.5" stroke-dasharray="${dashes[dash]}"/>` : "";
  return `<svg width="26" height="12" aria-hidden="true" stroke="${color}" fill="${color}">${line}${SHAPES[mark] || ""}</svg>`;
}

function drawChips(curves) {
  for (const chip of document.querySelectorAll(".chip")) {
    const slot = shown.get(Number(chip.dataset.curve));
    chip.querySelector("span").innerHTML = slot === undefined ? "" : swatch(hue(slot), DASHES[slot % 4]);
  }
  const count = document.getElementById("count");
  if (count) count.textContent = `${shown.size} of ${curves.length} shown`;
}

function startChips(curves) {
  const box = document.getElementById("chips");
  firstShown(curves);
  curves.forEach((curve, i) => {
    const chip = document.createElement("label");
    chip.className = "chip";
    chip.dataset.curve = i;
    const input = document.createElement("input");
    input.type = "checkbox";
    input.checked = shown.has(i);
    input.addEventListener("change", () => {
      if (input.checked) place(i); else shown.delete(i);
      redraw();
    });
    chip.append(input, document.createElement("span"), curve.name);
    box.append(chip);
  });
  const chips = [...box.children];
  box.prepend(...chips.filter((chip) => chip.firstChild.checked));
  const find = document.getElementById("find");
  if (!find) return;
  find.addEventListener("input", () => {
    const part = find.value.toLowerCase();
    for (const chip of chips) chip.hidden = !chip.textContent.toLowerCase().includes(part);
  });
  document.getElementById("none").addEventListener("click", () => {
    shown.clear();
    for (const chip of chips) chip.firstChild.checked = false;
    redraw();
  });
}

function drawPanel(panel, id, curves) {
  const traces = [];
  const every = [];
  const order = [...shown].sort((a, b) => a[1] - b[1]);
  for (const [index, slot] of order) {
    const curve = curves[index];
    const band = curve.bands[panel.metric];
    if (!band) continue;
    const [mean, half] = band;
    const color = hue(slot);
    const sum = (sign) => mean.map((m, i) => (m === null ? null : m + sign * (half?.[i] ?? 0)));
    if (half) {
      const edge = { x: curve.epochs, mode: "lines", line: { width: 0 }, hoverinfo: "skip", showlegend: false };
      // Norms and losses end at 0, which a log axis does not have: there the mean's tenth.
      const low = sum(-1).map((v, i) => (panel.log ? (v <= 0 ? mean[i] / 10 : v) : panel.floor ? Math.max(v, 0) : v));
      traces.push({ ...edge, y: low });
      traces.push({ ...edge, y: sum(1), fill: "tonexty", fillcolor: faint(color, isDark() ? 0.2 : 0.13) });
    }
    every.push(...mean);
    traces.push({
      x: curve.epochs, y: mean, name: escaped(short(curve.name, 40)),
      mode: curve.epochs.length > 1 ? "lines" : "markers",
      line: { color, width: 2, dash: DASHES[slot % 4] }, marker: { color, size: 7 },
      customdata: half ? half.map((h) => `± ${number(h, 2)}`) : curve.epochs.map(() => ""),
      hovertemplate: "%{y:.4~g} %{customdata}",
    });
  }
  const last = Math.max(...order.map(([index]) => curves[index].epochs[curves[index].epochs.length - 1]));
  plot(id, traces, layout(panel.label, {
    height: printing ? 190 : 260, showlegend: false, hovermode: "x unified",
    margin: { b: 38 },
    legend: { traceorder: "normal" },
    xaxis: { unifiedhovertitle: { text: "epoch %{x}" }, title: { text: "epoch", standoff: 4, font: { size: 11 } }, ...(last <= 8 ? { dtick: 1 } : { nticks: 8 }) },
    yaxis: { ...(panel.log ? { ...logTicks(every), ...fitted(every) } : {}) },
  }));
}

// Bands may be far wider than the means say anything about: the means set the range.
function fitted(values) {
  const known = values.filter((v) => v > 0).map(Math.log10);
  if (!known.length) return {};
  const low = Math.min(...known);
  const high = Math.max(...known);
  const room = Math.max(0.08, 0.12 * (high - low));
  return { range: [low - room, high + room] };
}

function startCurves(data) {
  if (!data.curves.length) return;
  startChips(data.curves);
  const box = document.getElementById("panels");
  data.panels.forEach((panel, i) => {
    const chart = document.createElement("div");
    chart.className = "chart";
    chart.id = `panel-${i}`;
    chart.setAttribute("role", "img");
    chart.setAttribute("aria-label", `${panel.label} by epoch; final values are in the tables`);
    box.append(chart);
    charts.set(chart.id, () => drawPanel(panel, chart.id, data.curves));
  });
  charts.set("chips", () => drawChips(data.curves));
}

function drawGap(gap, id) {
  const traces = [];
  const names = gap.rows.map((row) => escaped(short(row.name, narrow.matches ? 20 : 34)));
  gap.rows.forEach((row, i) => {
    const color = hue(i + 1);
    traces.push({
      x: row.gaps, y: row.gaps.map(() => i - 0.2), mode: "markers", customdata: row.seeds,
      marker: { color: faint(HUES[(i + 1) % HUES.length], 0.45), size: 8 },
      hovertemplate: "seed %{customdata}: %{x:+.3~f}<extra></extra>",
    });
    traces.push({
      x: [row.mean], y: [i], mode: "markers", marker: { color, size: 11, symbol: "diamond" },
      error_x: { type: "data", array: [row.half ?? 0], color, thickness: 2.5, width: 6 },
      hovertemplate: `mean %{x:+.3~f}${row.half === null ? "" : ` ± ${number(row.half, 2)}`}<extra></extra>`,
    });
  });
  plot(id, traces, layout(gap.label, {
    height: 92 + 44 * gap.rows.length, showlegend: false, hovermode: "closest",
    xaxis: { zeroline: true, zerolinewidth: 2, zerolinecolor: ink("soft"), nticks: narrow.matches || printing ? 4 : 6, tickangle: 0 },
    yaxis: {
      tickvals: names.map((_, i) => i), ticktext: names, range: [names.length - 0.4, -0.6],
      showgrid: false, zeroline: false, ticks: "",
    },
  }));
}

function startGaps(data) {
  data.gaps.forEach((gap, i) => charts.set(`gap-${i}`, () => drawGap(gap, `gap-${i}`)));
}
