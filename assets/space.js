// The settings that can be searched, and where. The value is {fields: [{key, label, help, now, chosen, low, high, log,
// choices}]}. What is picked goes out as {space: {key: [low, high] or choices}}: as `input` whenever it changes, as
// `submit` when the button is pressed.
const root = element.querySelector(".space");
const kept = {}; // key → {on, low, high, off: choices left out}, as a person set it

const mine = (field) => (kept[field.key] ??= { on: field.chosen, low: String(field.low), high: String(field.high), off: new Set() });
const written = (text) => (text.trim() !== "" && isFinite(text) ? Number(text) : text);

function picked() {
  const space = {};
  for (const field of props.value.fields) {
    const set = mine(field);
    if (set.on) space[field.key] = field.choices.length ? field.choices.filter((each) => !set.off.has(each)) : [written(set.low), written(set.high)];
  }
  return { space };
}

const changed = () => trigger("input", picked());

function box(text, checked, change) {
  const label = make("label"), input = make("input");
  input.type = "checkbox";
  input.checked = checked;
  input.addEventListener("change", () => { change(input.checked); changed(); });
  label.append(input, make("span", "", text));
  return label;
}

function edge(field, which, words) {
  const input = make("input", "edge");
  input.value = mine(field)[which];
  input.inputMode = "decimal";
  input.setAttribute("aria-label", `${words} of ${field.label}`);
  input.addEventListener("input", () => { mine(field)[which] = input.value; });
  input.addEventListener("change", changed);
  return input;
}

function where(field) {
  const cell = make("div", "where");
  if (field.choices.length) {
    const set = mine(field);
    cell.append(...field.choices.map((each) => box(each === true ? "on" : each === false ? "off" : each, !set.off.has(each), (on) => (on ? set.off.delete(each) : set.off.add(each)))));
  } else {
    cell.append(edge(field, "low", "Lowest"), make("span", "", "to"), edge(field, "high", "Highest"));
    if (field.log) cell.append(make("span", "muted", "log scale"));
  }
  return cell;
}

function draw() {
  const fields = props.value?.fields || [];
  const lines = fields.map((field) => {
    const line = make("div", "line");
    line.dataset.key = field.key;
    line.title = field.help;
    const place = where(field);
    const show = (on) => { mine(field).on = on; place.hidden = !on; };
    show(mine(field).on);
    const now = field.now === null ? "–" : typeof field.now === "boolean" ? (field.now ? "on" : "off") : String(field.now);
    line.append(box(field.label, mine(field).on, show), make("span", "muted", `now ${now}`), place);
    return line;
  });
  const start = button("Start the search", "start", () => {
    start.disabled = true; // two clicks would be two searches
    setTimeout(() => { start.disabled = false; }, 2000);
    trigger("submit", picked());
  });
  root.replaceChildren(...lines, start);
  if (fields.length) changed();
}

watch("value", draw);
draw();
