// The table of a data set. The value is one page of rows:
// {columns: [{name, kind, simple}], rows: [{id, label, touched, cells: [text], cut: [bool]}], sort, descending, editable,
// picked: [id], cell: [id, column]}.
// What a person does comes back as one event with an `action`. Everything from data is set as text, never as HTML.
const picked = new Set();
let last = null; // the row picked last: Shift picks all from there

const tell = (action, more) => trigger("click", { action, ...more });
const boxes = () => [...element.querySelectorAll("tbody input[type=checkbox]")];

const pick = (box, range) => {
  const all = boxes();
  const from = range && last !== null ? all.findIndex((each) => each.dataset.id === last) : -1;
  const to = all.indexOf(box);
  const some = from < 0 ? [box] : all.slice(Math.min(from, to), Math.max(from, to) + 1);
  some.forEach((each) => {
    each.checked = box.checked;
    box.checked ? picked.add(+each.dataset.id) : picked.delete(+each.dataset.id);
  });
  last = box.dataset.id;
  tell("pick", { rows: [...picked] });
};

const checkbox = (title, handler) => {
  const box = make("input");
  box.type = "checkbox";
  box.title = title;
  box.setAttribute("aria-label", title);
  box.addEventListener("click", (event) => { event.stopPropagation(); handler(box, event.shiftKey); });
  return box;
};

// A double click writes in the cell itself, where the page has all of it.
const write = (cell, row, column, text) => {
  const area = make("textarea", "writing");
  area.value = text;
  area.rows = Math.min(8, 1 + Math.ceil(text.length / 40));
  const before = area.value; // not `text`: the area makes its own line breaks
  let over = false;
  const end = (keep) => {
    if (over) return;
    over = true;
    const changed = keep && area.value !== before;
    cell.textContent = changed ? area.value : text;
    if (changed) tell("write", { row, column, seen: text, text: area.value });
  };
  area.addEventListener("keydown", (event) => {
    if (event.key === "Escape") end(false);
    if (event.key === "Enter" && !event.shiftKey) { event.preventDefault(); end(true); }
    event.stopPropagation();
  });
  area.addEventListener("blur", () => end(true));
  area.addEventListener("click", (event) => event.stopPropagation());
  cell.replaceChildren(area);
  area.focus();
};

const headOf = (page) => {
  const line = make("tr");
  const corner = make("th", "tick");
  if (page.editable) {
    corner.append(checkbox("Pick all rows of this page", (box) => {
      boxes().forEach((each) => { each.checked = box.checked; box.checked ? picked.add(+each.dataset.id) : picked.delete(+each.dataset.id); });
      tell("pick", { rows: [...picked] });
    }));
  }
  line.append(corner, make("th", "number", "row"));
  page.columns.forEach((column) => {
    const head = make("th");
    const sorted = page.sort === column.name;
    const button = make("button", sorted ? "sorted" : "");
    const name = make("span", "", column.name);
    name.translate = false; // somebody's word, whatever it means here
    button.append(name);
    button.type = "button";
    button.title = `${column.kind}. Click to sort.`;
    if (sorted) head.setAttribute("aria-sort", page.descending ? "descending" : "ascending");
    button.append(make("span", "arrow", sorted ? (page.descending ? " ▼" : " ▲") : ""));
    button.addEventListener("click", () => tell("sort", { column: column.name }));
    head.append(button);
    line.append(head);
  });
  return line;
};

const lineOf = (page, row) => {
  const line = make("tr", row.touched ? "touched" : "");
  const tick = make("td", "tick");
  if (page.editable) {
    const box = checkbox(`Pick ${row.label}`, pick);
    box.dataset.id = row.id;
    box.checked = picked.has(row.id);
    tick.append(box);
  }
  const number = make("td", "number", row.label);
  if (row.touched) number.title = "Changed since the last save";
  line.append(tick, number);
  row.cells.forEach((text, i) => {
    const column = page.columns[i].name;
    const cell = make("td", "cell", text);
    cell.tabIndex = 0;
    cell.dataset.row = row.id;
    cell.dataset.column = column;
    if (page.cell && page.cell[0] === row.id && page.cell[1] === column) cell.classList.add("here");
    // Lists, dates and mixed cells are shown otherwise than they are written: those are edited at the side.
    const inPlace = page.editable && page.columns[i].simple && !row.cut[i];
    const open = () => {
      element.querySelectorAll(".here").forEach((each) => each.classList.remove("here"));
      cell.classList.add("here");
      tell("open", { row: row.id, column });
    };
    cell.addEventListener("click", open);
    cell.addEventListener("keydown", (event) => {
      if (event.key === "Enter") { event.preventDefault(); open(); }
      if (event.key === "F2" && inPlace) { event.preventDefault(); write(cell, row.id, column, text); }
    });
    if (inPlace) cell.addEventListener("dblclick", () => write(cell, row.id, column, text));
    line.append(cell);
  });
  return line;
};

let shownFor = null;
const draw = () => {
  const page = props.value;
  if (!page || !page.columns) return;
  if (page.key !== shownFor) { last = null; shownFor = page.key; }
  picked.clear();
  page.picked.forEach((id) => picked.add(id));
  const table = make("table");
  const head = make("thead");
  const body = make("tbody");
  head.append(headOf(page));
  body.append(...page.rows.map((row) => lineOf(page, row)));
  table.append(head, body);
  const box = element.querySelector(".grid");
  const top = box.scrollTop;
  box.replaceChildren(page.rows.length ? table : make("p", "nothing", page.nothing));
  box.scrollTop = page.keep ? top : 0;
};

watch("value", draw);
draw();
