// Which runs are shown: words, comparisons such as `loss < 0.3`, and ranges that were drawn in a chart.

const TERM = /([^\s"<>=!~]+|"[^"]*")\s*(<=|>=|!=|=|<|>|~)\s*("[^"]*"|[^\s"]+)?|"[^"]*"|\S+/g;

function bare(text) {
  return text.startsWith('"') ? text.slice(1, -1) : text;
}

/** The terms of a query: {text} or {name, sign, value}; without a comparison that nobody has finished yet. */
export function parsed(query) {
  return [...query.matchAll(TERM)]
    .filter(([, , sign, value]) => !sign || value !== undefined)
    .map(([all, name, sign, value]) => (sign ? { name: bare(name), sign, value: bare(value) } : { text: bare(all).toLowerCase() }));
}

/** The column that a word means: its whole name, its key, or its label. */
export function columnNamed(experiment, name) {
  const wanted = name.toLowerCase() === "name" ? "run" : name.toLowerCase();
  return (
    experiment.column.get(name) ??
    experiment.columns.find((column) => column.key === name) ??
    experiment.columns.find((column) => [column.key, column.label, column.id].some((own) => own.toLowerCase() === wanted))
  );
}

const SIGNS = {
  "<": (own, wanted) => own < wanted,
  "<=": (own, wanted) => own <= wanted,
  ">": (own, wanted) => own > wanted,
  ">=": (own, wanted) => own >= wanted,
  "=": (own, wanted) => own === wanted,
  "!=": (own, wanted) => own !== wanted,
};

function comparison(column, { sign, value }) {
  const words = (place) => String((column.texts ?? column.values)[place] ?? "").toLowerCase();
  if (sign === "~") return (run) => words(run.place).includes(value.toLowerCase());
  const wanted = column.form === "time" ? Date.parse(value.length > 10 ? `${value}Z` : value) : Number(value);
  if (column.isNumber && value.trim() !== "" && !Number.isNaN(wanted)) {
    return (run) => column.values[run.place] !== undefined && SIGNS[sign](column.values[run.place], wanted);
  }
  return (run) => SIGNS[sign](words(run.place), value.toLowerCase());
}

const searched = new WeakMap();

/** All that a word is looked for in, of each run. */
function texts(experiment) {
  if (!searched.has(experiment)) {
    const columns = experiment.columns.filter((column) => column.form === "text");
    searched.set(
      experiment,
      experiment.runs.map((run) => {
        const own = columns.map((column) => (column.texts ?? column.values)[run.place]).filter((text) => text !== undefined);
        return [run.id, ...own].join("\n").toLowerCase();
      }),
    );
  }
  return searched.get(experiment);
}

/** A query as a test of a run, and the names in it that are no column. */
export function test(experiment, query) {
  const unknown = [];
  const tests = parsed(query).map((term) => {
    if (term.text !== undefined) return (run) => texts(experiment)[run.place].includes(term.text);
    const column = columnNamed(experiment, term.name);
    if (!column) unknown.push(term.name);
    return column ? comparison(column, term) : () => true;
  });
  return { passes: (run) => tests.every((one) => one(run)), unknown };
}

/** A test of ranges: a map from the id of a column to {low, high} or {words}. */
export function inRanges(experiment, ranges) {
  const tests = [...ranges].map(([id, range]) => {
    const { values } = experiment.column.get(id);
    if (range.words) return (run) => range.words.has(values[run.place]);
    return (run) => values[run.place] >= range.low && values[run.place] <= range.high;
  });
  return (run) => tests.every((one) => one(run));
}
