// Two ways to see how params and metrics hang together. What is drawn over a chart limits the runs everywhere.
import { empty, field, fill, h, segmented, select, visible } from "./dom.js";
import { cut, short } from "./format.js";
import { columnsOf } from "./data.js";
import { Chart, axis, tip, tooltip } from "./charts.js";
import { shown } from "./table.js";

const MOST_WORDS = 30;
const MOST_AXES = 8;
const MOST_LISTED = 300;

/** The columns that can be an axis: numbers, and texts with few different values. */
function axes(experiment) {
  const params = columnsOf(experiment, "params").filter((one) => one.isNumber || one.different <= MOST_WORDS);
  const metrics = columnsOf(experiment, "metrics").filter((one) => one.values.some(Number.isFinite));
  return [...metrics, ...params];
}

function named(column) {
  return `${column.kind === "metrics" ? "metric" : "param"}: ${cut(column.label, 40)}`;
}

function words(column) {
  return [...new Set(column.values.filter((value) => value !== undefined))].sort((a, b) => a.localeCompare(b, "en", { numeric: true }));
}

/** Whether a number's values are better told apart by their sizes: most are far below the highest one. */
function isWide(column) {
  const values = column.values.filter(Number.isFinite).sort((a, b) => a - b);
  const [low, middle, high] = [values[0], values[values.length >> 1], values.at(-1)];
  return values.length > 2 && low > 0 && high / low >= 100 && high / middle >= 8;
}

/** Both charts, one at a time. */
export function explorer(experiment, state) {
  const all = axes(experiment);
  const title = h("h2", { id: "explore" }, "Params and metrics");
  const body = h("section.card", { "aria-labelledby": "explore" }, title);
  if (all.length < 2) {
    return fill(body, title, empty("Nothing to compare.", "A chart of params and metrics needs two that differ."));
  }
  const views = { scatter: () => new Scatter(experiment, state, all), parallel: () => new Parallel(experiment, state, all) };
  const stage = h("div");
  let view = null;
  const showView = (name) => {
    view?.chart.dispose();
    view = views[name]();
    body.classList.toggle("whole", name === "parallel");
    fill(stage, view.element);
    fill(bar, view.controls);
  };
  const tabs = segmented("Kind of chart", [["scatter", "Scatter"], ["parallel", "Parallel coordinates"]], "scatter", showView);
  const bar = h("div.bar");
  showView("scatter");
  state.listen((what) => {
    if (what === "query") view.chart.draw();
    if (what === "ranges" && !view.isDrawing) view.mark();
  });
  return fill(body, h("div.apart", null, title, tabs), bar, stage);
}

function axisChoice(label, all, column, onchange) {
  const listed = all.slice(0, MOST_LISTED);
  return field(label, select(listed.map((one) => [one.id, named(one)]), column.id, (id) => onchange(all.find((one) => one.id === id))));
}

class Scatter {
  constructor(experiment, state, all) {
    Object.assign(this, { experiment, state, hint: h("p.hint") });
    const metric = all.find((one) => one.id === state.metric) ?? all[0];
    this.y = metric;
    this.x = all.find((one) => one.kind === "params" && one.isNumber && one.different > 1) ?? all.find((one) => one !== metric);
    this.chart = new Chart("Scatter chart", (own) => this.option(own), {
      height: 300,
      events: { brushEnd: (event) => this.drawn(event.areas), click: (event) => event.data?.run && (location.hash = `#/run/${encodeURIComponent(event.data.run.id)}`) },
      ready: (chart) => this.ready(chart),
    });
    const change = (name) => (column) => {
      this[name] = column;
      this.chart.draw();
    };
    this.controls = [axisChoice("Across", all, this.x, change("x")), axisChoice("Up", all, this.y, change("y"))];
    this.element = h("div", null, this.chart.element, this.hint);
  }

  option(own) {
    const side = (column, more) =>
      column.isNumber ? axis(own, isWide(column) ? "log" : "value", column.label, more) : axis(own, "category", column.label, { data: words(column).map((word) => cut(visible(word), 16)), ...more });
    const at = (column) => {
      if (column.isNumber) return (run) => column.values[run.place];
      const places = new Map(words(column).map((word, place) => [word, place]));
      return (run) => places.get(column.values[run.place]);
    };
    const [x, y] = [at(this.x), at(this.y)];
    const data = this.state.asked.filter((run) => Number.isFinite(x(run)) && Number.isFinite(y(run))).map((run) => ({ value: [x(run), y(run)], run }));
    fill(this.hint, data.length > 0 ? "Draw a box around points to limit the runs to them; click a point to see its run." : "No run that is shown has a finite value of both.");
    this.chart.label(`Scatter chart of ${data.length} runs: ${this.x.label} across, ${this.y.label} up`);
    return {
      grid: { left: 8, right: 20, top: 34, bottom: 30, containLabel: true },
      xAxis: side(this.x, { nameLocation: "middle", nameGap: 30, splitLine: { show: false }, axisLine: { show: true, lineStyle: { color: own.line } } }),
      yAxis: side(this.y, { nameLocation: "end", nameTextStyle: { color: own.muted, fontSize: 12, align: "left" } }),
      tooltip: tooltip(own, { trigger: "item", formatter: ({ data: { run } }) => tip(run.name, [[this.x.label, shown(this.x, run.place)], [this.y.label, shown(this.y, run.place)]]) }),
      brush: { xAxisIndex: 0, yAxisIndex: 0, toolbox: [], brushStyle: { color: "rgb(128 128 128 / 12%)", borderColor: own.muted, borderWidth: 1 }, outOfBrush: { colorAlpha: 0.15 }, throttleType: "debounce", throttleDelay: 80 },
      series: [{ type: "scatter", data, symbolSize: data.length > 500 ? 6 : 8, itemStyle: { color: own.accent, opacity: 0.65 }, emphasis: { itemStyle: { opacity: 1, borderColor: own.text, borderWidth: 1 } } }],
    };
  }

  ready(chart) {
    chart.dispatchAction({ type: "takeGlobalCursor", key: "brush", brushOption: { brushType: "rect", brushMode: "single" } });
    this.mark();
  }

  /** Show the box that the ranges mean. */
  mark() {
    const both = [this.x, this.y].map((column) => this.state.ranges.get(column.id) && placesOf(column, this.state.ranges.get(column.id)));
    const areas = both.every(Boolean) ? [{ brushType: "rect", xAxisIndex: 0, yAxisIndex: 0, coordRange: both }] : [];
    this.chart.chart?.dispatchAction({ type: "brush", areas });
  }

  drawn(areas) {
    const [area] = areas;
    const ranges = new Map(this.state.ranges);
    [this.x, this.y].forEach((column, side) => {
      if (!area) ranges.delete(column.id);
      else ranges.set(column.id, rangeOf(column, area.coordRange[side]));
    });
    this.isDrawing = true;
    this.state.set({ ranges });
    this.isDrawing = false;
  }
}

/** A range of an axis as one of values. */
function rangeOf(column, [low, high]) {
  if (column.isNumber) return { low, high };
  return { words: new Set(words(column).filter((_, place) => place >= low && place <= high)) };
}

/** The range of an axis that a range of values is. */
function placesOf(column, range) {
  if (!range.words) return [range.low, range.high];
  const places = words(column).flatMap((word, place) => (range.words.has(word) ? [place] : []));
  return [places[0], places.at(-1)];
}

class Parallel {
  constructor(experiment, state, all) {
    Object.assign(this, { experiment, state });
    const params = all.filter((one) => one.kind === "params" && one.different > 1).slice(0, MOST_AXES - 2);
    const metrics = all.filter((one) => one.kind === "metrics").slice(0, MOST_AXES - params.length);
    this.columns = [...params, ...metrics.reverse()];
    this.chart = new Chart("Parallel coordinates", (own) => this.option(own), {
      height: 380,
      events: { axisareaselected: (event) => this.drawn(event) },
      ready: () => this.mark(),
    });
    this.controls = this.chooser(all);
    this.element = h(
      "div",
      null,
      h("div.wide", { tabindex: "0", role: "region", "aria-label": "Parallel coordinates" }, this.chart.element),
      h("p.hint", null, "Drag along an axis to limit the runs to a range; click the axis to lift it. The stronger its colour, the better a run is on the last axis."),
    );
    this.widen();
  }

  widen() {
    this.chart.element.style.setProperty("min-width", `${this.columns.length * 90 + 60}px`);
  }

  chooser(all) {
    const choose = (column, isOn) => {
      this.columns = isOn ? [column, ...this.columns] : this.columns.filter((one) => one !== column);
      this.widen();
      this.chart.draw();
    };
    const choice = (column) => {
      const box = h("input", { type: "checkbox", checked: this.columns.includes(column), onchange: () => choose(column, box.checked) });
      return h("label.check", null, box, named(column));
    };
    return h("details.popover", null, h("summary", null, "Axes"), h("div.panel", null, h("div.choices", null, all.slice(0, MOST_LISTED).map(choice))));
  }

  option(own) {
    if (this.columns.length < 2) return null;
    const last = this.columns.at(-1);
    const runs = this.state.asked.filter((run) => this.columns.every((column) => this.at(column, run) !== undefined));
    const goal = last.kind === "metrics" ? this.state.goalOf(last) : "max";
    const shade = shades(last, runs, own, goal);
    if (last.isNumber) runs.sort((one, other) => (goal === "min" ? -1 : 1) * (last.values[one.place] - last.values[other.place]));
    this.chart.label(`Parallel coordinates of ${runs.length} runs: ${this.columns.map((one) => one.label).join(", ")}`);
    return {
      parallel: { left: 46, right: 60, top: 44, bottom: 22, parallelAxisDefault: { realtime: false, areaSelectStyle: { width: 18, color: own.accent, borderColor: own.accent, opacity: 0.2 } } },
      parallelAxis: this.columns.map((column, dim) => ({
        ...axis(own, column.isNumber ? (isWide(column) ? "log" : "value") : "category", cut(column.label, 14), column.isNumber ? {} : { data: words(column) }),
        id: column.id,
        dim,
        nameGap: 18,
        axisLine: { show: true, lineStyle: { color: own.muted } },
        axisLabel: { color: own.text, fontSize: 12, textBorderColor: own.surface, textBorderWidth: 3, formatter: (value) => (typeof value === "number" ? short(value) : cut(visible(String(value)), 10)) },
      })),
      series: [{ type: "parallel", smooth: false, inactiveOpacity: 0.04, activeOpacity: 0.8, lineStyle: { width: 1.2, opacity: runs.length > 300 ? 0.35 : 0.6 }, data: runs.map((run) => ({ value: this.columns.map((column) => this.at(column, run)), lineStyle: { color: shade(run) } })) }],
    };
  }

  at(column, run) {
    const value = column.values[run.place];
    return column.isNumber && !Number.isFinite(value) ? undefined : value;
  }

  /** Show the ranges on their axes. */
  mark() {
    this.isMarking = true;
    this.columns.forEach((column, at) => {
      const range = this.state.ranges.get(column.id);
      this.chart.chart?.dispatchAction({ type: "axisAreaSelect", parallelAxisIndex: at, intervals: range ? [placesOf(column, range)] : [] });
    });
    this.isMarking = false;
  }

  /** A range was drawn on an axis, or lifted; of several the last one counts. */
  drawn({ parallelAxisId: id, intervals }) {
    const column = this.columns.find((one) => one.id === id);
    if (this.isMarking || !column) return;
    const interval = intervals.at(-1);
    this.isDrawing = true;
    this.state.limit(id, interval ? rangeOf(column, interval) : null);
    this.isDrawing = false;
    if (intervals.length > 1) this.mark();
  }
}

/** A colour for each run along a column, the strongest for the best one; by words, one for each. */
function shades(column, runs, own, goal) {
  if (!column.isNumber) {
    const places = new Map(words(column).map((word, place) => [word, place]));
    return (run) => own.series[places.get(column.values[run.place]) % own.series.length];
  }
  const turn = goal === "min" ? -1 : 1;
  const ranked = [...runs].sort((one, other) => turn * (column.values[one.place] - column.values[other.place]));
  const rank = new Map(ranked.map((run, at) => [run, at / Math.max(1, ranked.length - 1)]));
  return (run) => mixed(own.dot, own.best, rank.get(run) ** 2);
}

/** A colour between two, given as #rrggbb. */
function mixed(one, other, share) {
  const parts = (colour) => [1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16));
  const [from, to] = [parts(one), parts(other)];
  return `rgb(${from.map((value, at) => Math.round(value + (to[at] - value) * share)).join(",")})`;
}
