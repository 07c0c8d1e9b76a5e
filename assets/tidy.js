// Suggestions for a prompt. The value is {items: [{key, title, why, on}], before, after: {system, template}, nothing} or
// {undo: {system, template}}, once they were applied. A switch goes out as `input`, the button as `submit`: {on: keys};
// taking it back as `click`: {undo}. Stands behind along.js and diff.js.
const chosen = () => ({ on: [...element.querySelectorAll("input:checked")].map((box) => box.value) });

function suggestion({ key, title, why, on }) {
  const line = make("label", "item"), box = make("input"), words = make("span");
  Object.assign(box, { type: "checkbox", value: key, checked: on });
  box.addEventListener("change", () => trigger("input", chosen()));
  words.append(make("strong", "", title), make("span", "muted", why));
  line.append(box, words);
  return line;
}

function draw() {
  const { items, before, after, nothing, undo } = props.value || {}, root = element.querySelector(".tidy");
  if (undo) {
    const line = make("p", "ready", "Done: the prompt above is the tidied one. ");
    line.append(button("Undo", "", () => trigger("click", { undo })));
    return root.replaceChildren(line);
  }
  if (!items?.length) return root.replaceChildren(...(nothing ? [make("p", "ready", nothing)] : []));
  const key = element.contains(document.activeElement) ? document.activeElement.value : null;
  const list = make("div", "items"), texts = make("div", "texts"), apply = button("Apply what is switched on", "primary", () => trigger("submit", chosen()));
  list.append(...items.map(suggestion));
  apply.disabled = !items.some((each) => each.on);
  texts.append(changed("System text", before.system, after.system), changed("Instruction", before.template, after.template));
  root.replaceChildren(list, texts, apply);
  if (key) [...root.querySelectorAll("input")].find((box) => box.value === key)?.focus({ preventScroll: true });
}

watch("value", draw);
draw();
