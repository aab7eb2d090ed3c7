// Metrics over their steps, for some runs.
import { checkbox, empty, field, fill, h, select } from "./dom.js";
import { amount, count, cut, number } from "./format.js";
import { columnsOf, loadCurves } from "./data.js";
import { Chart, axis, colours, swatch, tip, tooltip } from "./charts.js";

const MOST = 8;

/** A chart of a metric of some runs, with a legend. */
export class Curves {
  /**
   * @param {object} experiment of the runs.
   * @param {() => Array} runs that are meant, the most important first.
   * @param {{none?: string, isAlone?: boolean}} [more] what to say where there are none; whether one run is meant.
   */
  constructor(experiment, runs, { none = "", isAlone = false } = {}) {
    Object.assign(this, { experiment, runs, none, isAlone });
    this.isLog = false;
    this.element = h("div");
    this.stage = h("div");
    this.start();
  }

  async start() {
    this.curves = await loadCurves();
    const keys = columnsOf(this.experiment, "metrics").map((column) => column.key);
    const known = new Set(this.experiment.runs.flatMap((run) => this.curves.keys(run.id)));
    this.keys = keys.filter((key) => known.has(key));
    this.key = this.keys[0];
    if (this.keys.length === 0) {
      fill(this.element, empty("No curves.", "Each metric here has a single value, not a history over steps."));
      return;
    }
    const choice = select(this.keys.map((key) => [key, cut(key, 60)]), this.key, (key) => {
      this.key = key;
      this.draw();
    });
    const log = checkbox("Log scale", false, (isOn) => {
      this.isLog = isOn;
      this.draw();
    });
    fill(this.element, h("div.bar", null, field("Metric", choice), log), this.stage);
    this.draw();
  }

  draw() {
    if (!this.key) return;
    const wanted = this.runs();
    const found = wanted.map((run) => ({ run, curve: this.curves.of(run.id, this.key) })).filter(({ curve }) => curve);
    this.shown = found.slice(0, MOST);
    this.chart?.dispose();
    this.chart = new Chart(`Curves of ${this.key}`, (own) => this.option(own), { height: 320 });
    fill(this.stage, this.shown.length > 0 ? [this.chart.element, this.legend()] : this.nothing(wanted), this.notes(wanted, found));
  }

  nothing(wanted) {
    if (wanted.length === 0) return empty("No runs.", this.none);
    return empty(`No curve of ${this.key} for these runs.`, "They have at most one value of it, or their curves were left out.");
  }

  option(own) {
    const positive = this.shown.every(({ curve }) => curve.values.every((value) => value > 0));
    return {
      grid: { left: 8, right: 20, top: 16, bottom: 34, containLabel: true },
      xAxis: axis(own, "value", "step", { nameLocation: "middle", nameGap: 28, splitLine: { show: false }, axisLine: { show: true, lineStyle: { color: own.line } } }),
      yAxis: axis(own, this.isLog && positive ? "log" : "value", ""),
      dataZoom: [{ type: "inside", zoomOnMouseWheel: "ctrl", moveOnMouseWheel: false, filterMode: "none" }],
      tooltip: tooltip(own, { trigger: "axis", axisPointer: { lineStyle: { color: own.muted } }, formatter: (points) => this.tip(points) }),
      series: this.shown.map(({ run, curve }, at) => ({
        type: "line",
        name: String(at),
        id: run.id,
        data: curve.steps.map((step, place) => [step, curve.values[place]]),
        showSymbol: curve.steps.length === 1,
        symbolSize: 5,
        lineStyle: { width: 1.8, color: own.series[at] },
        itemStyle: { color: own.series[at] },
      })),
    };
  }

  tip(points) {
    const own = colours();
    return tip(
      `step ${count(points[0].value[0])}`,
      points.map((point) => [cut(this.shown[point.seriesIndex].run.name, 28), number(point.value[1]), own.series[point.seriesIndex]]),
    );
  }

  legend() {
    if (this.shown.length === 1 && this.isAlone) return null;
    const own = (at) => swatch(`var(--series-${at + 1})`);
    const entry = ({ run, curve }, at) =>
      h("li", null, own(at), h("a", { href: `#/run/${encodeURIComponent(run.id)}` }, cut(run.name, 40)), curve.odd > 0 && h("span.muted", null, ` ${amount(curve.odd, "points")} NaN or infinite`));
    return h("ul.legend", null, this.shown.map(entry));
  }

  notes(wanted, found) {
    const thinned = this.shown.some(({ curve }) => curve.steps.length < curve.total - curve.odd);
    const beyond = found.length - this.shown.length;
    const without = wanted.length - found.length;
    const told = [
      beyond > 0 && `${amount(beyond, "curves")} more: ${MOST} are drawn at once.`,
      without > 0 && this.shown.length > 0 && `${amount(without, "runs")} without a curve of this metric here.`,
      this.curves.leftOut > 0 && `${amount(this.curves.leftOut, "curves")} of less telling runs and metrics were left out to keep this page small; mlmeta report --max-size 10 has more of them.`,
      thinned && "Curves have fewer points here than in the snapshot: those that shape them most.",
    ].filter(Boolean);
    return told.length > 0 && h("p.hint", null, told.join(" "));
  }
}
