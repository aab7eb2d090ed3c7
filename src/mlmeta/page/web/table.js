// The leaderboard: runs as rows; sorted by any column, in pages, some of them chosen.
import { checkbox, empty, fill, h, visible } from "./dom.js";
import { amount, count, cut, duration, number, time } from "./format.js";
import { columnsOf, isBetter } from "./data.js";

const PAGE = 25;
const MOST_LISTED = 200;

/** A value of a column, as people read it. */
export function shown(column, place) {
  const value = column.values[place];
  if (value === undefined) return "–";
  if (column.form === "time") return time(value);
  if (column.form === "duration") return duration(value);
  return column.form === "number" || isLong(column, place) ? number(value) : whole(column, place);
}

/** A value of a column as it was written. */
function whole(column, place) {
  return String((column.texts ?? column.values)[place] ?? "");
}

const LONG = 12;

/** Whether a param is a number with more digits than anybody reads in a table. */
function isLong(column, place) {
  return column.kind === "params" && column.isNumber && whole(column, place).length > LONG;
}

/** What is said of the state of a run. */
export function status(run) {
  const word = run.deleted ? "DELETED" : run.status;
  const kind = { FINISHED: "good", FAILED: "bad", KILLED: "bad", RUNNING: "busy", SCHEDULED: "busy" }[word] ?? "off";
  return h(`span.status.${kind}`, null, word.toLowerCase());
}

const COLLATOR = new Intl.Collator("en", { numeric: true });

/** Runs by a column; those without a value last, whatever the direction. */
export function sorted(runs, column, isDescending) {
  const key = (run) => {
    const value = column.values[run.place];
    return typeof value === "number" && Number.isNaN(value) ? undefined : value;
  };
  const turn = isDescending ? -1 : 1;
  const order = column.isNumber ? (a, b) => a - b : (a, b) => COLLATOR.compare(a, b);
  return [...runs].sort((one, other) => {
    const [a, b] = [key(one), key(other)];
    if (a === undefined || b === undefined) return (a === undefined) - (b === undefined);
    return turn * order(a, b) || one.place - other.place;
  });
}

/** The leaderboard of an experiment, which draws itself when its state changes. */
export class Leaderboard {
  constructor(experiment, state) {
    this.experiment = experiment;
    this.state = state;
    this.page = 0;
    this.body = h("div");
    this.element = h("div", null, this.body);
    state.listen(() => this.draw());
    this.draw();
  }

  get columns() {
    return this.state.columns.map((id) => this.experiment.column.get(id));
  }

  draw() {
    const { state } = this;
    const column = this.experiment.column.get(state.sort.id);
    this.rows = sorted(state.shown, column, state.sort.descending);
    this.page = Math.min(this.page, Math.max(0, Math.ceil(this.rows.length / PAGE) - 1));
    if (this.rows.length === 0) {
      fill(this.body, empty("No run passes the filter.", h("button.small", { type: "button", onclick: () => state.clear() }, "Clear the filter")));
      return;
    }
    const scrolled = this.body.querySelector(".scroll")?.scrollLeft ?? 0;
    fill(this.body, this.drawTable(), this.pager());
    this.body.querySelector(".scroll").scrollLeft = scrolled;
  }

  drawTable() {
    const rows = this.rows.slice(this.page * PAGE, (this.page + 1) * PAGE);
    const best = new Map(this.columns.map((column) => [column.id, this.best(column)]));
    return h(
      "div.scroll",
      { tabindex: "0", role: "region", "aria-label": "Runs" },
      h(
        "table.runs",
        null,
        h("caption.hidden", null, `Runs of ${this.experiment.name}`),
        h("thead", null, h("tr", null, this.chooseAll(rows), this.columns.map((column) => this.heading(column)))),
        h("tbody", null, rows.map((run) => this.row(run, best))),
      ),
    );
  }

  best(column) {
    if (column.kind !== "metrics") return undefined;
    let found;
    for (const run of this.rows) {
      const value = column.values[run.place];
      if (Number.isFinite(value) && (found === undefined || isBetter(this.state.goalOf(column), value, found))) found = value;
    }
    return found;
  }

  chooseAll(rows) {
    const chosen = rows.filter((run) => this.state.chosen.has(run.place)).length;
    const all = chosen === rows.length;
    const box = h("input", {
      type: "checkbox",
      checked: all,
      indeterminate: chosen > 0 && !all,
      "aria-label": "Choose all runs of this page",
      onchange: () => this.state.choose(rows, !all),
    });
    return h("th.pick", { scope: "col" }, box);
  }

  heading(column) {
    const { sort } = this.state;
    const isSorted = sort.id === column.id;
    const direction = isSorted ? (sort.descending ? "descending" : "ascending") : "none";
    const classes = [column.isNumber && column.form !== "time" && "right", column.id === "run" && "name"].filter(Boolean);
    const button = h(
      "button.sort",
      { type: "button", "data-column": column.id, title: `${column.kind === "attributes" ? "" : `${column.kind.slice(0, -1)} `}${column.label}`, onclick: () => this.sortBy(column) },
      h("span", null, cut(column.label, 28)),
      h("span.arrow", { "aria-hidden": "true" }, isSorted ? (sort.descending ? "↓" : "↑") : ""),
    );
    return h(["th", ...classes, column.kind].join("."), { scope: "col", "aria-sort": direction }, button);
  }

  sortBy(column) {
    const { sort } = this.state;
    const first = column.kind === "metrics" ? this.state.goalOf(column) === "max" : column.form === "time";
    this.page = 0;
    this.state.set({ sort: { id: column.id, descending: sort.id === column.id ? !sort.descending : first } });
    this.body.querySelector(`[data-column="${CSS.escape(visible(column.id))}"]`)?.focus();
  }

  row(run, best) {
    const { state } = this;
    const box = h("input", {
      type: "checkbox",
      checked: state.chosen.has(run.place),
      "aria-label": `Choose ${run.name}`,
      onchange: () => state.choose([run], box.checked),
    });
    return h(
      state.chosen.has(run.place) ? "tr.chosen" : "tr",
      null,
      h("td.pick", null, box),
      this.columns.map((column) => this.cell(column, run, best.get(column.id))),
    );
  }

  cell(column, run, best) {
    if (column.id === "run") return h("th.name", { scope: "row" }, h("a", { href: `#/run/${encodeURIComponent(run.id)}`, title: run.name }, cut(run.name, 40)));
    if (column.id === "status") return h("td", null, status(run));
    const text = shown(column, run.place);
    const isBest = best !== undefined && column.values[run.place] === best;
    const kind = column.isNumber && column.form !== "time" ? "td.right" : "td";
    return h(isBest ? `${kind}.best` : kind, { title: text.length > 40 || isLong(column, run.place) ? whole(column, run.place) : false }, cut(text, 40));
  }

  pager() {
    const total = this.rows.length;
    if (total <= PAGE) return null;
    const [first, last] = [this.page * PAGE, Math.min(total, (this.page + 1) * PAGE)];
    const go = (label, by, isOff) =>
      h("button.small", { type: "button", disabled: isOff, onclick: () => { this.page += by; this.draw(); } }, label);
    return h(
      "div.pager",
      null,
      h("span.muted", null, `${count(first + 1)} to ${count(last)} of ${count(total)}`),
      go("Previous", -1, this.page === 0),
      go("Next", 1, last === total),
    );
  }
}

/** What chooses the columns of the leaderboard: a list that can be searched. */
export function columnChooser(experiment, state) {
  const list = h("div.choices");
  const search = h("input", { type: "search", placeholder: "Find a column", "aria-label": "Find a column", oninput: () => draw() });
  const draw = () => {
    const wanted = search.value.toLowerCase();
    const found = experiment.columns.filter((column) => column.id !== "run" && column.label.toLowerCase().includes(wanted));
    const rest = found.length - MOST_LISTED;
    fill(
      list,
      ["attributes", "metrics", "params", "tags"].map((kind) => group(kind, found.slice(0, MOST_LISTED))),
      rest > 0 && h("p.muted", null, `${amount(rest, "columns")} more: search for them`),
      found.length === 0 && h("p.muted", null, "No such column."),
    );
  };
  const group = (kind, found) => {
    const own = found.filter((column) => column.kind === kind);
    if (own.length === 0) return null;
    return h("fieldset", null, h("legend", null, { attributes: "Run", metrics: "Metrics", params: "Params", tags: "Tags" }[kind]), own.map(choice));
  };
  const choice = (column) =>
    checkbox(cut(column.label, 60), state.columns.includes(column.id), (isOn) => {
      const columns = isOn ? [...state.columns, column.id] : state.columns.filter((id) => id !== column.id);
      state.set({ columns });
    });
  draw();
  return h("details.popover", null, h("summary", null, "Columns"), h("div.panel", null, search, list));
}

/** The columns that a leaderboard has at first. */
export function usualColumns(experiment) {
  const metrics = columnsOf(experiment, "metrics").slice(0, 4);
  const params = columnsOf(experiment, "params").filter((column) => column.different > 1).slice(0, 4);
  return ["run", ...metrics.map((one) => one.id), ...params.map((one) => one.id), "status", "start"];
}
