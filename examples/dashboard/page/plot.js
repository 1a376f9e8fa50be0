// A plot of figures over time, in SVG: one or two lines, a grid, and the values under the pointer.

const SVG = "http://www.w3.org/2000/svg";
const LEFT = 44, RIGHT = 4, TOP = 8, BOTTOM = 22; // px around the lines

function svg(name, attributes = {}, text = "") {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(text);
  return made;
}

/** The smallest of 1, 2, 5, 10, 20, ... that is no smaller than `value`. */
function round(value) {
  const decade = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 5, 10].map((times) => times * decade).find((each) => each >= value * 0.999);
}

export class Plot {
  /**
   * `figure` gets the plot. `lines`: {key: label} of one or two values of a point; `write(value)` is what is shown of
   * one; `least` is the least height of the scale, in the values' unit; `seconds` is how much is shown.
   */
  constructor(figure, title, { lines, write, least, seconds = 120 }) {
    Object.assign(this, { lines: Object.entries(lines), write, least, seconds, points: [], pointed: null });
    this.svg = svg("svg", { class: "plot", role: "img", "aria-label": title });
    this.key = Object.assign(document.createElement("figcaption"), { className: "key" });
    const heading = Object.assign(document.createElement("h2"), { textContent: title });
    figure.append(heading, this.svg, this.key);
    new ResizeObserver(() => this.draw()).observe(this.svg);
    this.svg.addEventListener("pointermove", (event) => this.#point(event.offsetX));
    this.svg.addEventListener("pointerleave", () => this.#point(null));
  }

  /** Show these points and no others; each has `at`, in seconds. */
  reset(points) {
    this.points = [...points];
    this.draw();
  }

  add(point) {
    this.points.push(point);
    while (this.points[0].at < point.at - this.seconds) this.points.shift();
    if (!document.hidden) this.draw();
  }

  draw() {
    const { clientWidth: width, clientHeight: height } = this.svg;
    if (!width) return;
    const now = this.points.at(-1)?.at ?? 0;
    const highest = Math.max(this.least, ...this.points.flatMap((point) => this.lines.map(([key]) => point[key])));
    const step = round(highest / 4);
    const top = Math.ceil((highest / step) * 0.999) * step;
    const x = (at) => width - RIGHT - ((now - at) / this.seconds) * (width - LEFT - RIGHT);
    const y = (value) => height - BOTTOM - (value / top) * (height - TOP - BOTTOM);
    const parts = [];
    for (let value = 0; value <= top * 1.001; value += step) {
      parts.push(svg("line", { class: "grid", x1: LEFT, x2: width - RIGHT, y1: y(value), y2: y(value) }));
      parts.push(svg("text", { x: LEFT - 6, y: y(value) + 4, "text-anchor": "end" }, this.write(value)));
    }
    for (const [part, anchor, words] of [[1, "start", `−${this.seconds} s`], [0.5, "middle", `−${this.seconds / 2} s`], [0, "end", "now"]]) {
      parts.push(svg("text", { x: x(now - part * this.seconds), y: height - 4, "text-anchor": anchor }, words));
    }
    this.lines.forEach(([key], index) => {
      const points = this.points.map((point) => `${x(point.at).toFixed(1)},${y(point[key]).toFixed(1)}`).join(" ");
      parts.push(svg("polyline", { class: ["one", "two"][index], points }));
    });
    const shown = this.pointed === null ? this.points.at(-1) : this.#nearest(now, width);
    if (shown && this.pointed !== null) {
      parts.push(svg("line", { class: "cursor", x1: x(shown.at), x2: x(shown.at), y1: TOP, y2: height - BOTTOM }));
    }
    this.svg.replaceChildren(...parts);
    this.svg.dataset.points = this.points.length;
    if (shown) this.#caption(shown);
  }

  #point(offset) {
    this.pointed = offset;
    this.draw();
  }

  #nearest(now, width) {
    const at = now - ((width - RIGHT - this.pointed) / (width - LEFT - RIGHT)) * this.seconds;
    return this.points.reduce((best, point) => (Math.abs(point.at - at) < Math.abs(best.at - at) ? point : best), this.points[0]);
  }

  #caption(point) {
    this.key.replaceChildren(
      ...this.lines.map(([key, label], index) => {
        const entry = Object.assign(document.createElement("span"), { className: ["one", "two"][index] });
        entry.append(`${label} `, Object.assign(document.createElement("b"), { textContent: this.write(point[key]) }));
        return entry;
      }),
      Object.assign(document.createElement("span"), { textContent: new Date(point.at * 1000).toLocaleTimeString() }),
    );
  }
}
