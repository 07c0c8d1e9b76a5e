// A confusion matrix as a table, and what tables are put into.
// Rows are right labels, columns predicted ones. Colour is the share of the row: green where right, red where not.
function confusion(labels, counts) {
  const grid = make("table", "confusion");
  grid.createCaption().textContent = "How many held-out rows with the label on the left were given the label above";
  const head = grid.createTHead().insertRow();
  head.append(make("td", "corner", "right \\ predicted"), ...labels.map((label) => scoped(label, "col")));
  const body = grid.createTBody();
  counts.forEach((row, at) => {
    const line = body.insertRow();
    line.append(scoped(labels[at], "row"));
    const total = row.reduce((sum, count) => sum + count, 0);
    row.forEach((count, column) => {
      const share = total ? count / total : 0;
      const cell = make("td", column === at ? "hit" : "miss");
      cell.style.setProperty("--share", `${Math.round(85 * share)}%`);
      cell.append(make("strong", "", number(count, 0)), make("span", "share", total ? percent(share) : ""));
      line.append(cell);
    });
  });
  const box = scrolling(grid);
  return labels.length > 12 ? folded("Which labels are mistaken for which", box) : box;
}

function scoped(text, scope) {
  const cell = make("th", "", text);
  cell.scope = scope;
  return cell;
}

function scrolling(content) {
  const box = make("div", "scroll");
  box.append(content);
  return box;
}

function folded(title, content) {
  const box = make("details");
  box.append(make("summary", "", title), content);
  return box;
}
