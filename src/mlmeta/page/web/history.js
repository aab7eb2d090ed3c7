// What changed since the snapshot before, and how the backups have been.
import { empty, h, table } from "./dom.js";
import { amount, bytes, count, duration, time } from "./format.js";
import { Chart, axis, timeAxis, tip, tooltip } from "./charts.js";

const STATES = {
  complete: ["good", "Complete", "Everything that the source had was saved."],
  partial: ["warn", "Incomplete", "The source had things that could not be saved."],
  shrunken: ["warn", "Suspiciously small", ""],
  future: ["warn", "Dated in the future", ""],
  legacy: ["off", "Of an older script", "It has no checksums and no metric histories."],
};

/** A state in a word, with its colour. */
export function stateOf(state) {
  return STATES[state] ?? ["bad", state.charAt(0).toUpperCase() + state.slice(1), ""];
}

/** How many of each kind were added, removed and changed. */
export function changeCounts(changes) {
  const rows = Object.entries(changes.records)
    .filter(([, tally]) => tally.added + tally.removed + tally.changed > 0)
    .map(([kind, tally]) => [kind, signed("+", tally.added), signed("−", tally.removed), signed("~", tally.changed), count(tally.same)]);
  if (rows.length === 0) return h("p", null, `Nothing changed since ${changes.before}.`);
  const columns = [{ label: "Since " + changes.before }, ...["Added", "Removed", "Changed", "Same"].map((label) => ({ label, right: true }))];
  return table("Changes by kind", columns, rows);
}

function signed(sign, value) {
  return value > 0 ? h("span.strong", null, sign + count(value)) : h("span.muted", null, "0");
}

export function changesPage({ changes, about }) {
  if (changes === null) {
    return h("div", null, h("h1", null, "Changes"), empty("Nothing to compare with.", "There is no earlier snapshot of this source in the storage."));
  }
  const sign = { added: "+", removed: "−", changed: "~" };
  const rows = changes.changes.map((one, at) => [
    h(`span.change.${one.what}`, null, `${sign[one.what]} ${one.what}`),
    one.kind,
    h("span", null, one.name && h("span", null, one.name, " "), h("span.mono.muted", null, one.id)),
    one.field,
    one.field ? [h("span", null, changes.words[at][0]), " → ", h("span", null, changes.words[at][1])] : "",
  ]);
  return h(
    "div",
    null,
    h("h1", null, "Changes"),
    h("p.muted", null, `From snapshot ${changes.before} to ${about.timestamp}; spans are not compared.`),
    changeCounts(changes),
    rows.length > 0 && [h("h2", null, "One by one", h("span.count", null, count(changes.total))), table("Changes", ["What", "Kind", "Which", "Field", "Before → after"].map((label) => ({ label })), rows)],
    changes.total > rows.length && h("p.hint", null, `${amount(changes.total - rows.length, "changes")} more: mlmeta diff ${changes.before} ${about.timestamp} shows them.`),
  );
}

const COLUMNS = [{ label: "Snapshot" }, { label: "Taken (UTC)" }, { label: "State" }, { label: "Size", right: true }, { label: "Runs", right: true }, { label: "Models", right: true }, { label: "Remark" }];
const SHOWN = 50;

export function backupsPage({ backups, about, written }) {
  const dated = backups.filter((one) => one.taken !== null && Object.keys(one.stats).length > 0).reverse();
  const rows = backups.map((one) => {
    const [kind, word] = stateOf(one.state);
    const counted = (name) => (one.stats[name] === undefined ? "–" : count(one.stats[name]));
    const name = one.timestamp === about.timestamp ? h("strong", null, one.timestamp, " (this one)") : one.timestamp;
    return [name, time(one.taken), h(`span.status.${kind}`, null, word.toLowerCase()), bytes(one.size), counted("runs"), counted("models"), one.problem];
  });
  return h(
    "div",
    null,
    h("h1", null, "Backups"),
    h("p.muted", null, `Of this source in ${about.storage}, as of ${time(written)} UTC.`),
    tiles(backups, written),
    dated.length > 1 && [
      h("div.columns", null, overTime("Size", dated, (one) => one.size, bytes), overTime("Runs", dated, (one) => one.stats.runs ?? 0, count)),
      dated.some((one) => one.state !== "complete") && h("ul.legend", null, h("li", null, h("i.swatch.dot.accent"), "complete"), h("li", null, h("i.swatch.dot.other"), "not complete")),
    ],
    h("h2", null, "Snapshots", h("span.count", null, count(backups.length))),
    rows.length > 0 ? table("Snapshots", COLUMNS, rows.slice(0, SHOWN)) : empty("No snapshots."),
    rows.length > SHOWN && h("details", null, h("summary", null, `${amount(rows.length - SHOWN, "snapshots")} more`), table("Further snapshots", COLUMNS, rows.slice(SHOWN))),
  );
}

function tiles(backups, written) {
  const complete = backups.filter((one) => one.state === "complete");
  const latest = complete.find((one) => one.taken !== null);
  const times = complete.map((one) => one.taken).filter((taken) => taken !== null);
  const between = times.slice(1).map((taken, at) => times[at] - taken);
  const middle = [...between].sort((a, b) => a - b)[Math.floor(between.length / 2)];
  const tile = (value, label) => h("li", null, h("span.big", null, value), h("span", null, label));
  return h(
    "ul.tiles",
    null,
    tile(count(backups.length), "snapshots"),
    tile(`${count(complete.length)} of ${count(backups.length)}`, "complete"),
    tile(latest ? duration(Math.max(0, written - latest.taken)) : "–", "age of the newest complete one"),
    tile(between.length > 0 ? duration(middle) : "–", "usual time between two"),
    tile(between.length > 0 ? duration(Math.max(...between)) : "–", "longest time between two"),
    tile(bytes(backups.reduce((sum, one) => sum + one.size, 0)), "in all"),
  );
}

/** One value of each snapshot over time; those that are not complete in another colour. */
function overTime(title, dated, of, form) {
  const chart = new Chart(
    `${title} of ${dated.length} snapshots: from ${form(of(dated[0]))} to ${form(of(dated.at(-1)))}`,
    (own) => ({
      grid: { left: 8, right: 20, top: 16, bottom: 8, containLabel: true },
      xAxis: timeAxis(own, dated.at(-1).taken - dated[0].taken),
      yAxis: axis(own, "value", "", { min: 0, minInterval: 1, axisLabel: { color: own.muted, fontSize: 12, formatter: (value) => form(value) } }),
      tooltip: tooltip(own, { trigger: "axis", formatter: ([point]) => backupTip(dated[point.dataIndex]) }),
      series: [
        {
          type: "line",
          data: dated.map((one) => ({ value: [one.taken, of(one)], itemStyle: { color: one.state === "complete" ? own.accent : own.best } })),
          symbol: "circle",
          symbolSize: dated.length < 100 ? 6 : 3,
          lineStyle: { color: own.accent, width: 2 },
        },
      ],
    }),
    { height: 220 },
  );
  return h("section.card", null, h("h2", null, title), chart.element);
}

function backupTip(one) {
  return tip(one.timestamp, [["State", one.state], ["Size", bytes(one.size)], ["Runs", count(one.stats.runs ?? 0)]]);
}
