// Charts: Apache ECharts on a canvas, in the page's colours. Its tooltips are elements of ours, so that no text of the
// snapshot becomes HTML there either.
import { h, visible } from "./dom.js";
import { library } from "./data.js";
import { day, short, time } from "./format.js";

let drawing = null;

/** ECharts itself; its script runs because the policy of the page names its SHA-256. */
function echartsReady() {
  drawing ??= library().then((text) => {
    const script = document.createElement("script");
    script.textContent = text;
    document.head.append(script);
    return window.echarts;
  });
  return drawing;
}

const live = new Set();

/** The page's colours, as they are now. */
export function colours() {
  const style = getComputedStyle(document.documentElement);
  const own = (name) => style.getPropertyValue(`--${name}`).trim();
  const series = Array.from({ length: 8 }, (_, at) => own(`series-${at + 1}`));
  return { text: own("text"), muted: own("muted"), line: own("line"), surface: own("surface"), accent: own("accent"), dot: own("dot"), best: own("best"), series };
}

/** A chart that follows the theme and its width. */
export class Chart {
  /**
   * @param {string} label what it shows, for those who don't see it.
   * @param {(colours: object) => object|null} option what ECharts shall draw; null: nothing.
   * @param {{height?: number, events?: object, ready?: (chart: object) => void}} [more]
   */
  constructor(label, option, more = {}) {
    this.option = option;
    this.more = more;
    this.element = h("div.chart", { role: "img", "aria-label": label });
    this.element.style.setProperty("height", `${more.height ?? 300}px`);
    this.observer = new ResizeObserver(() => this.resize());
    this.observer.observe(this.element);
    live.add(this);
  }

  async resize() {
    if (!this.element.isConnected) return;
    if (this.chart) this.chart.resize();
    else if (!this.starting && this.element.clientWidth > 0) {
      this.starting = true;
      const echarts = await echartsReady();
      if (this.isGone || !this.element.isConnected) return;
      this.chart = echarts.init(this.element, null, { renderer: "canvas" });
      for (const [name, listener] of Object.entries(this.more.events ?? {})) this.chart.on(name, (event) => listener(event, this.chart));
      this.draw();
    }
  }

  draw() {
    if (!this.chart) return;
    const option = this.option(colours());
    if (option === null) this.chart.clear();
    else {
      this.chart.setOption({ animation: false, textStyle: { fontFamily: getComputedStyle(document.body).fontFamily }, ...option }, true);
      this.more.ready?.(this.chart);
    }
  }

  label(text) {
    this.element.setAttribute("aria-label", visible(text));
  }

  dispose() {
    this.isGone = true;
    this.observer.disconnect();
    this.chart?.dispose();
    live.delete(this);
  }
}

/** Draw all charts once more, in other colours or for paper. */
export function redraw() {
  for (const chart of live) {
    chart.chart?.resize();
    chart.draw();
  }
}

/** End the charts that are no longer on the page. */
export function disposeGone() {
  for (const chart of live) if (!chart.element.isConnected) chart.dispose();
}

/** End all charts within an element. */
export function disposeWithin(element) {
  for (const chart of live) if (element.contains(chart.element)) chart.dispose();
}

/** A tooltip: lines of [name, value]; made of text. */
export function tip(title, pairs) {
  return h(
    "div.tip",
    null,
    h("p.strong", null, title),
    pairs.map(([name, value, colour]) => {
      const line = h("p.pair", null, h("span", null, colour ? swatch(colour) : null, name), h("span.value", null, value));
      return line;
    }),
  );
}

/** A dot in a colour of a series. */
export function swatch(colour) {
  const dot = h("i.swatch", { "aria-hidden": "true" });
  dot.style.setProperty("background", colour);
  return dot;
}

/** How tooltips look. */
export function tooltip(own, more) {
  return {
    renderMode: "html",
    confine: true,
    padding: 0,
    borderWidth: 1,
    borderColor: own.line,
    backgroundColor: own.surface,
    textStyle: { color: own.text, fontSize: 13 },
    extraCssText: "box-shadow: 0 4px 16px rgb(0 0 0 / 12%); border-radius: 8px; max-width: 22rem; white-space: normal;",
    ...more,
  };
}

/** An axis. @param {"value"|"log"|"time"|"category"} type */
export function axis(own, type, name, more = {}) {
  const label = type === "time" ? undefined : type === "category" ? undefined : (value) => short(value);
  return {
    type,
    name: name ? visible(name) : "",
    nameTextStyle: { color: own.muted, fontSize: 12 },
    scale: true,
    axisLine: { show: false },
    axisTick: { show: false },
    axisLabel: { color: own.muted, fontSize: 12, hideOverlap: true, ...(label ? { formatter: label } : {}) },
    splitLine: { lineStyle: { color: own.line } },
    ...more,
  };
}

const FEW_DAYS = 3 * 86_400_000;

/** The axis of time: no lines; days as ISO writes them, with the time of day where they are few. @param {number} span milliseconds */
export function timeAxis(own, span, more = {}) {
  const form = span > FEW_DAYS ? day : (value) => time(value).slice(5);
  return axis(own, "time", "", {
    splitLine: { show: false },
    splitNumber: 4,
    axisLine: { show: true, lineStyle: { color: own.line } },
    axisLabel: { color: own.muted, fontSize: 12, margin: 12, hideOverlap: true, formatter: form },
    ...more,
  });
}
