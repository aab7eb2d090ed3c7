// What is on the page: unpacked, and turned from columns into runs with values.

async function unpacked(id) {
  const text = document.getElementById(id).textContent;
  const packed = Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
  return new Response(new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip")));
}

/** Everything but the curves. */
export async function load() {
  const data = await (await unpacked("data")).json();
  const homes = new Map();
  data.experiments.forEach((experiment) => experiment.runs.id.forEach((id, place) => homes.set(id, [experiment, place])));
  return { ...data, homes };
}

/** The text of Apache ECharts. */
export async function library() {
  return (await unpacked("echarts")).text();
}

let curves = null;

/** The curves, by run and metric: `of(run, key)` gives {steps, values, total, odd}, or undefined. */
export function loadCurves() {
  curves ??= (async () => {
    const data = await (await unpacked("curves")).json();
    const byRun = new Map();
    for (const curve of data.curves) {
      if (!byRun.has(curve.run)) byRun.set(curve.run, new Map());
      let step = 0;
      byRun.get(curve.run).set(curve.key, {
        steps: curve.step.map((distance) => (step += distance)),
        values: curve.value,
        total: curve.total,
        odd: curve.odd,
      });
    }
    return { leftOut: data.left_out, of: (run, key) => byRun.get(run)?.get(key), keys: (run) => [...(byRun.get(run)?.keys() ?? [])] };
  })();
  return curves;
}

const SPECIAL = { NaN: NaN, Infinity: Infinity, "-Infinity": -Infinity };
const opened = new WeakMap();

/** An experiment with its runs and columns; made once. */
export function open(experiment) {
  if (!opened.has(experiment)) opened.set(experiment, made(experiment));
  return opened.get(experiment);
}

function made(experiment) {
  const all = experiment.runs;
  const runs = all.id.map((id, place) => ({
    id,
    place,
    name: all.name[place] || id.slice(0, 8),
    user: all.user[place],
    status: all.status[place],
    deleted: all.deleted[place],
    start: all.start[place],
    end: all.end[place],
    parent: all.parent[place],
  }));
  const columns = [
    attribute("run", "Run", runs.map((run) => run.name)),
    attribute("start", "Started", runs.map((run) => run.start ?? undefined), "time"),
    attribute("duration", "Duration", runs.map((run) => (run.end && run.start ? run.end - run.start : undefined)), "duration"),
    attribute("status", "Status", runs.map((run) => (run.deleted ? "DELETED" : run.status))),
    attribute("user", "User", runs.map((run) => run.user || undefined)),
    ...all.metrics.map((metric) => metricColumn(metric, runs.length)),
    ...all.params.map((param) => textColumn("params", param, runs.length)),
    ...all.tags.map((tag) => textColumn("tags", tag, runs.length)),
  ];
  return { ...experiment, runs, columns, column: new Map(columns.map((column) => [column.id, column])), used: all };
}

function attribute(id, label, values, form = "text") {
  return { id, label, key: id, kind: "attributes", form, values, isNumber: form !== "text" };
}

function spread(at, given, total) {
  const values = new Array(total).fill(undefined);
  given.forEach((value, index) => (values[at === null ? index : at[index]] = value));
  return values;
}

function metricColumn(metric, total) {
  const values = spread(metric.at, metric.values.map((value) => SPECIAL[value] ?? value), total);
  return { id: `metrics.${metric.key}`, label: metric.key, key: metric.key, kind: "metrics", form: "number", goal: metric.goal, values, isNumber: true };
}

function textColumn(kind, column, total) {
  const numbers = column.words.map((word) => (word.trim() === "" ? NaN : Number(word)));
  const isNumber = kind === "params" && numbers.every(Number.isFinite);
  const values = spread(column.at, column.of.map((word) => (isNumber ? numbers[word] : column.words[word])), total);
  const texts = isNumber ? spread(column.at, column.of.map((word) => column.words[word]), total) : values;
  return { id: `${kind}.${column.key}`, label: column.key, key: column.key, kind, form: "text", values, texts, isNumber, different: column.words.length };
}

/** Of an experiment just what the overview tells: its runs, and the metric that tells most. */
export function glimpse({ runs }) {
  return {
    runs: runs.id.map((_, place) => ({ place, start: runs.start[place], deleted: runs.deleted[place] })),
    metric: metricColumn(runs.metrics[0], runs.id.length),
  };
}

/** The columns of a kind. */
export function columnsOf(experiment, kind) {
  return experiment.columns.filter((column) => column.kind === kind);
}

/** Whether one value is better than another. */
export function isBetter(goal, value, other) {
  return goal === "min" ? value < other : value > other;
}

/** Of some runs, in order of their start: the ones that were the best so far, as [run, value]. */
export function bestSoFar(runs, column, goal) {
  const found = [];
  for (const run of runs) {
    const value = column.values[run.place];
    if (!Number.isFinite(value) || run.start === null || run.deleted) continue;
    if (found.length === 0 || isBetter(goal, value, found.at(-1)[1])) found.push([run, value]);
  }
  return found;
}
