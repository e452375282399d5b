"use strict";
// Light and dark: as the system says until the button is pressed; remembered where the
// browser lets a file remember. Charts take their colours from the page's.

const root = document.documentElement;
const systemDark = matchMedia("(prefers-color-scheme: dark)");
const narrow = matchMedia("(max-width: 40rem)");
const charts = new Map(); // id → a function of nothing that draws it
let printing = false;

function isDark() {
  return (root.dataset.theme || (systemDark.matches ? "dark" : "light")) === "dark";
}

function setTheme(theme) {
  if (theme) root.dataset.theme = theme;
  const button = document.getElementById("theme");
  button.setAttribute("aria-pressed", String(isDark()));
  redraw();
}

function startTheme() {
  let kept = null;
  try { kept = localStorage.getItem("jaxwd-theme"); } catch { /* not allowed here */ }
  if (kept === "dark" || kept === "light") root.dataset.theme = kept;
  setTheme(null);
  document.getElementById("theme").addEventListener("click", () => {
    const theme = isDark() ? "light" : "dark";
    try { localStorage.setItem("jaxwd-theme", theme); } catch { /* for now only */ }
    setTheme(theme);
  });
  systemDark.addEventListener("change", () => setTheme(null));
  narrow.addEventListener("change", redraw);
  let before;
  addEventListener("beforeprint", () => {
    before = root.dataset.theme;
    root.dataset.theme = "light";
    printing = true;
    redraw();
  });
  addEventListener("afterprint", () => {
    if (before) root.dataset.theme = before; else delete root.dataset.theme;
    printing = false;
    redraw();
  });
}

function redraw() {
  for (const draw of charts.values()) draw();
}

// Okabe and Ito, Color universal design, 2008; a dash and a mark each besides, for print.
const HUES = ["#000000", "#E69F00", "#0072B2", "#009E73", "#CC79A7", "#D55E00", "#56B4E9"];
const DASHES = ["solid", "dash", "dashdot", "dot"];
const MARKS = ["circle", "square", "diamond", "triangle-up", "triangle-down", "cross", "star"];

function ink(name) {
  return getComputedStyle(root).getPropertyValue(`--${name}`).trim();
}

function hue(i) {
  return i % HUES.length ? HUES[i % HUES.length] : ink("first");
}

function faint(color, alpha) {
  const parts = [1, 3, 5].map((at) => parseInt(color.slice(at, at + 2), 16));
  return `rgba(${parts.join(",")},${alpha})`;
}

function layout(title, more) {
  const axis = {
    gridcolor: ink("grid"), linecolor: ink("line"), zerolinecolor: ink("line"),
    ticks: "outside", tickcolor: ink("line"), ticklen: 4, automargin: true, exponentformat: "power",
  };
  const given = more || {};
  return {
    ...given,
    title: { text: escaped(title), x: 0, xref: "container", xanchor: "left", font: { size: 13 }, y: 0.98, yanchor: "top", yref: "container" },
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: "rgba(0,0,0,0)",
    font: { family: getComputedStyle(document.body).fontFamily, size: 12, color: ink("text") },
    margin: { l: 46, r: 12, t: 34, b: 42, ...given.margin },
    hoverlabel: { bgcolor: ink("raised"), bordercolor: ink("line"), font: { color: ink("text"), size: 12 }, align: "left", namelength: -1 },
    xaxis: { ...axis, ...given.xaxis },
    yaxis: { ...axis, ...given.yaxis },
    modebar: { bgcolor: "rgba(0,0,0,0)", color: ink("soft"), activecolor: ink("text") },
    // A finger scrolls the page; a mouse may zoom.
    dragmode: matchMedia("(pointer: coarse)").matches ? false : "zoom",
    autosize: !printing,
    ...(printing ? { width: given.wide ? 660 : 325 } : {}),
  };
}

// Plotly reads a few HTML tags in its texts; names have none.
function escaped(text) {
  return String(text).replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");
}

function short(text, most) {
  return text.length > most ? `${text.slice(0, most - 1)}…` : text;
}

function number(value, digits = 4) {
  if (value === null || value === undefined) return "–";
  const size = Math.abs(value);
  const plain = Number(value.toPrecision(digits));
  const text = size > 0 && size < 5e-4 ? plain.toExponential() : plain.toString();
  return text.replace(/^-/, "−");
}

function plot(id, traces, look) {
  const config = {
    responsive: true, displaylogo: false, displayModeBar: !narrow.matches && !printing,
    modeBarButtons: [[{ name: "Save as SVG", icon: Plotly.Icons.camera, click: (chart) => save(chart, id) }, "resetScale2d"]],
  };
  return Plotly.react(document.getElementById(id), traces, look, config);
}

// A picture that leaves the page takes the names of its lines along.
async function save(chart, id) {
  const named = chart.data.filter((t) => t.name && t.visible !== false && t.showlegend !== false).length > 1;
  if (named) await Plotly.relayout(chart, { showlegend: true });
  await Plotly.downloadImage(chart, { format: "svg", filename: id });
  if (named) await Plotly.relayout(chart, { showlegend: false });
}

// 1, 2, 5 in every decade in plain numbers, or 1 alone where decades are many.
function logTicks(values) {
  const known = values.filter((v) => v > 0);
  if (!known.length) return {};
  const [least, most] = [Math.min(...known), Math.max(...known)];
  const [low, high] = [Math.floor(Math.log10(least)), Math.ceil(Math.log10(most))];
  const at = (digits) => {
    const found = [];
    for (let p = low; p <= high; p++) for (const d of digits) found.push(d * 10 ** p);
    return found;
  };
  const within = (places) => places.filter((v) => v >= 0.9 * least && v <= 1.1 * most).length;
  const choices = [[1], [1, 2, 5], [1, 1.5, 2, 3, 4, 5, 7], [1, 1.2, 1.4, 1.6, 1.8, 2, 2.5, 3, 3.5, 4, 4.5, 5, 6, 7, 8, 9]].map(at);
  const tickvals = choices.find((places) => within(places) >= 4) || choices[3];
  return { type: "log", tickvals, ticktext: tickvals.map((v) => number(v)) };
}
