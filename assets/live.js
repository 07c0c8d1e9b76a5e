// The live panel of a run. Gradio hands in `element`, `props`, `trigger` and `watch`; the value is a run's id.
// It pulls what is new since its last look and adds it to the plots, so zoom, hover and hidden curves stay.
const POLL_MS = 1000;
const MOST_POINTS = 3000; // of a curve in the page; beyond, it asks for a thinned one again
const STEPS = ["Queued", "Preparing", "Training", "Comparing", "Done"];
const PLACE = { queued: 0, preparing: 1, training: 2, finishing: 3, done: 4 };
const CHARTS = [
  { key: "loss", title: "Loss", unit: "nats per token", wide: true, traces: [
    { metric: "loss", name: "train, each step", color: "--live-a", width: 1, opacity: 0.35 },
    { metric: "loss", name: "train, smoothed", color: "--live-a", width: 2.5, smooth: true },
    { metric: "eval_loss", name: "held-out (step 0: base model)", color: "--live-b", width: 2.5, mode: "lines+markers" } ] },
  { key: "lr", title: "Learning rate", traces: [{ metric: "learning_rate", name: "learning rate", color: "--live-a", width: 2 }] },
  { key: "grad", title: "Gradient norm", traces: [{ metric: "grad_norm", name: "gradient norm", color: "--live-a", width: 1.5 }] },
  { key: "speed", title: "Speed", unit: "tokens/s", traces: [{ metric: "tokens_per_second", name: "tokens/s", color: "--live-a", width: 1.5 }] },
  { key: "memory", title: "Memory", unit: "GB", traces: [{ metric: "memory", name: "GB", color: "--live-a", width: 1.5 }] },
];

let run = "";
let generation = 0;

const find = (name) => element.querySelector(`[data-live="${name}"]`);
const cssColor = (name) => getComputedStyle(element.querySelector(".live")).getPropertyValue(name).trim();

function make(tag, className, text) {
  const node = document.createElement(tag);
  if (className) node.className = className;
  if (text !== undefined) node.textContent = text; // never innerHTML: this text comes from data and models
  return node;
}

function duration(seconds) {
  if (seconds == null || !isFinite(seconds)) return "–";
  const s = Math.max(0, Math.round(seconds));
  if (s < 60) return `${s} s`;
  return s < 3600 ? `${Math.floor(s / 60)} min ${s % 60} s` : `${Math.floor(s / 3600)} h ${Math.floor((s % 3600) / 60)} min`;
}

const number = (value, digits) => (value == null ? "–" : Number(value).toLocaleString(undefined, { maximumFractionDigits: digits }));
const percent = (value) => `${Math.round(100 * value)} %`;

// -- plots --------------------------------------------------------------------------------------------

function layout(chart) {
  const ink = cssColor("--live-ink"), grid = cssColor("--live-grid");
  const axis = { gridcolor: grid, zerolinecolor: grid, linecolor: grid, automargin: true };
  return {
    title: { text: chart.unit ? `${chart.title} <span style="font-size:0.8em">(${chart.unit})</span>` : chart.title, x: 0.01, font: { size: 14 } },
    paper_bgcolor: "transparent", plot_bgcolor: "transparent", font: { color: ink, family: "system-ui, sans-serif", size: 11 },
    margin: { l: 48, r: 12, t: 34, b: chart.wide ? 46 : 32 }, xaxis: { ...axis, title: { text: chart.wide ? "step" : "", standoff: 6 }, rangemode: "tozero" }, yaxis: axis,
    hovermode: "x unified", uirevision: run, showlegend: chart.traces.length > 1,
    legend: { orientation: "h", x: 1, xanchor: "right", y: 1.12 },
  };
}

function drawEmpty() {
  for (const chart of CHARTS) {
    const traces = chart.traces.map((trace) => ({
      x: [], y: [], type: "scatter", mode: trace.mode || "lines", name: trace.name, opacity: trace.opacity || 1,
      line: { color: cssColor(trace.color), width: trace.width }, marker: { size: 7, color: cssColor(trace.color) },
    }));
    Plotly.react(find(chart.key), traces, layout(chart), { displaylogo: false,
      modeBarButtonsToRemove: ["select2d", "lasso2d", "autoScale2d"] });
  }
}

function smoothed(state, values) {
  const kept = Math.max(0, Math.min(0.9, 1 - 12 / state.steps)); // a short run must not lag behind itself
  return values.map((value) => (state.ema = state.ema === undefined ? value : kept * state.ema + (1 - kept) * value));
}

function extend(curves, memory) {
  for (const chart of CHARTS) {
    const xs = [], ys = [], indices = [];
    chart.traces.forEach((trace, index) => {
      const found = curves[trace.metric];
      if (!found || !found[0].length) return;
      xs.push(found[0]);
      ys.push(trace.smooth ? smoothed(memory, found[1]) : found[1]);
      indices.push(index);
    });
    if (indices.length) Plotly.extendTraces(find(chart.key), { x: xs, y: ys }, indices);
  }
}

const crowded = () => CHARTS.some((chart) => (find(chart.key)?.data || []).some((trace) => trace.x.length > MOST_POINTS));

// -- state --------------------------------------------------------------------------------------------

function showSteps(state) {
  const list = find("steps");
  const here = PLACE[state.status] ?? -1;
  list.replaceChildren(...STEPS.map((name, index) => {
    const item = make("li", index < here ? "past" : index === here ? "here" : "", name);
    if (index === here) item.setAttribute("aria-current", "step");
    return item;
  }));
}

function showProgress(state) {
  const known = state.total > 0;
  const share = state.status === "done" ? 1 : known ? Math.min(1, state.done / state.total) : 0;
  const bar = find("bar");
  bar.firstElementChild.style.width = `${100 * share}%`;
  bar.classList.toggle("unknown", state.active && !known);
  bar.setAttribute("aria-valuenow", Math.round(100 * share));
  const count = known && state.active ? ` – ${number(state.done, 0)} of ${number(state.total, 0)} ${state.unit}` : "";
  find("phase").textContent = state.active ? `${state.status === "queued" ? "Waiting for its turn" : state.phase || "Starting"}${count}` : "";
}

function showTiles(state) {
  const tiles = [
    ["Step", state.total_steps ? `${state.step} / ${state.total_steps}` : "–"],
    [state.active ? "Time left" : "Trained for", duration(state.active ? state.remaining : state.seconds)],
    ["Tokens/s", number(state.metrics.tokens_per_second, 0)],
    ["Memory", state.metrics.memory == null ? "–" : `${number(state.metrics.memory, 2)} GB`],
    ["Train loss", number(state.metrics.loss, 3)],
    ["Held-out loss", state.last_eval ? number(state.last_eval.eval_loss, 3) : "–"],
  ];
  find("tiles").replaceChildren(...tiles.map(([label, value]) => {
    const tile = make("div", "tile");
    tile.append(make("span", "label", label), make("strong", "", value));
    return tile;
  }));
}

const address = (id, rest) => `${window.gradio_config?.root || ""}/studio/runs/${encodeURIComponent(id)}${rest}`;

function button(text, action, primary) {
  const node = make("button", primary ? "primary" : "", text);
  node.type = "button";
  node.addEventListener("click", () => {
    if (action === "chat") return trigger("click");
    // Not through Gradio: its session is gone after a server's restart, and a stop must work then as well.
    node.disabled = true;
    const again = () => { node.disabled = false; };
    fetch(address(run, `/${action}`), { method: "POST" }).then(() => setTimeout(again, 2000), again);
  });
  return node;
}

function showActions(state) {
  const wanted = state.active ? (state.stopping ? "kill" : "stop") : state.saved ? "chat" : "";
  const box = find("actions");
  if (box.dataset.wanted === wanted) return; // a button that is being pressed must not be replaced
  box.dataset.wanted = wanted;
  const buttons = { stop: ["Stop and save", "stop", false], kill: ["Stopping after this step … end it now", "kill", false],
    chat: ["Talk to both models →", "chat", true] };
  box.replaceChildren(...(wanted ? [button(...buttons[wanted])] : []));
}

function showMessages(state) {
  const box = find("messages");
  const lines = state.notes.map((text) => make("p", "note", text));
  if (state.problem) {
    const fault = make("p", "fault");
    fault.setAttribute("role", "alert");
    fault.append(make("strong", "", state.problem + " "), state.remedy);
    lines.push(fault);
  }
  if (state.status === "stopped") lines.push(make("p", "note", state.saved
    ? `Stopped at step ${state.step}; what was learnt is saved.`
    : state.step ? `Ended at step ${state.step}; nothing was saved.` : "Stopped before the first step."));
  box.replaceChildren(...lines);
}

function bars(label, help, base, tuned) {
  const row = make("div", "bars");
  const name = make("div", "name", label);
  name.title = help;
  row.append(name);
  for (const [who, value] of [["base", base], ["tuned", tuned]]) {
    const line = make("div", `line ${who}`);
    const fill = make("span", "fill");
    fill.style.width = `${Math.max(0.5, 100 * value)}%`;
    const track = make("span", "track");
    track.append(fill);
    line.append(make("span", "who", who), track, make("span", "value", percent(value)));
    row.append(line);
  }
  return row;
}

function showResult(state) {
  const box = find("result");
  const result = state.result;
  box.hidden = !result;
  if (!result) return;
  box.replaceChildren(make("h3", "", "Was it worth it?"));
  if (result.base_loss != null) {
    const p = make("p", "headline");
    p.append("Held-out loss ", make("strong", "", number(result.base_loss, 3)), " → ", make("strong", "", number(result.tuned_loss, 3)),
      ` on rows it never trained on: ${result.verdict}`);
    box.append(p);
  }
  if (!result.answers) return;
  box.append(make("p", "", `Both models answered the same ${result.answers.rows} held-out prompts:`));
  for (const metric of result.answers.metrics) box.append(bars(metric.label, metric.help, metric.base, metric.tuned));
  const examples = result.answers.examples;
  if (result.answers.shared_prompt) box.append(make("p", "muted", `Every prompt begins: ${result.answers.shared_prompt}`));
  box.append(answers(examples.slice(0, 3)));
  if (examples.length > 3) {
    const more = make("details");
    more.append(make("summary", "", `${examples.length - 3} more`), answers(examples.slice(3)));
    box.append(more);
  }
}

function answers(examples) {
  const columns = [["prompt", "Prompt"], ["reference", "Right answer"], ["base", "Base model"], ["tuned", "Tuned model"]];
  const table = make("table", "answers");
  const head = table.createTHead().insertRow();
  for (const [, title] of columns) head.append(make("th", "", title));
  const body = table.createTBody();
  for (const example of examples) {
    const row = body.insertRow();
    for (const [key, title] of columns) {
      const right = key === "tuned" && example.tuned.trim() === example.reference.trim();
      const cell = make("td", right ? "right" : "", example[key] || "(nothing)");
      cell.dataset.title = title;
      row.append(cell);
    }
  }
  const scroll = make("div", "scroll");
  scroll.append(table);
  return scroll;
}

function show(state) {
  find("title").textContent = state.title;
  const chip = find("status");
  chip.textContent = state.status;
  chip.className = `chip ${state.status}`;
  find("facts").textContent = state.facts;
  showSteps(state); showProgress(state); showTiles(state); showActions(state); showMessages(state); showResult(state);
}

// -- loop ---------------------------------------------------------------------------------------------

async function follow(id) {
  const mine = ++generation;
  run = id;
  element.querySelector(".live").classList.toggle("empty", !id);
  if (!id) return;
  while (!window.Plotly) await new Promise((done) => setTimeout(done, 50));
  // A plot drawn while its tab was hidden, or before its neighbours, has another size by now.
  const sizes = new ResizeObserver((seen) => seen.forEach((each) => each.target.data && Plotly.Plots.resize(each.target)));
  CHARTS.forEach((chart) => sizes.observe(find(chart.key)));
  let since = 0, memory = {}, drawn = false;
  while (mine === generation && element.isConnected) {
    if (!document.hidden) {
      try {
        const answer = await fetch(address(id, `?since=${since}`));
        if (mine !== generation) return;
        if (answer.status === 404) { find("phase").textContent = "This run is gone."; return; }
        const state = await answer.json();
        if (!drawn || since === 0 || state.next < since) { drawEmpty(); memory = { steps: state.total_steps }; drawn = true; }
        find("offline").hidden = true;
        extend(state.curves, memory);
        since = state.next;
        show(state);
        if (!state.active) return;
        if (crowded()) since = 0;
      } catch (error) {
        if (mine !== generation) return;
        find("offline").hidden = false; // the server is away; the run is not, and we ask again
      }
    }
    await new Promise((done) => setTimeout(done, POLL_MS));
  }
}

watch("value", () => follow(props.value || ""));
follow(props.value || "");
