// Two plots on a canvas, drawn by hand: round-trip times as they come in, and the rate of a run.

const LEFT = 52, RIGHT = 44, TOP = 10, BOTTOM = 24; // px around the plot

/** A number in three significant digits or so, for people. */
export function short(value) {
  if (!Number.isFinite(value)) return "–";
  if (value >= 1e6) return `${(value / 1e6).toFixed(value >= 1e7 ? 1 : 2)}M`;
  if (value >= 1e3) return `${(value / 1e3).toFixed(value >= 1e4 ? 0 : 1)}k`;
  return value >= 100 ? value.toFixed(0) : value >= 10 ? value.toFixed(1) : value.toFixed(2);
}

/** A canvas in CSS pixels that draws itself again when its size or the colour scheme changes. */
class Plot {
  constructor(canvas) {
    this.canvas = canvas;
    this.context = canvas.getContext("2d");
    this.asked = false;
    new ResizeObserver(() => this.redraw()).observe(canvas);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.redraw());
  }

  redraw() {
    if (this.asked) return;
    this.asked = true;
    requestAnimationFrame(() => {
      this.asked = false;
      const { canvas, context } = this;
      const scale = devicePixelRatio, width = canvas.clientWidth, height = canvas.clientHeight;
      if (!width || !height) return;
      if (canvas.width !== Math.round(width * scale) || canvas.height !== Math.round(height * scale)) {
        canvas.width = Math.round(width * scale);
        canvas.height = Math.round(height * scale);
      }
      context.setTransform(scale, 0, 0, scale, 0, 0);
      context.clearRect(0, 0, width, height);
      const style = getComputedStyle(canvas);
      this.colour = (name) => style.getPropertyValue(`--${name}`).trim();
      context.font = `12px ${style.fontFamily}`;
      context.textBaseline = "middle";
      this.box = { left: LEFT, right: width - RIGHT, top: TOP, bottom: height - BOTTOM };
      this.draw();
    });
  }

  line(x1, y1, x2, y2, colour, dash = []) {
    const { context } = this;
    context.strokeStyle = this.colour(colour);
    context.lineWidth = 1;
    context.setLineDash(dash);
    context.beginPath();
    context.moveTo(x1, y1);
    context.lineTo(x2, y2);
    context.stroke();
    context.setLineDash([]);
  }

  text(words, x, y, colour, align) {
    this.context.fillStyle = this.colour(colour);
    this.context.textAlign = align;
    this.context.fillText(words, x, y);
  }

  /** A horizontal grid line with its value at the left. */
  grid(y, words) {
    const { left, right } = this.box;
    this.line(left, Math.round(y) + 0.5, right, Math.round(y) + 0.5, "line");
    this.text(words, left - 8, y, "muted", "right");
  }
}

/** The last `seconds` of round-trip times, on a logarithmic scale, with p50 and p99 as lines. */
export class LatencyPlot extends Plot {
  constructor(canvas, seconds) {
    super(canvas);
    this.seconds = seconds;
    this.points = []; // {at, took}: ms
    this.bands = []; // [from, to]: ms, when a run was on
    this.low = 0.2;
    this.high = 2;
  }

  add(at, took) {
    this.points.push({ at, took });
    const oldest = at - this.seconds * 1000;
    while (this.points[0].at < oldest) this.points.shift();
    while (this.bands.length && this.bands[0][1] < oldest) this.bands.shift();
    this.canvas.dataset.points = this.points.length;
    this.redraw();
  }

  /** Percentiles of what is shown: {p50, p90, p99, max} in ms, or undefined while there is nothing. */
  summary() {
    const sorted = this.points.map(({ took }) => took).sort((a, b) => a - b);
    if (!sorted.length) return undefined;
    const at = (share) => sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))];
    return { p50: at(0.5), p90: at(0.9), p99: at(0.99), max: sorted.at(-1) };
  }

  draw() {
    const { context, box, points } = this;
    const now = points.at(-1)?.at ?? 0;
    const summary = this.summary();
    if (summary) {
      const least = points.reduce((low, { took }) => Math.min(low, took), Infinity);
      this.low = Math.max(0.01, Math.min(least / 1.4, summary.p50 / 2));
      this.high = Math.max(summary.max * 1.25, this.low * 8);
    }
    const span = Math.log(this.high / this.low);
    const x = (at) => box.right - ((now - at) / (this.seconds * 1000)) * (box.right - box.left);
    const y = (took) => box.bottom - (Math.log(Math.max(took, this.low) / this.low) / span) * (box.bottom - box.top);

    for (const [from, to] of this.bands) {
      const left = Math.max(box.left, x(from)), right = Math.min(box.right, x(Math.min(to, now)));
      if (right > left) {
        context.fillStyle = this.colour("soft");
        context.fillRect(left, box.top, right - left, box.bottom - box.top);
        if (right - left > 40) this.text("run", (left + right) / 2, box.bottom - 10, "muted", "center");
      }
    }
    for (let decade = 0.01; decade < this.high; decade *= 10) {
      for (const step of span > 4 ? [1, 3] : [1, 2, 5]) {
        const value = decade * step;
        if (value >= this.low && value <= this.high) this.grid(y(value), `${+value.toPrecision(1)} ms`);
      }
    }
    for (let ago = 0; ago <= this.seconds; ago += 10) {
      this.text(ago ? `−${ago} s` : "now", x(now - ago * 1000), box.bottom + 14, "muted", "center");
    }
    if (!summary) return;

    context.fillStyle = this.colour("accent");
    context.globalAlpha = 0.75;
    for (const { at, took } of points) {
      context.beginPath();
      context.arc(x(at), y(took), 2, 0, 7);
      context.fill();
    }
    context.globalAlpha = 1;
    const apart = y(summary.p50) - y(summary.p99) > 14; // else the two labels would lie on each other
    for (const [name, colour] of apart ? [["p50", "accent"], ["p99", "alert"]] : [["p50", "accent"]]) {
      this.line(box.left, y(summary[name]), box.right, y(summary[name]), colour, [5, 4]);
      this.text(name, box.right + 8, y(summary[name]), colour, "left");
    }
  }
}

/** The rate of a run over its time, as an area, with the average as a line. */
export class RatePlot extends Plot {
  constructor(canvas) {
    super(canvas);
    this.clear(4);
  }

  clear(seconds) {
    this.seconds = seconds;
    this.points = []; // {at: s, rate: messages/s}
    this.average = NaN;
    this.redraw();
  }

  add(at, rate) {
    this.points.push({ at, rate });
    this.canvas.dataset.points = this.points.length;
    this.redraw();
  }

  draw() {
    const { context, box, points } = this;
    const most = points.reduce((high, { rate }) => Math.max(high, rate), 0) * 1.1 || 10_000;
    const raw = most / 4, decade = 10 ** Math.floor(Math.log10(raw));
    const step = [1, 2, 5, 10].map((times) => times * decade).find((value) => value >= raw);
    const x = (at) => box.left + Math.min(1, at / this.seconds) * (box.right - box.left);
    const y = (rate) => box.bottom - (rate / most) * (box.bottom - box.top);

    for (let value = 0; value <= most; value += step) this.grid(y(value), value ? short(value).replace(/\.0+(?=\D?$)/, "") : "0");
    for (let part = 0; part <= 4; part++) {
      const at = (this.seconds * part) / 4;
      this.text(`${+at.toFixed(2)} s`, x(at), box.bottom + 14, "muted", "center");
    }
    if (!points.length) return;

    context.beginPath();
    context.moveTo(box.left, y(points[0].rate));
    for (const { at, rate } of points) context.lineTo(x(at), y(rate));
    context.strokeStyle = this.colour("accent");
    context.lineWidth = 2;
    context.lineJoin = "round";
    context.stroke();
    context.lineTo(x(points.at(-1).at), box.bottom);
    context.lineTo(box.left, box.bottom);
    context.fillStyle = this.colour("soft");
    context.fill();
    if (Number.isFinite(this.average)) {
      this.line(box.left, y(this.average), box.right, y(this.average), "alert", [5, 4]);
      this.text("mean", box.right + 8, y(this.average), "alert", "left");
    }
  }
}
