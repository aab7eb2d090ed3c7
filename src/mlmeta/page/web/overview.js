// What there was, whether it is all here, and how it comes back.
import { command, empty, facts, h, searchable, sparkline, table } from "./dom.js";
import { amount, bytes, count, cut, duration, number, time } from "./format.js";
import { bestSoFar, glimpse } from "./data.js";
import { changeCounts, stateOf } from "./history.js";

const SHOWN = 10;
const MOST_EXPERIMENTS = 100;
function sentence(text) {
  return text && text.charAt(0).toUpperCase() + text.slice(1) + (/[.!?…]$/.test(text) ? "" : ".");
}

export function overview(data) {
  const { about } = data;
  return h(
    "div",
    null,
    head(data),
    h("div.columns.uneven", null, bringBack(data), aboutSnapshot(data)),
    about.gaps.length > 0 && gaps(about.gaps, "Missing", "What the source had and this snapshot lacks."),
    about.accepted.length > 0 && gaps(about.accepted, "Missing, as is accepted", "Whoever set up the backup knows of these."),
    experiments(data),
    h("div.columns", null, lately(data), health(data)),
  );
}

function verdict({ state, problem, gaps }, what) {
  if (state === "partial") return `${amount(gaps.length, "things")} that the source had could not be saved: they are named below.`;
  return sentence(problem) || what;
}

function head({ about, written }) {
  const [kind, word, what] = stateOf(about.state);
  const age = about.taken === null ? "" : `, ${duration(Math.max(0, written - about.taken))} before this page was written`;
  return h(
    "header.hero",
    null,
    h("p.eyebrow", null, `Snapshot ${about.timestamp}`),
    h("h1", null, cut(about.label || about.source || "An MLflow store", 120)),
    h("p.verdict", null, h(`span.status.${kind}`, null, word), h("span", null, verdict(about, what))),
    h("p.muted", null, about.taken === null ? "" : `Taken ${time(about.taken)} UTC${age}.`),
    h("ul.tiles", null, about.counts.map(([value, word_]) => h("li", null, h("span.big", null, count(value)), h("span", null, plural(value, word_))))),
    about.counts.length === 0 && empty("An empty snapshot.", "The store had no experiments, runs or models when it was taken."),
  );
}

function plural(value, many) {
  return amount(value, many).replace(/^\S+ /, "");
}

function bringBack({ restore }) {
  const [first, ...rest] = restore;
  const one = ({ what, command: text }) => [h("p.what", null, what), command(text)];
  return h(
    "section.card",
    { "aria-labelledby": "bring-back" },
    h("h2", { id: "bring-back" }, "Bring it back"),
    h("p.muted", null, "Stop the MLflow server first. A restore adds what is missing, changes nothing that is there, and proves that all came back."),
    one(first),
    h("details", null, h("summary", null, "Other ways"), rest.map(one)),
  );
}

function aboutSnapshot({ about, left_out: leftOut, by }) {
  const tags = Object.entries(about.tags).map(([key, value]) => `${key}=${value}`);
  return h(
    "section.card",
    { "aria-labelledby": "about" },
    h("h2", { id: "about" }, "About this snapshot"),
    facts([
      ["Source", about.source],
      ["Storage", about.storage],
      ["Size", bytes(about.size)],
      ["MLflow", about.mlflow_version],
      ["Read", about.state !== "legacy" && (about.point_in_time ? "as of one moment" : "while the server went on")],
      ["Tags", tags.join(", ")],
      ["Saved by", about.mlmeta_version && `mlmeta ${about.mlmeta_version}`],
      ["This page by", `mlmeta ${by}`],
    ]),
    notes([...about.limits, ...leftOut, ...about.notes]),
  );
}

function notes(all) {
  const told = all.map((note) => h("p.note", null, sentence(note)));
  const rest = told.slice(SHOWN);
  return [told.slice(0, SHOWN), rest.length > 0 && h("details", null, h("summary", null, `${amount(rest.length, "notes")} more`), rest)];
}

function gaps(found, title, text) {
  const rows = found.map((one) => [one.kind, one.id, one.reason]);
  const columns = [{ label: "Kind" }, { label: "Which" }, { label: "Why" }];
  return h(
    "section",
    null,
    h("h2", null, title, h("span.count", null, count(found.length))),
    h("p.muted", null, text),
    table(title, columns, rows.slice(0, SHOWN)),
    rows.length > SHOWN && h("details", null, h("summary", null, `${amount(rows.length - SHOWN, "entries")} more`), table(title, columns, rows.slice(SHOWN, 1000))),
  );
}

function experiments(data) {
  const hasWorkspaces = data.experiments.some((one) => one.workspace !== "default");
  const columns = [
    { label: "Experiment" },
    ...(hasWorkspaces ? [{ label: "Workspace" }] : []),
    { label: "Runs", right: true },
    { label: "Newest run (UTC)" },
    { label: "Best" },
    { label: "Best so far" },
  ];
  const ordered = [...data.experiments].sort((one, other) => newest(other) - newest(one));
  return h(
    "section",
    { "aria-labelledby": "experiments" },
    h("h2", { id: "experiments" }, "Experiments", h("span.count", null, count(ordered.length))),
    ordered.length > 0
      ? searchable("Find an experiment", ordered, (one) => one.name, (found) => table("Experiments", columns, found.map((one) => row(one, hasWorkspaces)), ".list"), MOST_EXPERIMENTS)
      : empty("No experiments in this snapshot."),
  );
}

function newest(experiment) {
  return experiment.runs.start.reduce((latest, start) => Math.max(latest, start ?? 0), 0);
}

function row(experiment, hasWorkspaces) {
  const name = h("a.strong", { href: `#/experiment/${encodeURIComponent(experiment.id)}` }, cut(experiment.name, 80));
  const latest = newest(experiment);
  return [
    h("span", null, name, experiment.is_deleted && h("span.chip", null, "deleted")),
    ...(hasWorkspaces ? [experiment.workspace] : []),
    count(experiment.total),
    latest ? time(latest) : "–",
    ...best(experiment),
  ];
}

function best(experiment) {
  if (experiment.runs.metrics.length === 0) return [h("span.muted", null, "–"), ""];
  const { runs, metric } = glimpse(experiment);
  const steps = bestSoFar(runs, metric, metric.goal);
  if (steps.length === 0) return [h("span.muted", null, "–"), ""];
  return [
    h("span", null, h("span.muted", null, `${cut(metric.label, 28)} `), number(steps.at(-1)[1])),
    sparkline(everyRun(runs, metric, steps), `Best ${metric.label} so far: from ${number(steps[0][1])} to ${number(steps.at(-1)[1])}`),
  ];
}

/** The best so far at each of at most 60 runs. */
function everyRun(runs, metric, steps) {
  const measured = runs.filter((run) => Number.isFinite(metric.values[run.place]) && run.start !== null && !run.deleted);
  const places = new Map(steps.map(([run, value]) => [run, value]));
  let last = NaN;
  const line = measured.map((run) => (last = places.get(run) ?? last));
  const every = Math.max(1, Math.ceil(line.length / 60));
  return line.filter((_, at) => at % every === 0 || at === line.length - 1);
}

function lately({ changes }) {
  return h(
    "section.card",
    { "aria-labelledby": "lately" },
    h("h2", { id: "lately" }, "Since the snapshot before"),
    changes === null ? h("p.muted", null, "There is no earlier snapshot of this source to compare with.") : [changeCounts(changes), h("p", null, h("a", { href: "#/changes" }, "All changes"))],
  );
}

function health({ backups, written }) {
  const sound = backups.filter((one) => one.state === "complete");
  const latest = sound.find((one) => one.taken !== null);
  return h(
    "section.card",
    { "aria-labelledby": "health" },
    h("h2", { id: "health" }, "Backups"),
    facts([
      ["Snapshots", count(backups.length)],
      ["Complete", `${count(sound.length)} of ${count(backups.length)}`],
      ["Newest complete", latest ? `${duration(Math.max(0, written - latest.taken))} before this page was written` : "none"],
    ]),
    h("p", null, h("a", { href: "#/backups" }, "All backups")),
  );
}
