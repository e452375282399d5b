// Sensitivity lines and heat maps of a sweep; one choice of what is shown serves both.

function metricOf(grids) {
  const key = document.getElementById("metric").value;
  return grids.metrics.find((m) => m.key === key) || grids.metrics[0];
}

function spot(axis, value) {
  return axis.places[axis.values.indexOf(value)];
}

// Words at those places of an axis that leave room for them, `wide` pixels in all.
function spaced(axis, wide, each) {
  const at = axis.tickvals.map((v) => (axis.log ? Math.log10(v) : v));
  const pixel = wide / (at[at.length - 1] - at[0] || 1);
  const kept = [];
  at.forEach((v, i) => {
    if (!kept.length || (v - at[kept[kept.length - 1]]) * pixel >= each) kept.push(i);
  });
  return { tickvals: axis.tickvals, ticktext: axis.ticktext.map((text, i) => (kept.includes(i) ? text : "")), tickangle: 0 };
}

function scale(axis) {
  const room = document.getElementById("lines").clientWidth;
  return {
    type: axis.log ? "log" : "linear", ...spaced(axis, room * (narrow.matches ? 0.8 : 0.6), 46),
    title: { text: escaped(axis.label), standoff: 8, font: { size: 12 } },
  };
}

function better(metric, a, b) {
  return metric.higher ? a - b : b - a;
}

function drawLines(grids) {
  const metric = metricOf(grids);
  const top = (line) => line.metrics[metric.key][0].filter((v) => v !== null)
    .reduce((a, b) => (a === null || better(metric, b, a) > 0 ? b : a), null);
  const tops = grids.lines.map(top);
  const order = grids.lines.map((_, i) => i).filter((i) => tops[i] !== null);
  order.sort((a, b) => better(metric, tops[b], tops[a]));
  // The best lines are shown and have a colour each; the others wait for their buttons.
  const first = new Set(order.length ? order.slice(0, HUES.length) : grids.lines.keys());
  const slots = new Map();
  for (const i of [...grids.lines.keys()].sort((a, b) => first.has(b) - first.has(a) || a - b)) slots.set(i, slots.size);
  const traces = grids.lines.map((line, i) => {
    const [mean, half] = line.metrics[metric.key];
    const slot = slots.get(i);
    const color = hue(slot);
    return {
      x: line.x.map((v) => spot(grids.x, v)), y: mean, name: escaped(short(line.name, 40)),
      mode: grids.dense ? "lines+markers" : "markers", connectgaps: false,
      visible: pressed.get(i) ?? first.has(i),
      line: { color, width: 2, dash: DASHES[Math.floor(slot / HUES.length) % 4] },
      marker: { color, size: 7, symbol: MARKS[slot % MARKS.length] },
      error_y: { type: "data", array: half.map((h) => h ?? 0), color, thickness: 1.2, width: 4 },
      customdata: line.x.map((v, j) => `${number(v)}: ${number(mean[j])}${half[j] === null ? "" : ` ± ${number(half[j], 2)}`}, n = ${line.n[j]}`),
      hovertemplate: `${grids.x.name} %{customdata}<extra>${escaped(short(line.name, 60))}</extra>`,
    };
  });
  const lost = grids.lines.flatMap((line) => line.x.map((v, j) => ({
    x: spot(grids.x, v), name: line.name, value: v, n: line.diverged[j],
  }))).filter((p) => p.n > 0);
  if (lost.length) {
    traces.push({
      x: lost.map((p) => p.x), y: lost.map(() => 0.02), yaxis: "y2", mode: "markers", name: "diverged", cliponaxis: false,
      visible: pressed.get(traces.length) ?? true,
      marker: { symbol: "x", size: 8, color: ink("soft") },
      customdata: lost.map((p) => `${escaped(short(p.name, 60))}, ${grids.x.name} ${number(p.value)}: ${p.n} diverged`),
      hovertemplate: "%{customdata}<extra></extra>",
    });
  }
  drawKeys("lines", traces, [...grids.lines.map((line) => short(line.name, 40)), "diverged"]);
  plot("lines", traces, layout(metric.label, {
    wide: true, height: printing ? 320 : 400, hovermode: "closest", showlegend: false,
    margin: { l: 56 },
    xaxis: scale(grids.x),
    yaxis: { zeroline: false },
    yaxis2: { overlaying: "y", range: [0, 1], visible: false, fixedrange: true },
  }));
}

// Plotly's legend knows no keyboard: a button for each trace hides and shows it instead.
const pressed = new Map(); // index of a trace → whether somebody wants it shown

function drawKeys(id, traces, names) {
  const box = document.getElementById(`${id}-keys`);
  if (!box.children.length && traces.length > 1) {
    if (traces.length > HUES.length) {
      box.append(keyForAll(id, "All", true), keyForAll(id, "None", false));
    }
    const order = [...traces.keys()].sort((a, b) => traces[b].visible - traces[a].visible || a - b);
    for (const i of order) box.append(key(id, i));
  }
  for (const button of box.querySelectorAll(".key")) {
    const { line, marker, visible } = traces[button.dataset.trace];
    button.innerHTML = swatch(marker.color, line?.dash, marker.symbol);
    button.append(names[button.dataset.trace]);
    button.setAttribute("aria-pressed", String(visible));
  }
}

function key(id, index) {
  const button = document.createElement("button");
  button.type = "button";
  button.className = "key";
  button.dataset.trace = index;
  button.addEventListener("click", () => show(id, [button], button.getAttribute("aria-pressed") !== "true"));
  return button;
}

function keyForAll(id, text, wanted) {
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = text;
  button.addEventListener("click", () => show(id, [...button.parentElement.querySelectorAll(".key")], wanted));
  return button;
}

function show(id, buttons, wanted) {
  const indices = buttons.map((button) => Number(button.dataset.trace));
  for (const index of indices) pressed.set(index, wanted);
  for (const button of buttons) button.setAttribute("aria-pressed", String(wanted));
  Plotly.restyle(id, { visible: wanted }, indices);
}

const CIVIDIS = [
  [0, "#00224e"], [0.125, "#123570"], [0.25, "#3b496c"], [0.375, "#575d6d"], [0.5, "#707173"],
  [0.625, "#8a8678"], [0.75, "#a59c74"], [0.875, "#c3b369"], [1, "#fee838"],
];

function range(grids, metric) {
  const values = grids.maps.flatMap((map) => map.metrics[metric.key][0]).filter((v) => v !== null);
  return values.length ? [Math.min(...values), Math.max(...values)] : [0, 1];
}

function drawMap(grids, map, id) {
  const metric = metricOf(grids);
  const mean = map.metrics[metric.key][0];
  const half = map.metrics[metric.key][1];
  const text = map.x.map((v, i) =>
    `${grids.x.name} ${number(v)}, ${grids.y.name} ${number(map.y[i])}<br>` +
    (mean[i] === null ? (map.diverged[i] ? "diverged" : "no value") : `<b>${number(mean[i])}</b>${half[i] === null ? "" : ` ± ${number(half[i], 2)}`}, n = ${map.n[i]}`) +
    (mean[i] !== null && map.diverged[i] ? `, ${map.diverged[i]} diverged` : ""));
  const [low, high] = range(grids, metric); // all maps share one scale
  const best = mean.reduce((b, v, i) => (v !== null && (b < 0 || better(metric, v, mean[b]) > 0) ? i : b), -1);
  const bar = { thickness: 10, outlinewidth: 0, len: 1, title: { text: "" }, nticks: 5, tickfont: { size: 11 } };
  const colors = { colorscale: CIVIDIS, reversescale: !metric.higher, colorbar: bar };
  const title = !map.name ? metric.label
    : narrow.matches || printing ? short(map.name, 42) : `${short(map.name, 44)} · ${metric.label}`;
  const look = { height: printing ? 260 : 360, hovermode: "closest", showlegend: false, margin: { l: 60, b: 54, r: 8 } };
  if (!grids.dense) {
    const lost = map.x.map((_, i) => i).filter((i) => mean[i] === null && map.diverged[i]);
    const at = (indices, more) => ({
      type: "scatter", mode: "markers", x: indices.map((i) => spot(grids.x, map.x[i])),
      y: indices.map((i) => spot(grids.y, map.y[i])), text: indices.map((i) => text[i]), hovertemplate: "%{text}<extra></extra>", ...more,
    });
    const done = map.x.map((_, i) => i).filter((i) => mean[i] !== null);
    return plot(id, [
      at(done, { marker: { size: done.map((i) => (i === best ? 17 : 12)), color: done.map((i) => mean[i]), cmin: low, cmax: high, ...colors,
        line: { width: done.map((i) => (i === best ? 3 : 1)), color: done.map((i) => (i === best ? "#D55E00" : ink("line"))) } } }),
      at(lost, { marker: { symbol: "x", size: 9, color: ink("soft") } }),
    ], layout(title, { ...look, xaxis: { ...decades(grids.x) }, yaxis: { ...decades(grids.y) } }));
  }
  const z = grids.y.values.map(() => grids.x.values.map(() => null));
  const words = z.map((row) => row.map(() => ""));
  const marks = [];
  map.x.forEach((v, i) => {
    const [column, row] = [grids.x.values.indexOf(v), grids.y.values.indexOf(map.y[i])];
    z[row][column] = mean[i];
    words[row][column] = text[i];
    if (mean[i] === null && map.diverged[i]) marks.push({ x: column, y: row, text: "×", showarrow: false, font: { size: 15, color: ink("soft") } });
  });
  const roomy = grids.x.values.length <= (narrow.matches || printing ? 6 : grids.maps.length > 1 ? 10 : 16);
  if (roomy) map.x.forEach((v, i) => {
    if (mean[i] === null) return;
    const share = (mean[i] - low) / (high - low || 1);
    marks.push({
      x: grids.x.values.indexOf(v), y: grids.y.values.indexOf(map.y[i]), text: String(Number(mean[i].toPrecision(3))), showarrow: false,
      font: { size: 11, color: (metric.higher ? share : 1 - share) < 0.52 ? "#ffffff" : "#111111" },
    });
  });
  const trace = {
    type: "heatmap", z, zmin: low, zmax: high, text: words, hoverongaps: false, xgap: 1, ygap: 1,
    hovertemplate: "%{text}<extra></extra>", ...colors,
  };
  const frame = best < 0 ? [] : [{
    type: "rect", line: { color: "#D55E00", width: 3 },
    x0: grids.x.values.indexOf(map.x[best]) - 0.5, x1: grids.x.values.indexOf(map.x[best]) + 0.5,
    y0: grids.y.values.indexOf(map.y[best]) - 0.5, y1: grids.y.values.indexOf(map.y[best]) + 0.5,
  }];
  const steps = (axis) => ({
    ...everyFew(axis), showgrid: false, zeroline: false, ticks: "",
    title: { text: escaped(axis.name), standoff: 6, font: { size: 12 } },
  });
  return plot(id, [trace], layout(title, { ...look, shapes: frame, annotations: marks, xaxis: steps(grids.x), yaxis: steps(grids.y) }));
}

function everyFew(axis) {
  const every = Math.ceil(axis.values.length / 12);
  const kept = [...axis.values.keys()].filter((i) => i % every === 0);
  return { tickvals: kept, ticktext: kept.map((i) => axis.words[i]) };
}

function decades(axis) {
  const title = { text: escaped(axis.name), standoff: 6, font: { size: 12 } };
  return axis.log ? { ...logTicks(axis.places), title } : { title };
}

function startGrids(data) {
  const { grids } = data;
  if (!grids) return;
  const select = document.getElementById("metric");
  for (const metric of grids.metrics) select.append(new Option(metric.choose, metric.key));
  select.addEventListener("change", redraw);
  if (!grids.metrics.length) return;
  charts.set("lines", () => drawLines(grids));
  grids.maps.forEach((map, i) => charts.set(`map-${i}`, () => drawMap(grids, map, `map-${i}`)));
}
