// Two answers without their authors. The value is {nothing, last} or {name, row, prompt, answers: [left, right], last},
// where `last` tells of the vote before it who had written what. A click comes back as {name, row, vote}.
const WAYS = [["left", "A is better", "1"], ["right", "B is better", "2"], ["tie", "A tie", "3"], ["bad", "Both are bad", "4"]];
const PATIENCE_MS = 5000; // an answer that is later than that is lost
let voted = null; // on which prompt, as long as the next one is on its way

const vote = (way) => {
  const { name, row } = props.value || {};
  const key = `${name} ${row}`;
  if (row == null || voted === key) return;
  voted = key;
  setTimeout(() => { if (voted === key) voted = null; }, PATIENCE_MS);
  trigger("click", { name, row, vote: way });
};

const answer = (title, text) => {
  const node = make("article");
  node.append(make("h3", "", title), make("p", text ? "text" : "muted", text || "(it said nothing)"));
  return node;
};

const told = (last) => {
  const chose = WAYS.find(([way]) => way === last.vote)[1];
  return make("p", "muted last", `Before: A was ${last.left}, B was ${last.right}; you said “${chose}”.`);
};

const draw = () => {
  const value = props.value || {}, root = element.querySelector(".arena");
  const parts = value.last ? [told(value.last)] : [];
  if (value.row == null) return root.replaceChildren(...(value.nothing ? [make("p", "muted", value.nothing)] : []), ...parts);
  const asked = make("div", "part"), both = make("div", "both"), ways = make("div", "ways");
  asked.append(make("span", "label", value.place), make("p", "text", value.prompt));
  both.append(answer("A", value.answers[0]), answer("B", value.answers[1]));
  ways.append(...WAYS.map(([way, text, key]) => {
    const node = button(text, "", () => vote(way));
    node.append(make("kbd", "", key));
    node.dataset.vote = way;
    return node;
  }));
  root.replaceChildren(asked, both, ways, ...parts);
};

const pressed = (event) => {
  if (!element.isConnected) return document.removeEventListener("keydown", pressed);
  if (element.offsetParent === null || event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
  if (event.target.closest?.("input, textarea, select, [contenteditable]")) return; // somebody writes
  const way = WAYS.find(([, , key]) => key === event.key);
  if (way) vote(way[0]);
};
document.addEventListener("keydown", pressed);
watch("value", draw);
draw();
