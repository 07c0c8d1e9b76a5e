// What several scripts of the page need; stands before each. Gradio hands in `element`, `props`, `trigger` and `watch`.
function make(tag, className, text) {
  const node = document.createElement(tag);
  if (className) node.className = className;
  if (text !== undefined) node.textContent = text; // never innerHTML: this text comes from data and models
  return node;
}

function button(text, className, clicked) {
  const node = make("button", className, text);
  node.type = "button";
  node.addEventListener("click", clicked);
  return node;
}

// The button in a heading by which a table is sorted.
function sorter(title, sorted, down, clicked) {
  const node = button(title, "", clicked);
  if (sorted) node.append(make("span", "arrow", down ? " ▼" : " ▲"));
  return node;
}

const number = (value, digits) => (value == null ? "–" : Number(value).toLocaleString("en", { maximumFractionDigits: digits }));
const round = (value, digits) => Number(value).toLocaleString("en", { maximumSignificantDigits: digits });
const percent = (value) => `${Math.round(100 * value)} %`;

function duration(seconds) {
  if (seconds == null || !isFinite(seconds)) return "–";
  const s = Math.max(0, Math.round(seconds));
  if (s < 60) return `${s} s`;
  return s < 3600 ? `${Math.floor(s / 60)} min ${s % 60} s` : `${Math.floor(s / 3600)} h ${Math.floor((s % 3600) / 60)} min`;
}

const themed = (name) => getComputedStyle(document.body).getPropertyValue(name).trim() || "#888";
const translated = (text) => window.translated?.(text) ?? text; // for what Plotly draws, which is not looked through (language.js)
const plain = (text) => text.replaceAll("&", "&amp;").replaceAll("<", "&lt;"); // Plotly reads some HTML; names come from data

// A plot drawn while its tab was hidden, or before its neighbours, has another size by now.
const sizes = new ResizeObserver((seen) => seen.forEach(({ target }) => target.data && target.offsetParent && Plotly.Plots.resize(target)));

// What goes on with a run that rests, and when one that was asked to end does so.
const onward = (run) => (run.step || run.status === "paused" ? "Continue" : "Start again");
const ending = (run) => `${run.stopping ? "Stopping" : "Pausing"} ${run.step ? "after this step" : "as soon as it can"} … end it now`;

const address = (rest) => `${window.gradio_config?.root || ""}/studio/${rest}`;

// Resolves once there is Plotly, some megabytes of script that come when something is to be drawn for the first time.
function drawing() {
  const come = (done) => {
    const script = make("script");
    script.addEventListener("load", done);
    script.addEventListener("error", () => { script.remove(); setTimeout(come, 1000, done); }); // the server is away
    script.src = address("plotly.js");
    document.head.append(script);
  };
  return window.Plotly ? Promise.resolve() : (window.plotlyComes ??= new Promise(come));
}

// Asks again and again as long as there is something to wait for; a new value ends the loop of the one before.
// What `show` returns says whether to ask at once; whether it `draws`, that is, with Plotly. `root`, the script's own,
// is marked while the studio is away.
const UNSEEN_MS = 200; // soon after a person comes back it goes on
let generation = 0;
async function follow(rest, show, wait, draws = true) {
  const mine = ++generation;
  let pause = wait;
  while (mine === generation && element.isConnected) {
    const seen = !document.hidden && element.checkVisibility(); // where nobody looks, nothing is asked for
    if (seen) {
      try {
        const answer = await fetch(address(rest()));
        const found = await answer.json();
        if (draws) await drawing();
        if (mine !== generation) return;
        root.classList.remove("offline");
        if (show(found, answer.ok)) continue;
        if (!answer.ok || !(found.active || found.resumable)) return;
        pause = found.active ? wait : 3 * wait; // somebody may let a run that rests go on
      } catch (error) {
        if (mine !== generation) return;
        root.classList.add("offline"); // the server is away; the runs are not, and we ask again
      }
    }
    await new Promise((done) => setTimeout(done, seen ? pause : UNSEEN_MS));
  }
}
