// A run by itself, and several side by side.
import { checkbox, command, empty, facts, fill, h, quoted, sparkline, table } from "./dom.js";
import { amount, count, cut, duration, exact, time } from "./format.js";
import { columnsOf, isBetter, loadCurves, open } from "./data.js";
import { Curves } from "./curves.js";
import { shown, status } from "./table.js";

const MOST_ROWS = 2000;

function link(run) {
  return h("a", { href: `#/run/${encodeURIComponent(run.id)}` }, cut(run.name, 60));
}

function linkById(data, id) {
  const home = data.homes.get(id);
  return home ? link(open(home[0]).runs[home[1]]) : h("span.mono", null, id);
}

export function runPage(data, experiment, run) {
  const children = experiment.runs.filter((one) => one.parent === run.id);
  const note = experiment.column.get("tags.mlflow.note.content")?.values[run.place];
  return h(
    "div",
    null,
    h("p.crumbs", null, h("a", { href: "#/" }, "Overview"), " / ", h("a", { href: `#/experiment/${encodeURIComponent(experiment.id)}` }, cut(experiment.name, 60)), " / ", "Run"),
    h("h1", null, cut(run.name, 160), " ", status(run)),
    h("p.mono.muted", null, run.id),
    note && note.split("\n").map((line) => h("p", null, line)),
    h(
      "div.columns.uneven",
      null,
      h(
        "section.card",
        null,
        h("h2", null, "Run"),
        facts([
          ["Started", run.start === null ? "" : `${time(run.start)} UTC`],
          ["Ended", run.end ? `${time(run.end)} UTC` : ""],
          ["Duration", run.end && run.start ? duration(run.end - run.start) : ""],
          ["User", run.user],
          ["Within", run.parent && linkById(data, run.parent)],
          ["Contains", children.length > 0 && h("span", null, children.slice(0, 20).map((one, at) => [at > 0 && ", ", link(one)]), children.length > 20 && `, and ${count(children.length - 20)} more`)],
          ["Datasets", list(experiment.used.datasets.filter((one) => one.run === run.place), (one) => `${one.name} (${one.digest}${one.context && `, ${one.context}`})`)],
          ["Models made", list(experiment.used.models.filter((one) => one.run === run.place && !one.is_input), named)],
          ["Models used", list(experiment.used.models.filter((one) => one.run === run.place && one.is_input), named)],
          ["Registered as", registered(data, run)],
        ]),
      ),
      h("section.card", null, h("h2", null, "Bring back this run"), h("p.muted", null, "With what it needs; nothing else is touched."), command(`${data.restore[0].command} --run ${quoted(run.id)}`)),
    ),
    metrics(experiment, run),
    h("div.columns", null, values("Params", columnsOf(experiment, "params"), run), values("Tags", columnsOf(experiment, "tags"), run)),
  );
}

function named(model) {
  return model.name ? `${model.name} (${model.model_id})` : model.model_id;
}

function list(found, text) {
  return found.length > 0 && found.slice(0, 20).map(text).join(", ");
}

function registered(data, run) {
  const found = data.models.flatMap((model) => model.versions.filter((one) => one.run_id === run.id).map((one) => `${model.name} version ${one.version}`));
  return found.length > 0 && h("a", { href: "#/models" }, found.slice(0, 10).join(", "));
}

function metrics(experiment, run) {
  const found = columnsOf(experiment, "metrics").filter((column) => column.values[run.place] !== undefined);
  const section = h("section");
  const draw = (curves) => {
    const line = (column) => {
      const curve = curves?.of(run.id, column.key);
      return curve ? sparkline(curve.values, `${column.label} over ${count(curve.total)} steps`, 140) : "";
    };
    const rows = found.slice(0, MOST_ROWS).map((column) => [cut(column.label, 120), exact(column.values[run.place]), line(column)]);
    const hasCurves = curves && found.some((column) => curves.of(run.id, column.key));
    fill(
      section,
      h("h2", null, "Metrics", h("span.count", null, count(found.length))),
      found.length === 0 ? empty("This run has no metrics.") : h("div.columns", null, table("Metrics", [{ label: "Metric" }, { label: "Latest", right: true }, { label: "Over steps" }], rows), hasCurves && h("div.card", null, new Curves(experiment, () => [run], { isAlone: true }).element)),
    );
  };
  draw(null);
  loadCurves().then(draw);
  return section;
}

function values(title, columns, run) {
  const found = columns.filter((column) => column.values[run.place] !== undefined);
  const rows = found.slice(0, MOST_ROWS).map((column) => [cut(column.label, 120), String((column.texts ?? column.values)[run.place])]);
  return h("section", null, h("h2", null, title, h("span.count", null, count(found.length))), rows.length > 0 ? table(title, [{ label: "Name" }, { label: "Value" }], rows) : empty(`This run has no ${title.toLowerCase()}.`));
}

export function comparePage(experiment, runs, others) {
  let onlyDifferences = true;
  const stage = h("div.stack");
  const draw = () => fill(stage, part("Metrics", "metrics", experiment, runs, onlyDifferences), part("Params", "params", experiment, runs, onlyDifferences));
  draw();
  const toggle = checkbox("Only what differs", true, (isOn) => {
    onlyDifferences = isOn;
    draw();
  });
  return h(
    "div",
    null,
    h("p.crumbs", null, h("a", { href: "#/" }, "Overview"), " / ", h("a", { href: `#/experiment/${encodeURIComponent(experiment.id)}` }, cut(experiment.name, 60)), " / ", "Compare"),
    h("h1", null, amount(runs.length, "runs"), " side by side"),
    others > 0 && h("p.note", null, `${amount(others, "runs")} of other experiments, or that are not here, were left out.`),
    h("section.card", null, h("h2", null, "Curves"), new Curves(experiment, () => runs).element),
    h("div.bar", null, toggle),
    stage,
  );
}

function part(title, kind, experiment, runs, onlyDifferences) {
  const all = columnsOf(experiment, kind).filter((column) => runs.some((run) => column.values[run.place] !== undefined));
  const differs = (column) => new Set(runs.map((run) => String(column.values[run.place]))).size > 1;
  const found = onlyDifferences ? all.filter(differs) : all;
  const columns = [{ label: "Name" }, ...runs.map((run) => ({ label: link(run), right: kind === "metrics" }))];
  const rows = found.slice(0, MOST_ROWS).map((column) => [cut(column.label, 80), ...cells(column, runs)]);
  const same = all.length - found.length;
  return h("section", null, h("h2", null, title, h("span.count", null, count(all.length))), rows.length > 0 ? table(title, columns, rows, ".compare") : empty(all.length > 0 ? "All are the same." : `No ${title.toLowerCase()}.`), same > 0 && rows.length > 0 && h("p.hint", null, `The same in all: ${count(same)} more.`));
}

function cells(column, runs) {
  const finite = runs.map((run) => column.values[run.place]).filter(Number.isFinite);
  const best = column.kind === "metrics" && finite.length > 1 ? finite.reduce((a, b) => (isBetter(column.goal, a, b) ? a : b)) : undefined;
  return runs.map((run) => h(best !== undefined && column.values[run.place] === best ? "strong.best" : "span", null, column.kind === "metrics" ? exact(column.values[run.place]) : shown(column, run.place)));
}
