// What everybody in a workshop does: a card for each person, their newest run's curves on it.
const ASK_MS = 2000;
const WIDE = 240, HIGH = 90, LEFT = 26, BELOW = 12;
const SAID = { queued: "Waits", preparing: "Prepares", training: "Trains", finishing: "Is finishing", pausing: "Is pausing", paused: "Rests", stopped: "Was stopped", failed: "Failed", done: "Done" };

function svg(tag, values, text) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(values)) node.setAttribute(name, value);
  if (text !== undefined) node.textContent = text;
  return node;
}

// A line of texts, each of which another language may have.
function told(className, texts) {
  const line = make("p", className);
  line.append(...texts.map((text) => make("span", "", text)));
  return line;
}

function named(tag, name) {
  const node = make(tag, "", name);
  node.translate = false;
  return node;
}

const counted = (count, one, more) => `${number(count)} ${count === 1 ? one : more}`;

function picture(run) {
  const curves = Object.entries(run.curves);
  const xs = curves.flatMap(([, [steps]]) => steps), ys = curves.flatMap(([, [, values]]) => values);
  const right = Math.max(run.total, ...xs, 1), low = Math.min(...ys), high = Math.max(...ys, low + 1e-9);
  const x = (step) => LEFT + (WIDE - LEFT) * step / right, y = (value) => (HIGH - BELOW) * (high - value) / (high - low);
  const drawn = svg("svg", { viewBox: `0 0 ${WIDE} ${HIGH}`, preserveAspectRatio: "none", role: "img" });
  drawn.append(svg("title", {}, curves.map(([name, [, values]]) => `${name} ${round(values.at(-1), 3)}`).join(", ")));
  drawn.append(svg("line", { class: "axis", x1: LEFT, y1: HIGH - BELOW, x2: WIDE, y2: HIGH - BELOW }));
  drawn.append(svg("line", { class: "axis", x1: LEFT, y1: 0, x2: LEFT, y2: HIGH - BELOW }));
  drawn.append(svg("text", { x: 0, y: 8 }, round(high, 2)), svg("text", { x: 0, y: HIGH - BELOW }, round(low, 2)));
  drawn.append(svg("text", { x: WIDE, y: HIGH, "text-anchor": "end" }, `step ${number(right)}`));
  for (const [name, [steps, values]] of curves) {
    drawn.append(svg("polyline", { class: name, points: steps.map((step, at) => `${x(step)},${y(values[at])}`).join(" ") }));
  }
  return drawn;
}

function card(person) {
  const run = person.run, box = make("li", run && run.status === "training" ? "training" : "");
  box.append(named("h2", person.name));
  const place = person.place ? [`${person.place}. in the queue`] : [];
  if (!run) {
    box.append(told("", place.length ? [SAID.queued, ...place] : ["Has not trained yet."]));
    return box;
  }
  const left = run.left == null ? [] : [`about ${duration(run.left)} left`];
  const steps = run.total ? [`step ${number(run.step)} of ${number(run.total)}`] : [];
  box.append(named("p", run.title));
  box.append(told(`state ${run.status}`, [SAID[run.status] || run.status, ...steps, ...left]));
  if (run.problem) box.append(make("p", "failed", run.problem));
  if (Object.keys(run.curves).length) box.append(picture(run));
  const last = Object.entries(run.curves).map(([name, [, values]]) => `${name.replace("eval_loss", "held-out loss")} ${round(values.at(-1), 3)}`);
  box.append(told("", [...last, counted(person.runs, "run", "runs"), ...place]));
  return box;
}

follow(() => "everybody", (now, ok) => {
  if (!ok) return false;
  const trains = now.people.filter((each) => each.run && each.run.status === "training").length;
  document.getElementById("code").textContent = now.code;
  const counts = [counted(now.people.length, "person", "people"), counted(trains, "trains", "train"), counted(now.waiting, "waits", "wait")];
  document.getElementById("told").replaceChildren(...told("", counts).children);
  document.getElementById("people").replaceChildren(...now.people.map(card));
  return false;
}, ASK_MS, false);
