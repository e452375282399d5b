// The tables work at once; the charts once their library is unpacked.

async function unpack(element) {
  const packed = Uint8Array.from(atob(element.textContent), (c) => c.charCodeAt(0));
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Response(stream).text();
}

async function start() {
  startTables();
  const data = JSON.parse(document.getElementById("data").textContent);
  const script = document.createElement("script");
  script.textContent = await unpack(document.getElementById("plotly"));
  document.head.append(script);
  if (!window.Plotly) throw new Error("the chart library did not start");
  startGaps(data);
  startGrids(data);
  startCurves(data);
  startTheme();
  root.dataset.ready = "yes"; // tests and printers wait for it
}

start().catch((error) => {
  const trouble = document.getElementById("trouble");
  trouble.textContent = `The charts need a browser of 2023 or later (${error.message}); all tables are here.`;
  trouble.hidden = false;
});
