// Sorting, and copying as Markdown, LaTeX or CSV in the order shown.

function cellNumber(text) {
  const found = text.replace(/[,\s]/g, "").replace(/−/g, "-").match(/^[<+]?(-?\d*\.?\d+(?:e[-+]?\d+)?)/i);
  return found ? Number(found[1]) : null;
}

function sortBy(table, column, rising) {
  const body = table.tBodies[0];
  const rows = [...body.rows].map((row) => {
    const text = row.cells[column].textContent.trim();
    return { row, text, value: cellNumber(text) };
  });
  const filled = rows.filter((r) => r.text && !/^[–?]$/.test(r.text));
  const numeric = filled.filter((r) => r.value !== null).length * 2 >= filled.length;
  // What has no value stands last, whichever way the others go.
  const missing = (r) => !filled.includes(r) || (numeric && r.value === null);
  const lacking = new Set(rows.filter(missing));
  const collator = new Intl.Collator("en", { numeric: true });
  rows.sort((a, b) => {
    if (lacking.has(a) || lacking.has(b)) return lacking.has(a) - lacking.has(b);
    const order = numeric ? a.value - b.value : collator.compare(a.text, b.text);
    return rising ? order : -order;
  });
  body.append(...rows.map((r) => r.row));
  table.querySelectorAll("thead th").forEach((th, i) => {
    if (i === column) th.setAttribute("aria-sort", rising ? "ascending" : "descending");
    else th.removeAttribute("aria-sort");
  });
}

function cells(table) {
  const texts = (row) => [...row.cells].map((cell) => cell.textContent.trim());
  return [texts(table.tHead.rows[0]), ...[...table.tBodies[0].rows].map(texts)];
}

const LATEX = {
  "\\": "\\textbackslash{}", "&": "\\&", "%": "\\%", "$": "\\$", "#": "\\#", "_": "\\_",
  "{": "\\{", "}": "\\}", "~": "\\textasciitilde{}", "^": "\\textasciicircum{}",
  "<": "$<$", ">": "$>$", "|": "$|$", "λ": "$\\lambda$", "τ": "$\\tau$", "θ": "$\\theta$", "α": "$\\alpha$",
  "‖": "$\\|$", "±": "$\\pm$", "−": "$-$", "×": "$\\times$", "–": "--", "≥": "$\\geq$", "≤": "$\\leq$", "→": "$\\to$", "½": "$\\frac12$",
};

const FORMATS = {
  Markdown(rows, sides) {
    const line = (row) => `| ${row.map((x) => x.replace(/\\/g, "\\\\").replace(/\|/g, "\\|").replace(/</g, "&lt;")).join(" | ")} |`;
    const rule = `|${sides.map((s) => (s === "number" ? " --: " : " :-- ")).join("|")}|`;
    return [line(rows[0]), rule, ...rows.slice(1).map(line)].join("\n") + "\n";
  },
  LaTeX(rows, sides) {
    const cell = (x) => [...x].map((c) => LATEX[c] ?? c).join("");
    // A bracket after \\ would be read as its argument.
    const line = (row) => `${row.map(cell).join(" & ").replace(/^\[/, "{[}")} \\\\`;
    return ["% needs \\usepackage{booktabs}",
      `\\begin{tabular}{${sides.map((s) => (s === "number" ? "r" : "l")).join("")}}`,
      "\\toprule", line(rows[0]), "\\midrule", ...rows.slice(1).map(line),
      "\\bottomrule", "\\end{tabular}"].join("\n") + "\n";
  },
  CSV(rows) {
    // A spreadsheet takes a leading = + - @ for a formula unless it begins a number.
    const safe = (x) => (/^[=+\-@\t\r]/.test(x) && !/^[+-]?\d/.test(x) ? `'${x}` : x);
    const cell = (x) => (/[",\n\r]/.test(safe(x)) ? `"${safe(x).replace(/"/g, '""')}"` : safe(x));
    return rows.map((row) => row.map(cell).join(",")).join("\r\n") + "\r\n";
  },
};

async function copy(text, said) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    // Browsers that give files no clipboard still copy a selection.
    const area = document.createElement("textarea");
    area.value = text;
    document.body.append(area);
    area.select();
    const done = document.execCommand("copy");
    area.remove();
    if (!done) return say(said, "could not be copied");
  }
  say(said, "copied");
}

function say(where, text) {
  where.textContent = text;
  setTimeout(() => { where.textContent = ""; }, 2500);
}

function startTables() {
  for (const table of document.querySelectorAll("table")) {
    table.querySelectorAll(".sort").forEach((button, column) => {
      button.addEventListener("click", () => {
        const now = button.parentElement.getAttribute("aria-sort");
        sortBy(table, column, now !== "ascending");
      });
    });
  }
  for (const button of document.querySelectorAll(".copy")) {
    button.addEventListener("click", () => {
      const table = document.getElementById(button.dataset.table);
      const sides = [...table.tHead.rows[0].cells].map((th) => th.className);
      const said = button.parentElement.querySelector(".said");
      copy(FORMATS[button.dataset.kind](cells(table), sides), said);
    });
  }
  const command = document.getElementById("copy-command");
  if (command) {
    command.addEventListener("click", () =>
      copy(document.getElementById("command").textContent, command.nextElementSibling));
  }
}
