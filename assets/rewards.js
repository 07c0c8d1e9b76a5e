// A preview of rewards: what to worry about, then pictures, then texts. The value is a Report of studio/preview.py.
const SIMPLE = { displayModeBar: false, responsive: true };

function layout(title, x, y) {
  const grid = themed("--border-color-primary"), axis = { gridcolor: grid, zerolinecolor: grid, automargin: true };
  return {
    title: { text: plain(title), x: 0.01, font: { size: 14 } }, paper_bgcolor: "transparent", plot_bgcolor: "transparent",
    font: { color: themed("--body-text-color"), family: "system-ui, sans-serif", size: 11 }, margin: { l: 48, r: 14, t: 36, b: 50 },
    xaxis: { ...axis, title: { text: x, standoff: 8 } }, yaxis: { ...axis, title: { text: y } }, showlegend: false, bargap: 0.03,
  };
}

function histogram({ name, weight, mean, edges, counts }) {
  const total = weight == null, width = edges[1] - edges[0];
  const look = layout(name + (total ? "" : ` × ${round(weight, 3)}`), `mean ${round(mean, 3)}`, "answers");
  return [[{
    type: "bar", x: edges.slice(0, -1), y: counts, width, offset: 0, marker: { color: themed(total ? "--live-a" : "--live-b") },
    hovertext: counts.map((count, i) => `${count} answers from ${round(edges[i], 3)} to ${round(edges[i + 1], 3)}`), hoverinfo: "text",
  }], { ...look, shapes: [{ type: "line", x0: mean, x1: mean, yref: "paper", y0: 0, y1: 1, line: { color: "#d97706", width: 1.5, dash: "dash" } }] }];
}

function bestOf({ best_of, kl }) {
  const n = best_of.map((_, i) => i + 1), look = layout("The best of n answers", "n", "");
  const line = (y, color, dash, more) => ({ type: "scatter", mode: "lines+markers", x: n, y, line: { color: themed(color), width: 2.5, dash }, marker: { size: 6 }, ...more });
  const named = (text, color) => ({ title: { text, font: { color: themed(color) } } }); // in the line's colour: a legend has no room on a phone
  return [[
    line(best_of, "--live-a", "solid", { hovertemplate: "best of %{x}: %{y:.3g}<extra></extra>" }),
    line(kl, "--live-b", "dot", { yaxis: "y2", hovertemplate: "KL up to %{y:.2f} nats<extra></extra>" }),
  ], {
    ...look, margin: { ...look.margin, r: 48 }, xaxis: { ...look.xaxis, dtick: Math.ceil(n.length / 8), tick0: 1 },
    yaxis: { ...look.yaxis, ...named("expected total", "--live-a") },
    yaxis2: { overlaying: "y", side: "right", tickmode: "auto", tickformat: ".2~f", ...named("KL at most, nats (dotted)", "--live-b"), showgrid: false, rangemode: "tozero", automargin: true },
  }];
}

const rho = (value) => (Math.abs(value) > 0.995 ? String(Math.round(value)) : value.toFixed(2).replace(/^(-?)0\./, "$1."));

function correlated({ names, correlations }) {
  const look = layout("What goes with what (Spearman’s ρ)", "", ""), shown = names.map(plain);
  return [[{
    type: "heatmap", x: shown, y: shown, z: correlations, zmin: -1, zmax: 1, xgap: 1, ygap: 1, hoverongaps: false,
    colorscale: [[0, "#d97706"], [0.5, themed("--background-fill-secondary")], [1, themed("--live-b")]], showscale: false,
    text: correlations.map((row) => row.map((value) => (value == null ? "" : rho(value)))), texttemplate: "%{text}",
    hovertemplate: "%{y} and %{x}: %{text}<extra></extra>",
  }], { ...look, xaxis: { ...look.xaxis, type: "category", showgrid: false, tickangle: -35 }, yaxis: { ...look.yaxis, type: "category", showgrid: false, autorange: "reversed" } }];
}

function preferring({ preferred }) {
  const look = layout("The chosen answer gets more", "share of pairs (95 % interval)", ""), grey = themed("--body-text-color-subdued");
  return [[{
    type: "scatter", mode: "markers", y: preferred.map((each) => plain(each.name)), x: preferred.map((each) => each.share), marker: { size: 10, color: themed("--live-a") },
    error_x: { type: "data", symmetric: false, array: preferred.map((each) => each.high - each.share), arrayminus: preferred.map((each) => each.share - each.low), color: themed("--live-a") },
    hovertext: preferred.map((each) => `${percent(each.share)} of ${each.pairs} pairs (${percent(each.low)} to ${percent(each.high)})`), hoverinfo: "text",
  }], {
    ...look, xaxis: { ...look.xaxis, range: [0, 1], tickformat: ".0%" }, yaxis: { ...look.yaxis, type: "category", autorange: "reversed" },
    shapes: [{ type: "line", x0: 0.5, x1: 0.5, yref: "paper", y0: 0, y1: 1, line: { color: grey, width: 1, dash: "dash" } }],
  }];
}

function section(title, told, ...parts) {
  const node = make("section");
  node.append(make("h3", "", title), make("p", "muted", told), ...parts);
  return node;
}

function table(className, columns, rows) {
  const node = make("table", className), head = node.createTHead().insertRow(), body = node.createTBody();
  for (const [name] of columns) head.append(make("th", "", name));
  for (const each of rows) {
    const row = body.insertRow();
    for (const [name, value, kind] of columns) {
      const cell = row.insertCell();
      cell.className = kind || "";
      cell.dataset.title = name;
      cell.textContent = value(each);
    }
  }
  return node;
}

const parted = (each) => [`Total ${round(each.total, 3)}`, ...Object.entries(each.parts).map(([name, score]) => `${name} ${round(score, 3)}`)].join("\n");
const answers = (rows) => table("answers", [["Prompt", (each) => each.prompt], ["Answer", (each) => each.answer || "(nothing)"], ["Scores", parted, "scores"]], rows);

function texts({ tried, bar }) {
  const over = (each) => each.total >= bar - 1e-12;
  const node = table("figures", [["Text", (each) => each.name], ["Total", (each) => round(each.total, 3)], ["Reaches so many answers", (each) => percent(each.reaches)]], tried);
  [...node.tBodies[0].rows].forEach((row, i) => { row.className = over(tried[i]) ? "over" : ""; row.cells[0].title = tried[i].text; row.cells[0].translate = false; });
  const scroll = make("div", "scroll");
  scroll.append(node);
  return scroll;
}

function worries({ concerns }) {
  if (!concerns.length) return [make("p", "ready", "Nothing here gives reason to worry. Read the best answers all the same: is that what you want more of?")];
  return concerns.map(({ title, evidence }) => {
    const node = make("p", "note");
    node.append(make("strong", "", `${title}.`), ` ${evidence}`);
    return node;
  });
}

// Plots that go must be let go of: they listen to the window.
function clear(box) {
  for (const node of box.querySelectorAll(".chart")) { sizes.unobserve(node); Plotly.purge(node); }
}

async function draw() {
  const found = props.value, box = element.querySelector(".preview");
  if (!found?.distributions) { clear(box); box.replaceChildren(); return; }
  await drawing();
  if (found !== props.value) return;
  const drawn = [];
  const chart = ([traces, look], name) => {
    const node = make("div", "chart");
    node.dataset.plot = name;
    drawn.push(() => { Plotly.newPlot(node, traces, look, SIMPLE); sizes.observe(node); });
    return node;
  };
  const charts = (...nodes) => { const node = make("div", "charts"); node.append(...nodes); return node; };
  const k = found.answers, rhos = found.correlations.flat(), goes = rhos.some((rho) => rho != null);
  const parts = [
    section("What to worry about", "Each with what shows it; rewards are optimised, whatever they were meant to say.", ...worries(found)),
    section("What answers get", "How many answers get which score. A total that spreads can be learnt from; one bar cannot.",
      charts(...found.distributions.map((each, i) => chart(histogram(each), i ? "part" : "total")))),
    section("What could be won, and what it follows", `${found.best_of_told} ${found.correlations_told}${goes && rhos.includes(null) ? " What is blank never changes." : ""}`,
      charts(chart(bestOf(found), "best-of"), ...(goes ? [chart(correlated(found), "correlations")] : []))),
  ];
  if (found.preferred.length) {
    parts.push(section("Whose side it is on", "Of two answers of the data, how often the one that people chose gets more; ties count half. On the dashed line it is a coin.", charts(chart(preferring(found), "preferred"))));
  }
  parts.push(
    section("Texts that nobody wants", `What they get as answers to your prompts. A tenth of the model's own answers get ${round(found.bar, 3)} or more; a text that reaches it is an easy way out.`, texts(found)),
    section("Best answers", k > 1 ? `What the model would write more of: the highest totals of all ${found.prompts * k}.` : "The highest totals.", answers(found.best)),
  );
  if (found.worst.length) parts.push(section("Worst answers", "What it would write less of.", answers(found.worst)));
  clear(box);
  box.replaceChildren(...parts);
  for (const each of drawn) each();
}

watch("value", draw);
draw();
