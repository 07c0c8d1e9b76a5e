// The tree of a model's layers. The value is {nothing: text} or {about, answers, text, root: {part, name, times, shape,
// size, share, state: all|some|none|'', fixed, blocks: [[block, state, fixed]], kids}}. A click comes back as {answers,
// text, clicks: [{part, block, on}]}: those made while an answer is under way wait for it, so that none is lost.
// It is 'part', not 'path': what holds a path is a file to Gradio.
const open = new Set(), closed = new Set(); // by hand; the rest is open where it is short
const PATIENCE_MS = 5000; // an answer that is later than that is lost
let waiting = [], asked = 0, answered = 0;

// `text`: what the answer just received made of the names; the field itself may not hold it yet.
const send = (text) => {
  if (asked !== answered || !waiting.length) return;
  asked += 1;
  trigger("click", { answers: asked, text, clicks: waiting });
  waiting = [];
  const mine = asked;
  setTimeout(() => {
    if (answered >= mine) return;
    answered = mine;
    draw(); // the boxes as they are known to be
    send();
  }, PATIENCE_MS);
};

const picked = (part, block, on) => {
  waiting.push({ part, block, on });
  send();
};

const checkbox = (node) => {
  const box = make("input");
  box.type = "checkbox";
  box.checked = node.state === "all";
  box.indeterminate = node.state === "some";
  box.disabled = node.fixed;
  box.dataset.key = `pick ${node.part}`;
  box.addEventListener("change", () => picked(node.part, null, box.checked));
  return box;
};

const chips = (node) => {
  const line = make("li", "blocks");
  line.append(make("span", "label", "In which blocks"));
  node.blocks.forEach(([block, state, fixed]) => {
    const chip = make("button", "", block);
    chip.type = "button";
    chip.dataset.key = `block ${block} ${node.part}`;
    chip.disabled = fixed;
    chip.setAttribute("aria-label", `${node.name}, block ${block}`);
    chip.setAttribute("aria-pressed", { all: "true", some: "mixed", none: "false" }[state]);
    chip.addEventListener("click", () => picked(node.part, block, state !== "all"));
    line.append(chip);
  });
  return line;
};

const branch = (node, depth) => {
  const item = make("li");
  const row = make("div", "row");
  const name = make(node.state ? "label" : "span", "name");
  if (node.state) name.append(checkbox(node));
  name.append(make("code", "", node.name));
  if (node.times > 1) name.append(make("span", "times", `× ${node.times}`));
  row.append(name, ...["shape", "size", "share"].map((fact) => make("span", fact, node[fact])));
  item.append(row);
  if (!node.kids.length && !node.blocks.length) return item;

  const fold = make("button", "fold");
  fold.type = "button";
  fold.dataset.key = `fold ${node.part}`;
  fold.setAttribute("aria-label", `Parts of ${node.name}`);
  row.prepend(fold);
  const list = make("ul");
  const show = (shown) => {
    fold.setAttribute("aria-expanded", shown);
    list.hidden = !shown;
    if (shown && !list.childElementCount) {
      if (node.blocks.length) list.append(chips(node));
      list.append(...node.kids.map((kid) => branch(kid, depth + 1)));
    }
  };
  fold.addEventListener("click", () => {
    const shown = list.hidden;
    (shown ? open : closed).add(node.part);
    (shown ? closed : open).delete(node.part);
    show(shown);
  });
  show(open.has(node.part) || (!closed.has(node.part) && depth < 1));
  item.append(list);
  return item;
};

const draw = () => {
  const value = props.value;
  if (!value) return;
  const answer = value.answers > answered;
  if (answer) answered = value.answers;
  const key = element.contains(document.activeElement) ? document.activeElement.dataset.key : null;
  const tree = make("ul");
  if (value.root) tree.append(branch(value.root, 0));
  element.querySelector(".layers").replaceChildren(make("p", "muted", value.nothing || value.about), tree);
  if (key) [...element.querySelectorAll("[data-key]")].find((each) => each.dataset.key === key)?.focus();
  if (answer) send(value.text);
};
watch("value", draw);
draw();
