// Histograms of token lengths. The value is {charts: [{name, edges, rows, cut}]}; `cut` is the cut-off, where it counts.
async function draw() {
  const box = element.querySelector(".lengths"), value = props.value;
  const charts = value?.charts || [];
  if (charts.length) await drawing();
  if (value !== props.value) return;
  box.replaceChildren(...charts.map((_, i) => make("div", i ? "chart" : "chart wide")));
  const ink = themed("--body-text-color"), grid = themed("--border-color-primary");
  charts.forEach((chart, i) => {
    // The last bar may take a long tail: it is drawn as wide as the others, and says so.
    const usual = chart.edges[1] - chart.edges[0];
    const widths = chart.rows.map((_, k) => Math.min(chart.edges[k + 1] - chart.edges[k], usual));
    const said = chart.rows.map((count, k) => `${count} rows of ${chart.edges[k]} to ${chart.edges[k + 1] - 1} tokens`);
    const tail = chart.edges.at(-1) - chart.edges.at(-2) > usual;
    const cut = chart.cut ? [{ type: "line", x0: chart.cut, x1: chart.cut, yref: "paper", y0: 0, y1: 1, line: { color: "#dc2626", width: 2, dash: "dash" } }] : [];
    const over = chart.rows.map((_, k) => chart.cut && chart.edges[k] >= chart.cut);
    Plotly.newPlot(box.children[i], [{
      type: "bar", x: chart.edges.slice(0, -1), y: chart.rows, width: widths, offset: 0,
      marker: { color: over.map((each) => (each ? "#dc2626" : themed("--live-b"))) },
      text: chart.rows.map((count, k) => (tail && count && k === chart.rows.length - 1 ? `to ${chart.edges.at(-1) - 1}` : "")),
      textposition: "outside", textangle: 0, constraintext: "none", cliponaxis: false, hovertext: said, hoverinfo: "text",
    }], {
      title: { text: chart.name, x: 0.01, font: { size: 14 } }, paper_bgcolor: "transparent", plot_bgcolor: "transparent",
      font: { color: ink, family: "system-ui, sans-serif", size: 11 }, margin: { l: 48, r: 12, t: 34, b: 40 }, bargap: 0.02,
      xaxis: { title: { text: "tokens" }, gridcolor: grid, zerolinecolor: grid }, yaxis: { title: { text: "rows" }, gridcolor: grid, zerolinecolor: grid },
      shapes: cut, annotations: chart.cut ? [{ x: chart.cut, y: 1, yref: "paper", text: `cut-off ${chart.cut}`, showarrow: false, xanchor: "left", font: { color: "#dc2626" } }] : [],
      showlegend: false,
    }, { displayModeBar: false, responsive: true });
  });
}

watch("value", draw);
draw();
