// Answers to the same prompts along a run, as elements; live.js, which follows in the same script, shows them.
function answersAt(prompts, answers, before) {
  return prompts.map(({ prompt, reference }, at) => {
    const row = make("div", "asked");
    const answer = answers[at] ?? "";
    row.append(said("Prompt", [prompt]), said("Right answer", [reference]),
      said("Answer", answer ? marked(before?.[at], answer) : [window.translated("(nothing)")]));
    return row;
  });
}

function said(title, parts) {
  const part = make("div"), text = make("span");
  text.translate = false; // of data and models
  text.append(...parts);
  part.append(make("span", "label", title), text);
  return part;
}

// The words of `after`, those marked that `before`, if there is one, has not in the same order.
function marked(before, after) {
  const words = pieces(after);
  if (before === undefined) return words;
  const kept = common(pieces(before), words);
  return words.map((word, at) => (kept.has(at) || !word.trim() ? word : make("mark", "", word)));
}

// Words, gaps, and signs one by one: JSON has no gaps.
const pieces = (text) => text.match(/[\p{L}\p{N}_]+|\s+|[^\p{L}\p{N}_\s]/gu) || [];

// Places in `b` of a longest common subsequence of words.
function common(a, b) {
  const length = Array.from({ length: a.length + 1 }, () => new Array(b.length + 1).fill(0)); // of a[i:] and b[j:]
  for (let i = a.length - 1; i >= 0; i--)
    for (let j = b.length - 1; j >= 0; j--)
      length[i][j] = a[i] === b[j] ? length[i + 1][j + 1] + 1 : Math.max(length[i + 1][j], length[i][j + 1]);
  const places = new Set();
  for (let i = 0, j = 0; i < a.length && j < b.length;) {
    if (a[i] === b[j]) { places.add(j); i++; j++; }
    else if (length[i + 1][j] >= length[i][j + 1]) i++;
    else j++;
  }
  return places;
}
