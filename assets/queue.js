// The runs that wait, in their order, which is changed by dragging or by buttons. A part of the Runs tab: stands before
// runs.js, which asks, tells and draws.
let dragged = ""; // a run's id

function move(id, before) {
  return post("ledger/move", { run: id, before });
}

function waiting(run, at, queue) {
  const item = make("li");
  const handle = make("span", "handle", "⠿");
  handle.draggable = true;
  handle.title = "Drag to another place";
  handle.addEventListener("dragstart", (event) => {
    dragged = run.id;
    event.dataTransfer.setData("text/plain", run.id); // Firefox drags nothing without
    event.dataTransfer.setDragImage(item, 12, 12);
  });
  handle.addEventListener("dragend", () => { dragged = ""; arrived(); });
  const below = (event) => event.clientY > item.getBoundingClientRect().top + item.offsetHeight / 2;
  const unmark = () => item.classList.remove("above", "below");
  item.addEventListener("dragover", (event) => {
    if (!dragged) return;
    event.preventDefault();
    unmark();
    item.classList.add(below(event) ? "below" : "above");
  });
  item.addEventListener("dragleave", unmark);
  item.addEventListener("drop", (event) => {
    event.preventDefault();
    unmark();
    if (dragged && dragged !== run.id) move(dragged, below(event) ? queue[at + 1]?.id ?? null : run.id);
  });
  const does = (name, sign, text, last, clicked) => {
    const node = button(sign, "", clicked);
    node.dataset.key = `${name} ${run.id}`;
    node.disabled = last;
    node.title = text;
    node.setAttribute("aria-label", `${text}: ${run.title}`);
    return node;
  };
  const buttons = make("span", "actions");
  buttons.append(
    does("up", "↑", "One place up", at === 0, () => move(run.id, queue[at - 1].id)),
    does("down", "↓", "One place down", at === queue.length - 1, () => move(run.id, queue[at + 2]?.id ?? null)),
    does("next", "Next", "To the front of the queue", at === 0, () => move(run.id, queue[0].id)),
    does("out", "Take out", "Out of the queue; Continue puts it back", false, () => act("pause")(run.id)));
  item.append(handle, make("span", "title", run.title), make("span", "muted", when(run.created)), buttons);
  return item;
}

function drawQueue() {
  const box = part("queue"), text = JSON.stringify(shown.queue);
  box.hidden = !shown.queue.length || asked.trash;
  if (box.dataset.of === text) return;
  box.dataset.of = text;
  const held = box.contains(document.activeElement) ? document.activeElement.dataset.key : "";
  const list = make("ol");
  list.append(...shown.queue.map(waiting));
  box.replaceChildren(make("h3", "", `${many(shown.queue.length)} waiting, the next one first`), list);
  if (!held) return;
  const [name, id] = held.split(" ");
  const wanted = [name, name === "up" ? "down" : "up", "out"].map((each) => box.querySelector(`[data-key="${each} ${CSS.escape(id)}"]`));
  wanted.find((node) => node && !node.disabled)?.focus();
}
