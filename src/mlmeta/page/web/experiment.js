// The page of an experiment: how it went over time, its leaderboard, what its params do, and its curves.
import { checkbox, description, empty, field, fill, h, segmented, select } from "./dom.js";
import { amount, count, cut, number, short, time } from "./format.js";
import { bestSoFar, columnsOf } from "./data.js";
import { Chart, axis, timeAxis, tip, tooltip } from "./charts.js";
import { Leaderboard, columnChooser, sorted } from "./table.js";
import { explorer } from "./explore.js";
import { Curves } from "./curves.js";

const TOP = 5;
const MOST_COMPARED = 12;

export function experimentPage(experiment, state) {
  state.forget();
  const { runs } = experiment;
  const hasMetrics = columnsOf(experiment, "metrics").length > 0;
  return h(
    "div",
    null,
    h("p.crumbs", null, h("a", { href: "#/" }, "Overview"), " / ", "Experiment"),
    h("h1", null, cut(experiment.name, 160), experiment.is_deleted && h("span.chip", null, "deleted")),
    h("p.muted", null, summary(experiment)),
    description(experiment.tags["mlflow.note.content"], experiment.tags),
    runs.length === 0
      ? empty("No runs.", "This experiment had none when the snapshot was taken.")
      : [
          hasMetrics
            ? h("div.columns", null, performance(experiment, state), explorer(experiment, state))
            : empty("These runs have no metrics.", "So there is nothing to draw; params, tags and times are below."),
          leaderboard(experiment, state),
          hasMetrics && curves(experiment, state),
        ],
  );
}

function summary(experiment) {
  const failed = experiment.runs.filter((run) => ["FAILED", "KILLED"].includes(run.status)).length;
  const deleted = experiment.runs.filter((run) => run.deleted).length;
  const starts = experiment.runs.map((run) => run.start).filter((start) => start !== null);
  const shown = experiment.runs.length;
  return [
    `id ${experiment.id}`,
    experiment.workspace !== "default" && `workspace ${experiment.workspace}`,
    amount(experiment.total, "runs") + (shown < experiment.total ? ` (the newest ${count(shown)} here)` : ""),
    failed > 0 && `${count(failed)} failed`,
    deleted > 0 && `${count(deleted)} deleted`,
    starts.length > 0 && `${time(starts.at(0)).slice(0, 10)} to ${time(starts.at(-1)).slice(0, 10)}`,
  ].filter(Boolean).join(" · ");
}

function performance(experiment, state) {
  const metrics = columnsOf(experiment, "metrics");
  let column = experiment.column.get(state.metric);
  let isLog = false;
  const told = h("p.told");
  const chart = new Chart("Performance over runs", (own) => performanceOption(own, state, column, isLog, chart), {
    height: 300,
    events: { click: (event) => event.data?.run && (location.hash = `#/run/${encodeURIComponent(event.data.run.id)}`) },
  });
  const goal = h("div");
  const draw = () => {
    fill(goal, segmented("What is better", [["min", "Lower is better"], ["max", "Higher is better"]], state.goalOf(column), (chosen) => state.setGoal(column, chosen)));
    refresh();
  };
  const refresh = () => {
    chart.draw();
    const best = bestSoFar(state.shown, column, state.goalOf(column)).at(-1);
    fill(told, best ? [`Best ${cut(column.label, 40)}: `, h("strong", null, number(best[1])), " by ", h("a", { href: `#/run/${encodeURIComponent(best[0].id)}` }, cut(best[0].name, 40)), `, ${time(best[0].start)} UTC`] : "No run that is shown has a finite value of it.");
  };
  const choice = select(metrics.slice(0, 2000).map((one) => [one.id, cut(one.label, 60)]), column.id, (id) => {
    column = experiment.column.get(id);
    state.set({ metric: id });
    draw();
  });
  state.listen((what) => ["query", "ranges", "goal"].includes(what) && refresh());
  draw();
  const log = checkbox("Log scale", false, (isOn) => {
    isLog = isOn;
    chart.draw();
  });
  return h(
    "section.card",
    { "aria-labelledby": "performance" },
    h("h2", { id: "performance" }, "Performance over time"),
    h("div.bar", null, field("Metric", choice), goal, log),
    chart.element,
    told,
    h("ul.legend", null, h("li", null, h("i.swatch.dot"), "a run, by its start"), h("li", null, h("i.swatch.best"), "best so far")),
  );
}

function performanceOption(own, state, column, isLog, chart) {
  const goal = state.goalOf(column);
  const points = state.shown.filter((run) => run.start !== null && Number.isFinite(column.values[run.place]));
  const best = bestSoFar(state.shown, column, goal);
  const line = best.map(([run, value]) => [run.start, value]);
  if (best.length > 0) line.push([points.at(-1).start, best.at(-1)[1]]);
  const canLog = isLog && points.every((run) => column.values[run.place] > 0);
  chart.label(`${column.label} of ${points.length} runs by their start; best ${best.length > 0 ? number(best.at(-1)[1]) : "unknown"}`);
  return {
    grid: { left: 8, right: 20, top: 16, bottom: 8, containLabel: true },
    xAxis: timeAxis(own, points.length > 0 ? points.at(-1).start - points[0].start : 0),
    yAxis: axis(own, canLog ? "log" : "value", "", { axisLabel: { color: own.muted, fontSize: 12, formatter: (value) => short(value) } }),
    tooltip: tooltip(own, {
      trigger: "item",
      formatter: ({ data }) => data.run && tip(data.run.name, [[column.label, number(data.value[1])], ["Started", `${time(data.value[0])} UTC`]]),
    }),
    series: [
      { type: "line", step: "end", data: line, showSymbol: false, silent: true, lineStyle: { color: own.best, width: 2 }, z: 3 },
      {
        type: "scatter",
        data: points.map((run) => ({ value: [run.start, column.values[run.place]], run })),
        symbolSize: points.length > 500 ? 5 : 7,
        itemStyle: { color: own.dot, opacity: 0.55 },
        emphasis: { itemStyle: { color: own.accent, opacity: 1 } },
      },
    ],
  };
}

function leaderboard(experiment, state) {
  const told = h("p.muted", { role: "status", "aria-live": "polite" });
  const chips = h("div.chips");
  const chosen = h("div.choice");
  const [metric] = columnsOf(experiment, "metrics").filter((one) => !/[\s<>=!~"]/.test(one.key));
  const search = h("input", {
    type: "search",
    id: "filter",
    value: state.query,
    placeholder: metric ? `adam  ${metric.key}${metric.goal === "min" ? "<" : ">"}0.5  status=finished` : "words, or param=value",
    "aria-label": "Filter the runs",
    spellcheck: "false",
    oninput: () => state.set({ query: search.value }),
  });
  const draw = () => {
    if (search.value !== state.query) search.value = state.query;
    const [shown, all] = [state.shown.length, experiment.runs.length];
    fill(told, shown === all ? amount(all, "runs") : `${count(shown)} of ${amount(all, "runs")}`, state.unknown.length > 0 && ` · no such column: ${state.unknown.join(", ")}`);
    fill(chips, [...state.ranges].map(([id, range]) => chip(experiment, state, id, range)));
    fill(chosen, state.chosen.size > 0 && choices(experiment, state));
  };
  state.listen(draw);
  draw();
  const board = new Leaderboard(experiment, state);
  return h(
    "section",
    { "aria-labelledby": "runs" },
    h("h2", { id: "runs" }, "Leaderboard"),
    h("div.bar", null, h("label.search", null, h("span.hidden", null, "Filter"), search), columnChooser(experiment, state), told),
    h("p.hint", null, "Words that a name, param or tag has, or comparisons: loss<0.3, optimizer=adam, user!=ada, name~part. Press / to type here."),
    chips,
    chosen,
    board.element,
  );
}

function chip(experiment, state, id, range) {
  const column = experiment.column.get(id);
  const text = range.words ? [...range.words].map((word) => cut(word, 20)).join(", ") : `${short(range.low)} to ${short(range.high)}`;
  return h("button.chip", { type: "button", "aria-label": `Lift the limit on ${column.label}`, onclick: () => state.limit(id, null) }, `${cut(column.label, 30)}: ${text}`, h("span", { "aria-hidden": "true" }, " ×"));
}

function choices(experiment, state) {
  const ids = [...state.chosen].map((place) => experiment.runs[place].id);
  return [
    h("span", null, `${amount(ids.length, "runs")} chosen`),
    ids.length > 1 && h("a.button", { href: `#/compare/${ids.slice(0, MOST_COMPARED).map(encodeURIComponent).join(",")}` }, ids.length > MOST_COMPARED ? `Compare the first ${MOST_COMPARED}` : "Compare"),
    h("button.small", { type: "button", onclick: () => state.set({ chosen: new Set() }) }, "Clear"),
  ];
}

function curves(experiment, state) {
  const wanted = () => {
    if (state.chosen.size > 0) return [...state.chosen].map((place) => experiment.runs[place]);
    return sorted(state.shown, experiment.column.get(state.sort.id), state.sort.descending).slice(0, TOP);
  };
  const drawn = new Curves(experiment, wanted, { none: "No run passes the filter." });
  const note = h("p.muted");
  const draw = (what) => {
    if (what === "columns") return;
    fill(note, state.chosen.size > 0 ? "Of the runs chosen above." : `Of the first ${TOP} runs above: choose others there.`);
    drawn.draw();
  };
  state.listen(draw);
  draw();
  return h("section.card", { "aria-labelledby": "curves-title" }, h("h2", { id: "curves-title" }, "Curves"), note, drawn.element);
}
