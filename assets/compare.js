// The table and the plots of a bake-off. The value is its id; clicks come back as events with an `action`.
const POLL_MS = 1500;
let shown = null; // the last answer
let sorted = { key: "", down: false };
let quality = "";
let last = "";
let pressed = false;
root.addEventListener("pointerdown", () => { pressed = true; });
const released = () => { pressed = false; drawRest(); };
for (const end of ["pointerup", "pointercancel"]) window.addEventListener(end, () => setTimeout(released, 50)); // first the click it is part of

const FORMS = {
  trainable: (value) => (value < 1e6 ? value.toLocaleString("en") : `${round(value / 1e6, 4)} M`),
  memory: (value) => round(value, 3),
  score: (value, row) => (row.score_kind === "number" ? round(value, 3) : percent(value)), // R² is no share
  share: (value) => `${round(value, 3)} %`,
  rate: (value) => value.toExponential(),
};
const cellText = (key, row) => (row[key] == null ? "–" : FORMS[key] ? FORMS[key](row[key], row) : round(row[key], 4)); // its heading says the unit

const scoreName = () => shown.rows.find((row) => row.score_name)?.score_name || "Task score";

function best(column) {
  const known = shown.rows.filter((row) => row.status === "done" && row[column.key] != null).map((row) => row[column.key]);
  if (!column.better || known.length < 2) return null;
  return column.better === "low" ? Math.min(...known) : Math.max(...known);
}

function order() {
  const rows = [...shown.rows];
  if (!sorted.key) return rows;
  const value = (row) => row[sorted.key] ?? null;
  const compare = (a, b) => typeof a === "string" ? a.localeCompare(b) : a - b;
  return rows.sort((a, b) => { // what is not known stays below
    const one = value(a), other = value(b);
    if (one === null || other === null) return (one === null) - (other === null);
    return compare(one, other) * (sorted.down ? -1 : 1);
  });
}

function heading(key, title, help) {
  const cell = make("th");
  cell.title = help;
  cell.setAttribute("aria-sort", sorted.key !== key ? "none" : sorted.down ? "descending" : "ascending");
  cell.append(sorter(title, sorted.key === key, sorted.down, () => {
    sorted = { key, down: sorted.key === key && !sorted.down };
    drawTable();
  }));
  return cell;
}

function statusCell(row) {
  const cell = make("td");
  const running = row.status === "training" ? ` ${Math.round(100 * row.progress)} %` : "";
  cell.append(make("span", `chip ${row.status}`, row.status + running));
  if (row.problem) cell.append(make("div", "problem", row.problem));
  return cell;
}

function drawTable() {
  const table = make("table", "measured");
  const head = table.createTHead().insertRow();
  head.append(heading("method", "Method", "Which weights learn."), heading("status", "Status", "Runs train one after another."));
  for (const column of shown.columns) {
    const unit = column.unit && !["%", "weights"].includes(column.unit) ? ` (${column.unit})` : "";
    head.append(heading(column.key, (column.key === "score" ? scoreName() : column.title) + unit, column.help));
  }
  head.append(make("th"));
  const tops = Object.fromEntries(shown.columns.map((column) => [column.key, best(column)]));
  const body = table.createTBody();
  for (const row of order()) {
    const line = body.insertRow();
    line.classList.toggle("winner", row.id === shown.winner);
    const name = make("td", "method", (row.id === shown.winner ? "★ " : "") + row.method);
    line.append(name, statusCell(row));
    for (const column of shown.columns) {
      const top = tops[column.key] !== null && row[column.key] === tops[column.key];
      const cell = make("td", top ? "number best" : "number", cellText(column.key, row));
      if (top) cell.title = "The best of those that are done.";
      line.append(cell);
    }
    const actions = make("td", "actions");
    actions.append(button("Curves", "", () => trigger("click", { action: "curves", run: row.id })));
    actions.append(button("Use", "", () => trigger("click", { action: "use", run: row.id })));
    actions.lastChild.title = "Put this run's settings into the Train tab.";
    line.append(actions);
  }
  root.querySelector(".scroll").replaceChildren(table);
}

function drawHead() {
  const left = shown.rows.filter((row) => row.progress < 1).length;
  const time = shown.remaining == null ? "" : `, about ${duration(shown.remaining)} left`;
  root.querySelector(".progress").textContent = shown.active
    ? `${shown.rows.length - left} of ${shown.rows.length} runs have ended${time}.` : "All runs have ended.";
  root.querySelector(".why").textContent = shown.why;
  root.querySelector(".why").hidden = !shown.why;
  root.querySelector(".stop").hidden = !shown.active;
  root.querySelector(".use").hidden = !shown.winner;
}

function drawPlots() {
  const scores = shown.rows.some((row) => row.score != null);
  const measures = [["loss", "Final held-out loss (lower is better)"], ["best_loss", "Best held-out loss (lower is better)"],
    ...(scores ? [["score", `${scoreName()} (higher is better)`]] : [])];
  if (!measures.some(([key]) => key === quality)) quality = "loss";
  root.querySelector(".measure").replaceChildren(choice("Quality", measures, quality, (key) => { quality = key; drawPlots(); }));
  const title = plain(measures.find(([key]) => key === quality)[1]);
  const biggest = Math.max(...shown.rows.map((row) => row.size || 0), 1e-9);
  for (const [name, key, label] of [["memory", "memory", "Peak memory (GB)"], ["time", "step_seconds", "Seconds per step"]]) {
    const traces = shown.rows.map((row, index) => ({ row, index })).filter(({ row }) => row[key] != null && row[quality] != null)
      .map(({ row, index }) => ({
        x: [row[key]], y: [row[quality]], text: [plain(row.method)], name: plain(row.method), mode: "markers+text", type: "scatter", textposition: "top center",
        marker: { size: 9 + 25 * Math.sqrt((row.size || 0) / biggest), color: color(index), opacity: 0.8, line: { width: row.id === shown.winner ? 3 : 0, color: getComputedStyle(root).color } },
        hovertemplate: `%{text}<br>${label}: %{x:.4g}<br>${title}: %{y:.4g}<extra></extra>`, cliponaxis: false,
      }));
    plot(root.querySelector(`[data-plot=${name}]`), traces, { title: `Quality against ${name}`, x: { title: { text: label, standoff: 6 } }, y: { title: { text: title } } });
  }
}

function frame() {
  const head = make("div", "head");
  const stop = button("Stop all", "stop", () => {
    stop.disabled = true; // not through Gradio: its session is gone after a server's restart
    const again = () => setTimeout(() => { stop.disabled = false; }, 2000);
    fetch(address(`comparisons/${encodeURIComponent(props.value)}/stop`), { method: "POST" }).then(again, again);
  });
  const use = button("Make the winner the current one", "use primary", () => trigger("click", { action: "use", run: shown.winner }));
  const curves = button("Lay their curves over one another", "", () => trigger("click", { action: "overlay", runs: shown.rows.map((row) => row.id) }));
  const buttons = make("span", "actions");
  buttons.append(use, curves, stop);
  const progress = make("span", "progress");
  progress.setAttribute("aria-live", "polite");
  head.append(progress, buttons);
  const plots = make("div", "plots");
  for (const name of ["memory", "time"]) {
    const box = make("div", "chart");
    box.dataset.plot = name;
    plots.append(box);
  }
  root.replaceChildren(make("p", "fault away", "The studio does not answer. Runs in progress go on; this page tries again."), head,
    make("p", "ready why"), make("div", "scroll"), make("div", "measure"), plots,
    make("p", "muted", "The larger a dot, the larger what it saves. Point at a heading to read what it measures; click it to sort."));
}

function show(found, ok) {
  shown = ok ? found : null;
  if (!ok) {
    root.replaceChildren(make("p", "nothing", "This bake-off's runs are gone. Choose another one, or start one above."));
    return;
  }
  drawHead();
  drawRest();
}

function drawRest() {
  if (!shown || pressed) return; // a button that is being pressed must not be replaced
  const text = JSON.stringify([shown.rows, shown.winner]);
  if (text === last) return;
  last = text;
  drawTable();
  drawPlots();
}

function start() {
  generation++;
  [shown, last] = [null, ""];
  if (!props.value) {
    return root.replaceChildren(make("p", "nothing", "No bake-off yet. Choose methods above and press “Start the bake-off”: each trains on the same rows in the same order, and the table fills as they end."));
  }
  frame();
  follow(() => `comparisons/${encodeURIComponent(props.value)}`, show, POLL_MS);
}

watch("value", start);
start();
