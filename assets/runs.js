// The table of all runs, the queue above it, the trash behind it. The value changes whenever the tab is shown.
// Everything that does not lead to another tab goes by routes: Gradio's session is gone after a server's restart.
const POLL_MS = 2000;
const MOST_COMPARED = 12;
const STATUSES = [["", "Any"], ["active", "In progress"], ["queued", "Queued"], ["paused", "Paused"], ["stopped", "Stopped"], ["failed", "Failed"], ["done", "Done"]];
const COLUMNS = [ // key, title, how it is written; what is said of numbers that are not known is –
  ["status", "Status"], ["created", "Created", when], ["deleted", "Deleted", when], ["step", "Steps", (value, row) => `${number(value, 0)} / ${number(row.total_steps, 0)}`],
  ["loss", "Train loss", (value) => round(value, 4)], ["eval_loss", "Held-out loss", (value) => round(value, 4)], ["tokens", "Tokens", (value) => number(value, 0)],
  ["seconds", "Trained for", duration], ["size", "Disk", bytes], ["tags", "Tags"], ["note", "Note"],
];
const START = { text: "", status: "", tag: "", starred: false, sort: "created", down: true, page: 0, trash: false };

let asked = { ...START };
let shown = null; // the last answer
let open = null; // the run whose details are shown: { id, line, problem, buttons, wanted }
let pressed = false;
const picked = new Set(); // ids
const lines = new Map(); // id → its line of the table, kept so that what is held or typed in is not replaced

root.addEventListener("pointerdown", () => { pressed = true; });
for (const end of ["pointerup", "pointercancel"]) window.addEventListener(end, () => setTimeout(() => { pressed = false; arrived(); }, 50));

function when(seconds) {
  return seconds ? new Date(1000 * seconds).toLocaleString(undefined, { dateStyle: "short", timeStyle: "short" }) : "–";
}

function bytes(size) {
  const units = ["B", "kB", "MB", "GB", "TB"], at = size < 1 ? 0 : Math.min(4, Math.floor(Math.log10(size) / 3));
  return `${round(size / 1000 ** at, 3)} ${units[at]}`;
}

const many = (count) => `${number(count, 0)} run${count === 1 ? "" : "s"}`;
const part = (name) => root.querySelector(`[data-part=${name}]`);
const lead = (action, runs) => trigger("click", { action, runs });

// What stands in a box anew; the control that was held stays held.
function redraw(box, ...nodes) {
  const controls = () => [...box.querySelectorAll("button, input")];
  const at = controls().indexOf(document.activeElement);
  box.replaceChildren(...nodes);
  controls()[at]?.focus();
}

// -- asking -------------------------------------------------------------------------------------------

const load = () => follow(() => `ledger?${new URLSearchParams(asked)}`, show, POLL_MS, false);

function ask(changes) {
  asked = { ...asked, page: 0, ...changes };
  load();
}

async function post(path, body = {}) {
  let found = {};
  try {
    const answer = await fetch(address(path), { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) });
    found = await answer.json();
    part("problem").textContent = found.problem || (answer.ok ? "" : "That is too long, or no run any more. Look again.");
  } catch {
    part("problem").textContent = "The studio does not answer, so nothing was changed. Try again.";
  }
  load();
  return found;
}

const act = (name) => (id) => post(`runs/${encodeURIComponent(id)}/${name}`);

// A sentence with what can be done about it; the last button is held, for the one that was pressed is gone.
function tell(text, ...buttons) {
  part("told").replaceChildren(...(text ? [make("span", "", text), ...buttons] : []));
  buttons.at(-1)?.focus();
}

async function discard(runs) {
  const { done = [] } = await post("ledger/delete", { runs });
  picked.clear();
  if (done.length) tell(`${many(done.length)} moved to the trash.`, button("Undo", "", () => restore(done)));
}

async function restore(runs) {
  const { done = [] } = await post("ledger/restore", { runs });
  picked.clear();
  tell(done.length ? `${many(done.length)} restored.` : "");
}

async function erase(some) { // none: all that are in the trash
  const { runs = [], bytes: size } = await post("ledger/weigh", { runs: some });
  if (!runs.length) return;
  const sure = button("Delete for ever", "stop", async () => {
    const { done = [] } = await post("ledger/erase", { runs });
    picked.clear();
    tell(`${many(done.length)} deleted for ever.`);
  });
  tell(`Delete ${many(runs.length)} for ever? This frees ${bytes(size)} and cannot be undone.`, sure, button("Keep", "", () => tell("")));
}

// -- one run ------------------------------------------------------------------------------------------

function doable(row) {
  if (asked.trash) return ["restore", "erase"];
  const leaving = row.stopping || row.status === "pausing";
  const now = row.status === "queued" ? ["out", "stop"] : row.status === "finishing" ? ["stop"] : ["pause", "stop"];
  return ["curves", ...(row.active ? [] : ["again"]), "form", ...(row.active ? (leaving ? ["kill"] : now) : [...(row.resumable ? ["resume"] : []), "delete"])];
}

function doing(name, row) {
  const all = {
    curves: ["Open its curves", () => lead("curves", [row.id])],
    again: ["Run again", () => lead("again", [row.id]), "The same settings on the same rows: on this machine it gives the same. Refused where the rows are others by now."],
    form: ["Copy with changes", () => lead("form", [row.id]), "Puts its settings into the Train tab: start it again as it was, or change them first."],
    pause: ["Pause", () => act("pause")(row.id)], out: ["Take out of the queue", () => act("pause")(row.id)],
    stop: [row.status === "queued" ? "Stop" : "Stop and save", () => act("stop")(row.id)], kill: [ending(row), () => act("kill")(row.id)],
    resume: [onward(row), () => act("resume")(row.id)],
    delete: ["Delete", () => discard([row.id]), "To the trash, from which it can be restored."],
    restore: ["Restore", () => restore([row.id])], erase: ["Delete for ever", () => erase([row.id])],
  };
  const [text, clicked, help] = all[name];
  const node = button(text, name === "curves" ? "primary" : "", clicked);
  node.title = help || "";
  return node;
}

function field(label, input, value, most) {
  const wrap = make("label", "field");
  input.value = value;
  input.maxLength = most;
  wrap.append(make("span", "label", label), input);
  return wrap;
}

function detailsOf(row) {
  const line = make("tr", "details"), cell = make("td");
  cell.colSpan = COLUMNS.length + 2;
  const buttons = make("div", "actions"), note = make("textarea"), tags = make("input"), told = make("span", "muted");
  told.setAttribute("role", "status");
  const problem = make("p", "fault");
  cell.append(problem, buttons);
  if (!asked.trash) {
    note.rows = 2;
    const keep = async (event) => {
      event.preventDefault();
      told.textContent = (await post("ledger/about", { run: row.id, tags: tags.value, note: note.value })).problem ? "" : "Saved.";
    };
    const form = make("form");
    const save = button("Save", "", keep);
    form.addEventListener("submit", keep);
    form.append(field("Tags, with commas between them", tags, row.tags.join(", "), 600), field("Note", note, row.note, 2000), save, told);
    cell.append(form);
  }
  line.append(cell);
  return { id: row.id, line, problem, buttons, wanted: "" };
}

function drawDetails(row) {
  const wanted = JSON.stringify([doable(row), row.status, row.problem]);
  if (open.wanted === wanted) return;
  open.wanted = wanted;
  open.problem.textContent = row.problem;
  redraw(open.buttons, ...doable(row).map((name) => doing(name, row)));
}

function toggle(row) {
  open = open?.id === row.id ? null : detailsOf(row);
  drawTable();
}

function lineOf(row) {
  const line = make("tr");
  const box = make("input");
  box.type = "checkbox";
  box.addEventListener("change", () => { box.checked ? picked.add(row.id) : picked.delete(row.id); drawPicked(); });
  const star = button("", "star", () => post("ledger/about", { run: row.id, star: star.textContent !== "★" }));
  const name = button("", "name", () => toggle(line.row));
  for (const [kind, node] of [["tick", box], ["star", star], ["method", name]]) {
    const cell = make("td", kind);
    cell.append(node);
    line.append(cell);
  }
  for (const [key, title, write] of COLUMNS) {
    const cell = make("td", write ? "number" : `said-${key}`);
    [cell.dataset.key, cell.dataset.title] = [key, title];
    line.append(cell);
  }
  Object.assign(line, { box, star, name });
  return line;
}

function fill(line, row) {
  line.row = row;
  line.box.checked = picked.has(row.id);
  line.box.setAttribute("aria-label", `Choose ${row.title}`);
  line.star.textContent = row.star ? "★" : "☆";
  line.star.disabled = asked.trash;
  line.star.setAttribute("aria-label", row.star ? "Take the star away" : "Give it a star");
  line.name.textContent = row.title;
  line.name.setAttribute("aria-expanded", open?.id === row.id);
  for (const [key, , write] of COLUMNS) {
    const cell = line.querySelector(`[data-key=${key}]`), value = row[key];
    cell.hidden = key === (asked.trash ? "created" : "deleted");
    if (key === "status") cell.replaceChildren(make("span", `chip ${value}`, value));
    else if (key === "tags") cell.replaceChildren(...value.map((tag) => make("span", "tag", tag)));
    else cell.textContent = write ? (value == null ? "–" : write(value, row)) : value;
    cell.classList.toggle("unsaid", key === "tags" ? !value.length : value == null || value === "");
    if (key === "note") cell.translate = false;
    if (key === "status" || key === "note") cell.title = key === "note" ? value : row.problem;
  }
}

// -- the table ----------------------------------------------------------------------------------------

function heading(key, title) {
  const cell = make("th");
  const sorted = asked.sort === key;
  if (sorted) cell.setAttribute("aria-sort", asked.down ? "descending" : "ascending");
  cell.append(sorter(title, sorted, asked.down, () => ask({ sort: key, down: asked.sort === key ? !asked.down : !["title", "status", "tags", "note"].includes(key) })));
  cell.hidden = key === (asked.trash ? "created" : "deleted");
  return cell;
}

function drawHead() {
  const all = make("input");
  all.type = "checkbox";
  all.setAttribute("aria-label", "Choose all runs of this page");
  all.checked = shown.rows.length > 0 && shown.rows.every((row) => picked.has(row.id));
  all.addEventListener("change", () => {
    shown.rows.forEach((row) => (all.checked ? picked.add(row.id) : picked.delete(row.id)));
    draw();
  });
  const corner = make("th", "tick");
  corner.append(all);
  redraw(part("head"), corner, heading("star", "★"), heading("title", "Run"), ...COLUMNS.map(([key, title]) => heading(key, title)));
}

function drawTable() {
  for (const id of lines.keys()) if (!shown.rows.some((row) => row.id === id)) lines.delete(id);
  if (open && !shown.rows.some((row) => row.id === open.id)) open = null;
  const wanted = shown.rows.flatMap((row) => {
    if (!lines.has(row.id)) lines.set(row.id, lineOf(row));
    fill(lines.get(row.id), row);
    if (open?.id !== row.id) return [lines.get(row.id)];
    drawDetails(row);
    return [lines.get(row.id), open.line];
  });
  const body = part("body"), now = [...body.children];
  if (wanted.length === now.length && wanted.every((line, at) => line === now[at])) return;
  const held = document.activeElement;
  body.replaceChildren(...wanted);
  if (body.contains(held)) held.focus();
}

function nothing() {
  if (asked.trash && !shown.all) return ["The trash is empty. Runs that you delete wait here until you delete them for ever."];
  if (shown.unread) return ["Reading the runs …"];
  if (!shown.all) return ["No run yet. Press “Start training” in the Start or Train tab: each run is listed here, with what it cost and what you say of it."];
  return ["No run is like that.", button("Show all", "", () => { part("text").value = ""; ask({ ...START, trash: asked.trash, sort: asked.sort, down: asked.down }); })];
}

function drawPicked() {
  const box = part("picked");
  const all = (does) => () => does([...picked]);
  const compare = button("Compare", "", all((ids) => lead("curves", ids)));
  compare.disabled = picked.size < 2 || picked.size > MOST_COMPARED;
  compare.title = `Lays the curves of 2 to ${MOST_COMPARED} runs over one another.`;
  const buttons = asked.trash
    ? [button("Restore", "", all(restore)), button("Delete for ever", "", all(erase))]
    : [compare, button("Delete", "", all(discard))];
  redraw(box, make("span", "", `${many(picked.size)} chosen`), ...buttons, button("Choose none", "", () => { picked.clear(); draw(); }));
  box.hidden = !picked.size;
}

function drawPages() {
  const { first, total, on_a_page: size } = shown;
  const turn = (text, label, page, allowed) => {
    const node = button(text, "", () => { asked.page = page; load(); });
    node.disabled = !allowed;
    node.setAttribute("aria-label", label);
    return node;
  };
  const page = first / size, rest = shown.unread ? `; ${many(shown.unread)} not read yet` : "";
  redraw(part("pages"),
    make("span", "muted", total ? `${number(first + 1, 0)}–${number(Math.min(first + size, total), 0)} of ${many(total)}${rest}` : ""),
    ...(total > size ? [turn("←", "Newer page", page - 1, first > 0), turn("→", "Older page", page + 1, first + size < total)] : []));
}

function drawTools() {
  const tags = part("tags"), text = JSON.stringify(shown.tags);
  if (tags.dataset.of !== text + asked.tag && !tags.contains(document.activeElement)) {
    tags.dataset.of = text + asked.tag;
    tags.replaceChildren(choice("Tag", [["", "Any"], ...shown.tags.map((tag) => [tag, tag])], asked.tag, (tag) => ask({ tag })));
  }
  part("statuses").querySelector("select").value = asked.status;
  part("starred").checked = asked.starred;
  part("sort").querySelector("select").value = asked.sort;
  part("way").textContent = asked.down ? "▼" : "▲";
  part("trash").textContent = asked.trash ? "← Back to the runs" : `Trash (${number(shown.thrown, 0)})`;
  part("empty").hidden = !asked.trash || !shown.all;
  part("tools").hidden = !shown.all;
}

function arrived() {
  if (shown && !pressed && !dragged) draw(); // what is being pressed must not be replaced
}

function draw() {
  drawQueue();
  drawTools();
  drawPicked();
  drawHead();
  drawTable();
  drawPages();
  part("nothing").replaceChildren(...(shown.rows.length ? [] : nothing()));
  part("nothing").hidden = part("table").parentElement.hidden = false;
  (shown.rows.length ? part("nothing") : part("table").parentElement).hidden = true;
}

function show(found, ok) {
  if (!element.offsetParent) generation++; // of a tab that is not seen: it looks anew when it is
  if (!ok) return void (part("problem").textContent = "This cannot be looked for: use fewer words.");
  shown = found;
  asked.page = found.first / found.on_a_page;
  arrived();
}

// -- the frame ----------------------------------------------------------------------------------------

function named(node, name) {
  node.dataset.part = name;
  return node;
}

function tools() {
  const text = make("input");
  Object.assign(text, { type: "search", placeholder: "title, tag, note, model, data", maxLength: 500 });
  let soon = 0;
  text.addEventListener("input", () => { clearTimeout(soon); soon = setTimeout(() => ask({ text: text.value }), 250); });
  const search = make("label", "pick");
  search.append(make("span", "label", "Search"), named(text, "text"));
  const starred = make("input");
  starred.type = "checkbox";
  starred.addEventListener("change", () => ask({ starred: starred.checked }));
  const tick = make("label", "tick");
  tick.append(named(starred, "starred"), " Starred only");
  const statuses = named(make("span"), "statuses");
  statuses.append(choice("Status", STATUSES, asked.status, (status) => ask({ status })));
  const sort = named(make("span", "narrow"), "sort"); // where headings have no room
  sort.append(choice("Sort by", [["star", "Star"], ["title", "Run"], ...COLUMNS], asked.sort, (key) => ask({ sort: key })),
    named(button("", "", () => ask({ down: !asked.down })), "way"));
  sort.lastChild.setAttribute("aria-label", "The other way round");
  const box = named(make("div", "tools controls"), "tools");
  box.append(search, statuses, named(make("span"), "tags"), tick, sort);
  return box;
}

function frame() {
  const say = named(make("p", "told"), "told"), problem = named(make("p", "fault"), "problem");
  say.setAttribute("role", "status");
  problem.setAttribute("role", "alert");
  const bin = make("div", "actions bin");
  bin.append(named(button("Empty the trash", "", () => erase([])), "empty"), named(button("", "", () => {
    picked.clear(); lines.clear(); tell("");
    ask({ ...START, trash: !asked.trash, sort: asked.trash ? "created" : "deleted" });
    part("text").value = "";
  }), "trash"));
  const top = make("div", "top");
  top.append(tools(), bin);
  const table = named(make("table", "measured"), "table");
  named(table.createTHead().insertRow(), "head");
  named(table.createTBody(), "body");
  const scroll = make("div", "scroll");
  scroll.append(table);
  root.replaceChildren(make("p", "fault away", "The studio does not answer. Runs in progress go on; this page tries again."), problem,
    named(make("section", "queue"), "queue"), top, say, named(make("div", "actions picked"), "picked"),
    scroll, named(make("p", "nothing"), "nothing"), named(make("div", "actions pages"), "pages"));
  for (const name of ["queue", "picked", "tools", "empty"]) part(name).hidden = true;
  scroll.hidden = true;
}

frame();
watch("value", load);
if (props.value) load();
