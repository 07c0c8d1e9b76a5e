// The live panel of a run. The value is a run's id.
// It pulls what is new since its last look and adds it to the plots, so zoom, hover and hidden curves stay.
const POLL_MS = 1000;
const MOST_POINTS = 3000; // of a curve in the page; beyond, it asks for a thinned one again
const MOST_TICKS = 100; // under the answers' slider; more are a line
const SILENT_SECONDS = 60;
const STEPS = ["Queued", "Preparing", "Training", "Comparing", "Done"];
const PLACE = { queued: 0, preparing: 1, training: 2, pausing: 2, paused: 2, finishing: 3, done: 4 };
const REMEMBERED = "finetune-studio-curves"; // in localStorage: how the loss is drawn

const root = element.querySelector(".live");
let run = "";
let charts = []; // as the server last sent them
let view = { log: false, smooth: null, ...read(REMEMBERED) }; // smooth: the share of the past kept, null: as the steps suggest

const find = (name) => element.querySelector(`[data-live="${CSS.escape(name)}"]`);
const cssColor = (name) => getComputedStyle(root).getPropertyValue(name).trim();

function read(key) {
  try { return JSON.parse(localStorage.getItem(key)) || {}; } catch { return {}; } // storage may be forbidden
}

// -- plots --------------------------------------------------------------------------------------------

function layout(chart) {
  const ink = cssColor("--live-ink"), grid = cssColor("--live-grid");
  const axis = { gridcolor: grid, zerolinecolor: grid, linecolor: grid, automargin: true };
  const named = chart.legend || chart.lines.length > 1;
  return {
    title: { text: plain(translated(chart.title)) + (chart.unit ? ` <span style="font-size:0.8em">(${chart.unit})</span>` : ""),
      x: 0.01, y: 0.985, yanchor: "top", font: { size: 14 } },
    paper_bgcolor: "transparent", plot_bgcolor: "transparent", font: { color: ink, family: "system-ui, sans-serif", size: 11 },
    margin: { l: 48, r: 12, t: named && !chart.wide ? 54 : 34, b: chart.wide ? 46 : 32 },
    xaxis: { ...axis, title: { text: chart.wide ? translated("step") : "", standoff: 6 }, rangemode: "tozero" },
    yaxis: { ...axis, ...(chart.bounds ? { range: chart.bounds } : {}), type: chart.key === "loss" && view.log ? "log" : "linear" },
    hovermode: "x unified", uirevision: run, showlegend: named, ...(chart.key === "loss" ? uprights : {}),
    legend: { orientation: "h", x: chart.wide ? 1 : 0, xanchor: chart.wide ? "right" : "left", y: 1.02, yanchor: "bottom" },
  };
}

function place(chart) {
  const plot = find(chart.key) || make("div", "chart");
  plot.dataset.live = chart.key;
  plot.classList.toggle("wide", chart.wide);
  plot.classList.toggle("several", !chart.wide && chart.lines.length > 1);
  return plot;
}

function drawEmpty() {
  const box = find("charts"), wanted = charts.map(place);
  for (const plot of box.querySelectorAll(".chart")) if (!wanted.includes(plot)) { sizes.unobserve(plot); Plotly.purge(plot); }
  const parts = [...wanted.slice(0, 1), find("advice"), find("along"), ...wanted.slice(1)];
  // Where nothing moves, what a person holds is not taken out of the page and put back.
  if (parts.length !== box.children.length || parts.some((part, at) => box.children[at] !== part)) box.replaceChildren(...parts);
  find("glossary").replaceChildren(...charts.filter((chart) => chart.about)
    .flatMap((chart) => [make("dt", "", chart.title), make("dd", "", chart.about)]));
  charts.forEach((chart, at) => {
    const traces = chart.lines.map((line) => ({
      x: [], y: [], type: "scatter", mode: line.dots ? "lines+markers" : "lines", name: plain(translated(line.name)), opacity: line.opacity,
      line: { color: cssColor(line.colour), width: line.width }, marker: { size: 7, color: cssColor(line.colour) },
    }));
    Plotly.react(wanted[at], traces, layout(chart), { displaylogo: false, modeBarButtonsToRemove: ["select2d", "lasso2d", "autoScale2d"] });
    sizes.observe(wanted[at]);
    if (chart.key === "loss") wanted[at].removeAllListeners("plotly_click").on("plotly_click", scrubTo); // drawn anew, it is the same
  });
}

// The exponential moving average: `memory.ema` is where each metric's stands.
function smoothed(memory, metric, values) {
  const kept = view.smooth ?? suggested(memory.steps), ema = memory.ema;
  return values.map((value) => (ema[metric] = ema[metric] === undefined ? value : kept * ema[metric] + (1 - kept) * value));
}

const suggested = (steps) => Math.max(0, Math.min(0.9, 1 - 12 / (steps || 1))); // a short run must not lag behind itself

function extend(curves, memory) {
  for (const chart of charts) {
    const xs = [], ys = [], indices = [];
    chart.lines.forEach((line, index) => {
      const found = curves[line.metric];
      if (!found || !found[0].length) return;
      xs.push(found[0]);
      ys.push(line.smooth ? smoothed(memory, line.metric, found[1]) : found[1]);
      indices.push(index);
    });
    if (indices.length) Plotly.extendTraces(find(chart.key), { x: xs, y: ys }, indices);
  }
}

const crowded = () => charts.some((chart) => (find(chart.key)?.data || []).some((trace) => trace.x.length > MOST_POINTS));

// How the loss is drawn: a person's choice, remembered by the browser.
let memory = { ema: {} };

function showView() {
  find("log").checked = view.log;
  find("smooth").value = Math.round(100 * (view.smooth ?? suggested(memory.steps)));
}

function changeView(change) {
  view = { ...view, ...change };
  try { localStorage.setItem(REMEMBERED, JSON.stringify(view)); } catch { /* it is only not remembered */ }
  const plot = find("loss");
  if (!plot?.data) return;
  for (const { key, lines } of charts) {
    lines.forEach((line, index) => {
      if (!line.smooth) return;
      delete memory.ema[line.metric];
      const source = lines.findIndex((each) => each.metric === line.metric && !each.smooth);
      Plotly.restyle(find(key), { y: [smoothed(memory, line.metric, find(key).data[source].y)] }, [index]);
    });
  }
  if ("log" in change) Plotly.relayout(plot, { "yaxis.type": view.log ? "log" : "linear", "yaxis.autorange": true });
}

find("log").addEventListener("change", (event) => changeView({ log: event.target.checked }));
find("smooth").addEventListener("input", (event) => changeView({ smooth: event.target.value / 100 }));

// -- what stands beside the curves --------------------------------------------------------------------

let uprights = { shapes: [], annotations: [] }; // over the loss, as Plotly has them
let told = { marks: [], advice: [] }; // the last state
let pointed = ""; // key of the advice whose steps are shown
let along = { prompts: [], samples: [], at: null }; // at: the place of those shown, null: the newest

function upright(step, text, hovertext, colour, dash) {
  const beside = dash ? {} : step > memory.steps / 2 ? { xanchor: "right", xshift: -3 } : { xanchor: "left", xshift: 3 };
  return {
    shape: { type: "line", x0: step, x1: step, yref: "paper", y0: 0, y1: 1, line: { color: cssColor(colour), width: dash ? 1 : 2, dash } },
    annotation: { x: step, yref: "paper", y: 1, yanchor: "top", text, hovertext: plain(hovertext), showarrow: false,
      font: { color: cssColor(colour) }, ...beside },
  };
}

function showUprights() {
  const advice = told.advice.find((each) => each.key === pointed);
  const drawn = [
    ...told.marks.map(([step, text]) => upright(step, "◆", text, "--live-ink", "dot")),
    ...(advice ? advice.steps.map((step) => upright(step, `step ${number(step, 0)}`, advice.text, "--warn")) : []),
  ];
  const wanted = { shapes: drawn.map((each) => each.shape), annotations: drawn.map((each) => each.annotation) };
  if (JSON.stringify(wanted) === JSON.stringify(uprights)) return;
  uprights = wanted;
  if (find("loss")?.data) Plotly.relayout(find("loss"), wanted); // zoom and hidden curves stay
}

function showAdvice(state) {
  told = state;
  const box = find("advice"), wanted = JSON.stringify([state.id, state.advice]);
  if (box.dataset.wanted !== wanted) { // a button that is being pressed must not be replaced
    box.dataset.wanted = wanted;
    box.hidden = !state.advice.length;
    box.replaceChildren(make("h3", "", "What the curves say"), ...state.advice.map(card));
  }
  showUprights();
}

function card(advice) {
  const node = make("article"), tools = make("div", "buttons");
  if (advice.steps.length) tools.append(pointer(advice));
  if (advice.change.length) tools.append(button("Copy the run with this change", "primary",
    () => trigger("click", { action: "copy", run, advice: advice.key })));
  const changes = advice.change.map(([name, [before, after]]) => make("code", "", `${name}: ${before} → ${after}`));
  node.append(make("strong", "", advice.text), make("p", "", advice.because), ...changes, tools);
  return node;
}

function pointer(advice) {
  const node = button("Show on the curve", "", () => {
    pointed = pointed === advice.key ? "" : advice.key;
    for (const each of find("advice").querySelectorAll("[aria-pressed]")) each.setAttribute("aria-pressed", each.dataset.key === pointed);
    showUprights();
    if (pointed) find("loss")?.scrollIntoView({ block: "nearest" });
  });
  node.dataset.key = advice.key;
  node.setAttribute("aria-pressed", advice.key === pointed);
  return node;
}

function takeSamples(found) {
  if (found.prompts) along.prompts = found.prompts;
  along.samples.push(...found.new);
  if (found.new.length) showAlong();
}

function showAlong() {
  const { prompts, samples } = along, last = samples.length - 1, at = along.at ?? last, slider = find("scrub");
  find("along").hidden = last < 0;
  if (last < 0) return;
  const step = samples[at].step, name = step ? `After step ${number(step, 0)}` : "Step 0: the base model";
  find("when").textContent = `${name} (${at + 1} of ${last + 1})`;
  slider.max = last;
  slider.value = at;
  slider.disabled = !last;
  slider.setAttribute("aria-valuetext", name);
  find("ticks").replaceChildren(...(last < MOST_TICKS ? samples.map(() => make("i")) : []));
  find("answers").replaceChildren(...answersAt(prompts, samples[at].answers, samples[at - 1]?.answers));
}

function scrub(at) {
  along.at = at === along.samples.length - 1 ? null : at; // at the end it follows what comes
  showAlong();
}

function scrubTo({ points }) {
  const steps = points.filter((each) => each.data.mode === "lines+markers").map((each) => each.x);
  const at = along.samples.findIndex((each) => steps.includes(each.step));
  if (at >= 0) scrub(at);
}

find("scrub").addEventListener("input", (event) => scrub(Number(event.target.value)));

// -- state --------------------------------------------------------------------------------------------

function showSteps(state) {
  const list = find("steps");
  const here = PLACE[state.status === "paused" && !state.step ? "preparing" : state.status] ?? -1;
  list.replaceChildren(...STEPS.map((name, index) => {
    const item = make("li", index < here ? "past" : index === here ? "here" : "", name);
    if (index === here) item.setAttribute("aria-current", "step");
    return item;
  }));
}

function waiting({ ahead }) {
  const others = ahead ? `: ${ahead === 1 ? "somebody else comes" : `${ahead} others come`} first, who had less of this machine so far` : "";
  return `Waiting for its turn${others}`;
}

function showProgress(state) {
  const known = state.total > 0;
  const share = state.status === "done" ? 1 : known ? Math.min(1, state.done / state.total) : 0;
  const bar = find("bar");
  bar.firstElementChild.style.width = `${100 * share}%`;
  bar.classList.toggle("unknown", state.active && !known);
  bar.setAttribute("aria-valuenow", Math.round(100 * share));
  const count = known && state.active ? ` – ${number(state.done, 0)} of ${number(state.total, 0)} ${state.unit}` : "";
  find("phase").textContent = state.active ? `${state.status === "queued" ? waiting(state) : state.phase || "Starting"}${count}` : "";
}

function showTiles(state) {
  const tiles = [
    ["Step", state.total_steps ? `${state.step} / ${state.total_steps}` : "–"],
    [state.active ? "Time left" : "Trained for", duration(state.active ? state.remaining : state.seconds)],
    ["Tokens/s", number(state.metrics.tokens_per_second, 0)],
    ["Memory", state.metrics.memory == null ? "–" : `${number(state.metrics.memory, 2)} GB`],
    ["Train loss", number(state.metrics.loss, 3)],
    state.last_eval?.eval_reward == null ? ["Held-out loss", number(state.last_eval?.eval_loss, 3)]
      : ["Held-out reward", number(state.last_eval.eval_reward, 3)],
    ...(state.last_eval?.eval_f1 == null ? [] : [["Held-out F1", percent(state.last_eval.eval_f1)]]),
  ];
  find("tiles").replaceChildren(...tiles.map(([label, value]) => {
    const tile = make("div", "tile");
    tile.append(make("span", "label", label), make("strong", "", value));
    return tile;
  }));
}

function action(text, name, className) {
  const node = button(text, className, () => {
    if (name === "chat") return trigger("click", { action: "chat" });
    // Not through Gradio: its session is gone after a server's restart, and a stop must work then as well.
    node.disabled = true;
    const again = () => { node.disabled = false; };
    fetch(address(`runs/${encodeURIComponent(run)}/${name}`), { method: "POST" }).then(async (answer) => {
      if (!answer.ok) find("refused").textContent = (await answer.json()).problem;
      setTimeout(again, 2000);
    }, again);
  });
  return node;
}

function showActions(state) {
  const leaving = state.stopping || state.status === "pausing";
  const wanted = state.active ? (leaving ? ["kill"] : state.status === "finishing" ? ["stop"] : ["pause", "stop"])
    : [...(state.saved ? ["chat"] : []), ...(state.resumable ? ["resume"] : [])];
  const box = find("actions");
  if (box.dataset.wanted === `${wanted}`) return; // a button that is being pressed must not be replaced
  box.dataset.wanted = `${wanted}`;
  const buttons = { pause: ["Pause", "pause", ""], stop: ["Stop and save", "stop", ""],
    kill: [ending(state), "kill", ""],
    resume: [onward(state), "resume", state.saved ? "" : "primary"],
    chat: [state.writes ? "Talk to both models →" : "Try it →", "chat", "primary"] };
  box.replaceChildren(...wanted.map((name) => action(...buttons[name])));
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
  if (state.active && state.silent > SILENT_SECONDS) lines.push(make("p", "fault",
    `The worker has given no sign of life for ${duration(state.silent)}: no word, and no work of the processor. End it; Continue then goes on from its last checkpoint.`));
  if (state.status === "paused") lines.push(make("p", "note",
    state.step ? `Paused after step ${state.step}. It holds no memory now; Continue goes on from there.`
      : "Paused before the first step. It holds no memory now; Continue begins it."));
  if (state.status === "stopped") lines.push(make("p", "note", state.saved
    ? `Stopped at step ${state.step}; what was learnt is saved.`
    : state.step ? `Ended at step ${state.step}; nothing was saved.` : "Stopped before the first step."));
  box.replaceChildren(...lines);
}

function showVocabulary(state) {
  const box = find("vocabulary");
  if (box.dataset.run === (state.vocabulary ? run : "")) return; // a list that was opened stays open
  box.dataset.run = state.vocabulary ? run : "";
  box.replaceChildren(...(state.vocabulary ? [terms(state.vocabulary)] : []));
}

function showMade(state) {
  const box = find("made");
  if (box.dataset.run === (state.made ? run : "")) return; // what was opened stays open
  box.dataset.run = state.made ? run : "";
  box.replaceChildren(...(state.made ? [ingredients(state.made)] : []));
}

function showResult(state) {
  const box = find("result");
  box.hidden = !state.result;
  box.replaceChildren(...(state.result ? outcome(state.result) : []));
}

function show(state) {
  find("title").textContent = state.title;
  const chip = find("status");
  chip.textContent = state.status;
  chip.className = `chip ${state.status}`;
  find("facts").textContent = state.facts;
  showSteps(state); showProgress(state); showTiles(state); showActions(state); showMessages(state); showVocabulary(state); showResult(state); showMade(state); showAdvice(state);
}

// -- loop ---------------------------------------------------------------------------------------------

function look(id) {
  generation++;
  run = id;
  root.classList.toggle("empty", !id);
  uprights = { shapes: [], annotations: [] };
  pointed = "";
  along = { prompts: [], samples: [], at: null };
  if (!id) return;
  showAlong();
  let since = 0, kinds = 0;
  follow(() => `runs/${encodeURIComponent(id)}?since=${since}&sampled=${along.samples.length}`, (state, ok) => {
    if (!ok) { find("phase").textContent = "This run is gone."; return false; }
    if (state.kinds !== kinds && !state.charts) { since = 0; return true; } // other charts: all of it, from the start
    if (state.charts) {
      charts = state.charts; kinds = state.kinds; memory = { steps: state.total_steps, ema: {} };
      drawEmpty();
      showView();
    }
    extend(state.curves, memory);
    since = state.next;
    show(state);
    takeSamples(state.samples);
    if (crowded()) since = 0;
    return along.samples.length < state.samples.total;
  }, POLL_MS);
}

watch("value", () => look(props.value || ""));
look(props.value || "");
