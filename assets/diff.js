// What changed between two texts, word by word. Stands behind along.js, which splits and compares words.
function changes(before, after) {
  const a = pieces(before), b = pieces(after), kept = common(a, b), nodes = [];
  const gone = (from, to) => { if (to > from) nodes.push(make("del", "", a.slice(from, to).join(""))); };
  let at = 0, fresh = "";
  const come = () => { if (fresh) nodes.push(make("ins", "", fresh)); fresh = ""; };
  b.forEach((word, place) => {
    if (!kept.has(place)) { fresh += word; return; }
    const from = at;
    while (a[at] !== word) at++;
    gone(from, at++);
    come();
    nodes.push(word);
  });
  gone(at, a.length);
  come();
  return nodes;
}

// A text of a prompt under its name; where `before` says something else, what changed is marked.
function changed(title, before, after) {
  const node = make("div", "part"), text = make("p", before || after ? "text" : "muted");
  text.append(...(before || after ? changes(before, after) : ["(empty)"]));
  node.append(make("span", "label", title), text);
  return node;
}
