// The exercise. The value is {steps: [Step of studio/guide.py with `go`, the words of its button]}; a click has a `step`.
const card = (step, number, next) => {
  const node = make("li", `step ${step.done ? "done" : next ? "next" : ""} ${step.applies ? "" : "off"}`.trim());
  const mark = make("span", "mark", step.done ? "✓" : String(number));
  mark.setAttribute("aria-hidden", "true");
  const body = make("div", "body"), head = make("div", "head");
  head.append(make("h3", "", step.title), make("span", "chip", step.done ? "done" : step.applies ? (next ? "next" : "to do") : "not for this model"));
  body.append(head, make("p", "why", step.why));
  if (!step.done && step.applies) body.append(make("p", "todo", step.todo));
  body.append(make("p", "evidence", step.evidence));
  if (step.applies) {
    const go = button(step.done ? `${step.go} again` : step.go, next ? "primary" : "", () => trigger("click", { step: step.key }));
    go.dataset.step = step.key;
    body.append(go);
  }
  node.append(mark, body);
  return node;
};

function draw() {
  const box = element.querySelector(".guide"), steps = props.value?.steps || [];
  if (!steps.length) { box.replaceChildren(); return; }
  const asked = steps.filter((step) => step.applies), done = asked.filter((step) => step.done).length;
  const bar = make("div", "bar"), fill = make("span");
  fill.style.width = `${(100 * done) / asked.length}%`;
  bar.append(fill);
  const told = done === asked.length ? "All done: you have trained a model and know what it is worth." : `${done} of ${asked.length} steps are done.`;
  const list = make("ol", "");
  const next = steps.find((step) => step.applies && !step.done);
  list.append(...steps.map((step, i) => card(step, i + 1, step === next)));
  box.replaceChildren(make("p", "progress", told), bar, list);
}

watch("value", draw);
draw();
