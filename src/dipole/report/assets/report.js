"use strict";
// Draws the plots of a report. Colours come from the style sheet, so that light and dark are defined in one place.
(function () {
  const data = JSON.parse(document.getElementById("data").textContent);
  const still = { displayModeBar: false, responsive: true };
  const drawings = [];
  const dark = matchMedia("(prefers-color-scheme: dark)");

  function colour(name) {
    return getComputedStyle(document.documentElement).getPropertyValue("--" + name).trim();
  }

  function faint(hex, opacity) {
    const [r, g, b] = [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16));
    return `rgba(${r},${g},${b},${opacity})`;
  }

  function axis(title, more) {
    return Object.assign({
      title: { text: title, standoff: 6, font: { size: 12 } }, gridcolor: colour("grid"), linecolor: colour("line"),
      zeroline: false, automargin: true, fixedrange: true, tickfont: { size: 11 }, nticks: 6,
    }, more);
  }

  function layout(x, y, more) {
    return Object.assign({
      margin: { l: 8, r: 10, t: 8, b: 8 }, paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
      font: { family: getComputedStyle(document.body).fontFamily, color: colour("soft") },
      xaxis: x, yaxis: y, showlegend: false, dragmode: false, hovermode: "x",
      hoverlabel: { bgcolor: colour("card"), bordercolor: colour("line"), font: { color: colour("ink") } },
    }, more);
  }

  // A whole number of epochs needs whole ticks, and a single epoch a range around it.
  function epochAxis(epochs) {
    const span = Math.max(...epochs) - Math.min(...epochs);
    return axis("epoch", span < 6 ? { dtick: 1, range: [Math.min(...epochs) - 0.3, Math.max(...epochs) + 0.3] } : {});
  }

  function keep(draw) {
    drawings.push(draw);
    draw();
  }

  function shown(value) {
    if (value === 0) return "0";
    const size = Math.abs(value);
    return size >= 1e4 || size < 1e-3 ? value.toExponential(1) : String(Number(value.toPrecision(3)));
  }

  function panel(parent, name, epochs, values, caption) {
    const card = document.createElement("div");
    const heading = document.createElement("h3");
    const last = document.createElement("span");
    const plot = document.createElement("div");
    const known = values.filter((value) => value !== null);
    card.className = "card";
    heading.textContent = name;
    last.textContent = shown(known[known.length - 1]);
    plot.className = "plot small";
    plot.setAttribute("role", "img");
    plot.setAttribute("aria-label", `${name} over the epochs, ending at ${last.textContent}`);
    heading.append(last);
    card.append(heading);
    if (caption) {
      const line = document.createElement("p");
      line.className = "caption";
      line.textContent = caption;
      card.append(line);
    }
    card.append(plot);
    parent.append(card);
    keep(() => Plotly.react(plot, [{
      x: epochs, y: values, mode: known.length > 1 ? "lines" : "markers", line: { color: colour("accent"), width: 2 },
      marker: { color: colour("accent"), size: 8 }, hovertemplate: "%{y:.4g}<extra></extra>",
    }], layout(epochAxis(epochs), axis("", { nticks: 4 })), still));
  }

  function drawCurves() {
    const parent = document.getElementById("metrics");
    for (const curve of data.curves) panel(parent, curve.name, curve.epochs, curve.values);
  }

  // ----- scores

  const KINDS = [["positive", "positive pairs"], ["negative", "negative pairs"]];

  function histogram(index) {
    const plot = document.getElementById("plot-histogram");
    const scores = data.scores;
    const centres = scores.edges.slice(1).map((edge, at) => (edge + scores.edges[at]) / 2);
    const traces = [];
    for (const [kind, name] of KINDS) {
      if (index > 0) {
        traces.push({
          x: centres, y: scores[kind].density[0], mode: "lines", hoverinfo: "skip",
          line: { shape: "hvh", width: 1, dash: "dot", color: faint(colour(kind), 0.75) },
        });
      }
      traces.push({
        x: centres, y: scores[kind].density[index], name, mode: "lines", fill: "tozeroy",
        fillcolor: faint(colour(kind), 0.28), line: { shape: "hvh", width: 1.8, color: colour(kind) },
        hovertemplate: "%{y:.3g}<extra>" + name + "</extra>",
      });
    }
    const tallest = Math.max(...KINDS.flatMap(([kind]) => scores[kind].density[index]));
    Plotly.react(plot, traces, layout(
      axis("cosine similarity", { range: [-1, 1] }), axis("density", { range: [0, tallest * 1.05] }),
    ), still);
    for (const [kind] of KINDS) document.getElementById(`${kind}-mean`).textContent = scores[kind].mean[index].toFixed(2);
    const note = index > 0 ? `, dotted: epoch ${scores.epochs[0]}` : "";
    document.getElementById("epoch-shown").textContent = `epoch ${scores.epochs[index]}${note}`;
  }

  function moments() {
    const scores = data.scores;
    const traces = [];
    for (const [kind, name] of KINDS) {
      const { mean, deviation } = scores[kind];
      const band = mean.map((value, at) => value + deviation[at])
        .concat(mean.map((value, at) => value - deviation[at]).reverse());
      traces.push({
        x: scores.epochs.concat(scores.epochs.slice().reverse()), y: band, mode: "lines", fill: "toself", hoverinfo: "skip",
        fillcolor: faint(colour(kind), 0.18), line: { width: 0 },
      });
      traces.push({
        x: scores.epochs, y: mean, name, mode: mean.length > 1 ? "lines" : "markers", line: { color: colour(kind), width: 2.2 },
        error_y: { type: "data", array: deviation, visible: mean.length === 1 },
        marker: { color: colour(kind), size: 8 }, customdata: deviation,
        hovertemplate: "%{y:.3f} ± %{customdata:.3f}<extra>" + name + "</extra>",
      });
    }
    Plotly.react("plot-moments", traces, layout(epochAxis(scores.epochs), axis("cosine similarity")), still);
  }

  function drawScores() {
    const slider = document.getElementById("epoch");
    const scores = data.scores;
    keep(() => histogram(slider ? Number(slider.value) : 0));
    if (slider) slider.addEventListener("input", () => histogram(Number(slider.value)));
    keep(moments);
    const parent = document.getElementById("geometry");
    const flipped = scores.uniformity.map((value) => -value);
    panel(parent, "alignment", scores.epochs, scores.alignment, "Mean squared distance of two views; 0 is perfect.");
    panel(parent, "−uniformity", scores.epochs, flipped, "Higher: spread more evenly over the sphere.");
    if (scores.tolerance.some((value) => value !== null)) {
      panel(parent, "tolerance", scores.epochs, scores.tolerance, "Mean cosine similarity within a class.");
    }
    panel(parent, "effective rank", scores.epochs, scores.effective_rank, "Number of directions in use; 1 is collapse.");
  }

  // ----- map

  // M. A. Petroff's ten colours, told apart under the common colour vision deficiencies; shapes tell the rounds apart.
  const COLOURS = ["#3f90da", "#ffa90e", "#bd1f01", "#94a4a2", "#832db6", "#a96b59", "#e76300", "#b9ac70", "#717581", "#92dadd"];
  const SYMBOLS = ["circle", "diamond", "square"];
  const GREY = "#9a9a9a";

  // Points of each class, in the order of the classes; the rarest beyond 30 classes and the unknown come last.
  function groups(factor) {
    const classes = factor.classes.map((name) => ({ name, indices: [] }));
    const unknown = { name: classes.length ? "no label" : "", indices: [], colour: classes.length ? GREY : COLOURS[0], symbol: "circle" };
    const rest = { name: "other classes", indices: [], colour: GREY, symbol: "x" };
    factor.values.forEach((value, index) => (value === null ? unknown : classes[value]).indices.push(index));
    const frequent = classes.slice().sort((a, b) => b.indices.length - a.indices.length);
    for (const rare of frequent.splice(COLOURS.length * SYMBOLS.length)) rest.indices.push(...rare.indices);
    const kept = classes.filter((group) => frequent.includes(group));
    kept.forEach((group, at) => {
      group.colour = COLOURS[at % COLOURS.length];
      group.symbol = SYMBOLS[Math.floor(at / COLOURS.length)];
    });
    return kept.concat([rest, unknown].filter((group) => group.indices.length));
  }

  // Darker colours of the palette would sink into a dark page.
  function onPage(hex) {
    if (!dark.matches) return hex;
    const parts = [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16));
    return `rgb(${parts.map((part) => Math.round(part + 0.28 * (255 - part))).join(",")})`;
  }

  function middle(values) {
    return values.slice().sort((a, b) => a - b)[Math.floor(values.length / 2)];
  }

  function drawMap() {
    const map = data.map;
    const plot = document.getElementById("plot-map");
    const choice = document.getElementById("factor");
    const unlabelled = { classes: [], values: map.ids.map(() => null) };
    const factor = () => (map.factors.length ? map.factors[choice ? Number(choice.value) : 0] : unlabelled);
    const blank = { showgrid: false, showticklabels: false, showline: false, title: "", fixedrange: false };
    const coarse = matchMedia("(pointer: coarse)").matches;
    const draw = () => {
      const found = groups(factor());
      const named = found.filter((group) => group.name);
      const narrow = plot.clientWidth < 600;
      const traces = found.map((group) => ({
        x: group.indices.map((at) => map.x[at]), y: group.indices.map((at) => map.y[at]), name: escaped(group.name),
        customdata: group.indices, mode: "markers", hoverinfo: "none", showlegend: Boolean(group.name),
        marker: {
          color: onPage(group.colour), symbol: group.symbol, size: narrow ? 5 : 7, opacity: 0.86, line: { width: 0.5, color: colour("point-edge") },
        },
      }));
      const annotations = named.length > 20 ? [] : named.filter((group) => group.colour !== GREY).map((group) => ({
        x: middle(group.indices.map((at) => map.x[at])), y: middle(group.indices.map((at) => map.y[at])),
        text: `<b>${escaped(group.name)}</b>`, showarrow: false, font: { size: 13, color: colour("ink") },
        bgcolor: faint(colour("card"), 0.78), borderpad: 2, captureevents: false,
      }));
      Plotly.react(plot, traces, layout(axis("", blank), axis("", Object.assign({ scaleanchor: "x" }, blank)), {
        annotations, showlegend: named.length > 0, hovermode: "closest", hoverdistance: 14, dragmode: coarse ? false : "zoom",
        legend: { orientation: "h", y: -0.01, yanchor: "top", x: 0.5, xanchor: "center", itemsizing: "constant", font: { size: 12.5 } },
      }), still);
    };
    keep(draw);
    if (choice) choice.addEventListener("change", draw);
    plot.on("plotly_hover", (event) => showTip(plot, event.points[0], factor()));
    plot.on("plotly_unhover", hideTip);
  }

  // Plotly reads a subset of HTML in its texts.
  function escaped(text) {
    return text.replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");
  }

  function showTip(plot, point, factor) {
    const tip = document.getElementById("tip");
    const image = document.getElementById("tip-image");
    const index = point.customdata;
    document.getElementById("tip-label").textContent = factor.values[index] === null ? "" : factor.classes[factor.values[index]];
    document.getElementById("tip-id").textContent = data.map.ids[index];
    image.hidden = data.map.cells === null;
    if (!image.hidden) {
      image.style.setProperty("--column", data.map.cells[index] % data.map.columns);
      image.style.setProperty("--row", Math.floor(data.map.cells[index] / data.map.columns));
    }
    tip.hidden = false;
    const box = plot.getBoundingClientRect();
    const x = box.left + point.xaxis.l2p(point.x) + point.xaxis._offset;
    const y = box.top + point.yaxis.l2p(point.y) + point.yaxis._offset;
    const left = Math.min(Math.max(8, x + 14), document.documentElement.clientWidth - tip.offsetWidth - 8);
    tip.style.left = `${left + scrollX}px`;
    tip.style.top = `${Math.max(8, y - tip.offsetHeight - 12) + scrollY}px`;
  }

  function hideTip() {
    document.getElementById("tip").hidden = true;
  }

  // ----- forecasts

  function drawForecasts() {
    const parent = document.getElementById("plots-forecasts");
    const plots = data.forecasts.map((forecast) => {
      const card = document.createElement("div");
      const heading = document.createElement("h3");
      const plot = document.createElement("div");
      card.className = "card";
      heading.textContent = forecast.title;
      plot.className = "plot small";
      plot.setAttribute("role", "img");
      plot.setAttribute("aria-label", `Forecast and truth: ${forecast.title}`);
      card.append(heading, plot);
      parent.append(card);
      return plot;
    });
    const line = (x, y, name, hue, width) => ({
      x, y, name, mode: y.length > 1 ? "lines" : "markers", line: { color: hue, width }, marker: { color: hue, size: 8 },
      hovertemplate: `%{y:.3g}<extra>${name}</extra>`,
    });
    // Drawn when all stand in their places, whose width depends on their number.
    data.forecasts.forEach((forecast, at) => keep(() => Plotly.react(plots[at], [
      line(forecast.past_times, forecast.past, "known", GREY, 1.4),
      line(forecast.times, forecast.actual, "came", colour("negative"), 1.8),
      line(forecast.times, forecast.predicted, "forecast", colour("positive"), 2.2),
    ], layout(axis("", { nticks: 5 }), axis("", { nticks: 4 })), still)));
  }

  // ----- pictures of protocols

  // Every text of a figure as text.
  function plain(value) {
    if (typeof value === "string") return escaped(value);
    if (Array.isArray(value)) return value.map(plain);
    if (value && typeof value === "object") return Object.fromEntries(Object.entries(value).map(([key, one]) => [key, plain(one)]));
    return value;
  }

  function drawPictures() {
    data.pictures.map(plain).forEach((figure, at) => keep(() => Plotly.react(
      `plot-picture-${at}`, figure.data,
      layout(axis(figure.x || "", figure.xaxis), axis(figure.y || "", figure.yaxis), {
        colorway: COLOURS.map(onPage), showlegend: figure.data.length > 1, hovermode: "closest", barmode: "overlay",
        legend: { orientation: "h", y: -0.25, yanchor: "top", x: 0.5, xanchor: "center", font: { size: 12.5 } },
      }), still,
    )));
  }

  if (data.pictures.length) drawPictures();
  if (data.map) drawMap();
  if (data.scores) drawScores();
  if (data.curves && data.curves.length) drawCurves();
  if (data.forecasts.length) drawForecasts();
  dark.addEventListener("change", () => drawings.forEach((draw) => draw()));
})();
