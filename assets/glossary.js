// Terms and settings with their sources. The value is {terms, settings}: lists of Entry of studio/glossary.py.
const ARXIV = /arXiv:(\d{4}\.\d{4,5})/;
let query = "", which = "all";

function source(text) {
  const node = make("p", "source"), found = text.match(ARXIV);
  if (!found) { node.textContent = text; return node; }
  const link = make("a", "", found[0]);
  link.href = `https://arxiv.org/abs/${found[1]}`;
  link.target = "_blank";
  link.rel = "noopener noreferrer";
  node.append(text.slice(0, found.index), link, text.slice(found.index + found[0].length));
  return node;
}

// The place of each word in the text, marked; whatever the text holds stays text.
function marked(tag, className, text, words) {
  const node = make(tag, className), lower = text.toLowerCase();
  let at = 0;
  while (at < text.length) {
    const hits = words.map((word) => [lower.indexOf(word, at), word.length]).filter(([place]) => place >= 0).sort((a, b) => a[0] - b[0] || b[1] - a[1]);
    if (!hits.length) break;
    const [place, length] = hits[0];
    node.append(text.slice(at, place), make("mark", "", text.slice(place, place + length)));
    at = place + length;
  }
  node.append(text.slice(at));
  return node;
}

const entry = (each, words) => {
  const node = make("article", each.kind), head = make("div", "head");
  head.append(marked("h3", "", each.name, words));
  if (each.kind === "setting") head.append(marked("code", "", each.where, words));
  node.append(head, marked("p", "", each.text, words));
  if (each.source) node.append(source(each.source));
  return node;
};

// Names that begin so first, then names that hold it, then what is said.
const score = (each, asked) => Math.min(...[each.name, each.english].map((given) => {
  const name = given.toLowerCase();
  return name === asked ? 0 : name.startsWith(asked) ? 1 : name.includes(asked) ? 2 : 3;
}));

function list(box, count) {
  const { terms = [], settings = [] } = props.value || {};
  const all = [...(which === "settings" ? [] : terms), ...(which === "terms" ? [] : settings)].map((each) => (
    { ...each, name: translated(each.name), text: translated(each.text), english: each.name, also: each.text }
  ));
  const asked = query.trim().toLowerCase(), words = asked.split(/\s+/).filter(Boolean);
  const found = all.filter((each) => {
    const text = `${each.name} ${each.text} ${each.english} ${each.also} ${each.source} ${each.where}`.toLowerCase();
    return words.every((word) => text.includes(word));
  });
  if (asked) found.sort((a, b) => score(a, asked) - score(b, asked));
  count.textContent = `${found.length.toLocaleString("en")} of ${all.length.toLocaleString("en")}`;
  box.replaceChildren(...found.map((each) => entry(each, words)));
  if (!found.length) box.append(make("p", "muted", "Nothing is called so. Try a shorter word."));
}

function draw() {
  const root = element.querySelector(".glossary");
  if (!props.value?.terms) { root.replaceChildren(); return; }
  const search = make("input", "search"), tools = make("div", "rowtools"), count = make("span", "muted"), box = make("div", "entries");
  search.type = "search";
  search.placeholder = "Search terms and settings, such as “rank”, “overfitting” or “learning rate”";
  search.setAttribute("aria-label", "Search terms and settings");
  search.value = query;
  search.addEventListener("input", () => { query = search.value; list(box, count); });
  const kinds = make("div", "kinds");
  kinds.setAttribute("role", "group");
  kinds.setAttribute("aria-label", "What is listed");
  kinds.append(...[["all", "All"], ["terms", "Terms"], ["settings", "Settings"]].map(([key, name]) => {
    const choice = button(name, "", () => {
      which = key;
      for (const each of kinds.children) each.setAttribute("aria-pressed", each === choice);
      list(box, count);
    });
    choice.setAttribute("aria-pressed", key === which);
    return choice;
  }));
  count.setAttribute("role", "status");
  tools.append(search, kinds, count);
  root.replaceChildren(tools, box);
  list(box, count);
}

watch("value", draw);
draw();
