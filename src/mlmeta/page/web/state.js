// What is chosen on the page of an experiment: the filter, the order, columns and runs. It outlives a look at a run.
import { columnsOf } from "./data.js";
import { inRanges, test } from "./filter.js";
import { usualColumns } from "./table.js";

/** The state of an experiment; whoever listens is told of each change. */
export class State {
  constructor(experiment) {
    this.experiment = experiment;
    this.listeners = [];
    this.goals = new Map();
    this.chosen = new Set();
    this.query = "";
    this.ranges = new Map();
    this.columns = usualColumns(experiment);
    const [metric] = columnsOf(experiment, "metrics");
    this.metric = metric?.id ?? null;
    this.sort = metric ? { id: metric.id, descending: metric.goal === "max" } : { id: "start", descending: true };
    this.update();
  }

  /** The goal of a metric: what its name tells, until somebody knows better. */
  goalOf(column) {
    return this.goals.get(column.id) ?? column.goal;
  }

  setGoal(column, goal) {
    this.goals.set(column.id, goal);
    if (this.sort.id === column.id) this.sort = { id: column.id, descending: goal === "max" };
    this.tell("goal");
  }

  listen(listener) {
    this.listeners.push(listener);
  }

  forget() {
    this.listeners = [];
  }

  set(changes) {
    Object.assign(this, changes);
    if ("query" in changes || "ranges" in changes) this.update();
    this.tell(Object.keys(changes)[0]);
  }

  /** Limit to what was drawn in a chart; null: no longer. */
  limit(id, range) {
    const ranges = new Map(this.ranges);
    if (range === null) ranges.delete(id);
    else ranges.set(id, range);
    this.set({ ranges });
  }

  clear() {
    this.set({ query: "", ranges: new Map() });
  }

  choose(runs, isChosen) {
    for (const run of runs) {
      if (isChosen) this.chosen.add(run.place);
      else this.chosen.delete(run.place);
    }
    this.tell("chosen");
  }

  update() {
    const { passes, unknown } = test(this.experiment, this.query);
    this.unknown = unknown;
    this.asked = this.experiment.runs.filter(passes);
    this.shown = this.asked.filter(inRanges(this.experiment, this.ranges));
  }

  tell(what) {
    for (const listener of this.listeners) listener(what);
  }
}
