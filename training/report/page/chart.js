// Line charts as SVG. `lines` are [{name, x, y, marks}]; `marks` are the radii of the points, drawn when there are some.

const PLOT = { left: 44, top: 22, width: 300, height: 220 };

function svg(tag, attributes, text = "") {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  Object.entries(attributes).forEach(([name, value]) => made.setAttribute(name, value));
  made.textContent = text;
  return made;
}

function chart({ title, xLabel, yLabel, lines, ideal = [], xTicks = [0, 0.2, 0.4, 0.6, 0.8, 1] }) {
  const { left, top, width, height } = PLOT;
  const [first, last] = [xTicks[0], xTicks.at(-1)];
  const x = (value) => left + ((value - first) / (last - first || 1)) * width;
  const y = (value) => top + (1 - value) * height;
  const legend = top + height + 50;
  const drawn = svg("svg", { viewBox: `0 0 360 ${legend + 16 * lines.length}`, role: "img", "aria-label": title });
  drawn.append(svg("text", { x: left, y: 12, "font-weight": 600 }, title));
  for (const tick of xTicks) {
    drawn.append(svg("path", { class: "axis", d: `M${x(tick)} ${top}v${height}` }));
    drawn.append(svg("text", { x: x(tick), y: top + height + 14, "text-anchor": "middle" }, String(tick)));
  }
  for (const tick of [0, 0.2, 0.4, 0.6, 0.8, 1]) {
    drawn.append(svg("path", { class: "axis", d: `M${left} ${y(tick)}h${width}` }));
    drawn.append(svg("text", { x: left - 6, y: y(tick) + 4, "text-anchor": "end" }, String(tick)));
  }
  drawn.append(svg("text", { x: left + width / 2, y: top + height + 31, "text-anchor": "middle" }, xLabel));
  const turned = `rotate(-90 11 ${top + height / 2})`;
  drawn.append(svg("text", { x: 11, y: top + height / 2, "text-anchor": "middle", transform: turned }, yLabel));
  const path = (points) => points.map(([one, other], index) => `${index ? "L" : "M"}${x(one)} ${y(other)}`).join("");
  if (ideal.length) drawn.append(svg("path", { class: "ideal", d: path(ideal) }));
  lines.forEach((line, series) => {
    const points = line.x.map((value, index) => [value, line.y[index]]).filter(([, value]) => value !== null);
    const kind = `series-${series % 3}`;
    drawn.append(svg("path", { class: `line ${kind}`, d: path(points) }));
    const marks = line.marks ?? (points.length === 1 ? [3] : []);
    marks.forEach((r, index) => {
      const [one, other] = points[index];
      drawn.append(svg("circle", { class: `mark ${kind}`, cx: x(one), cy: y(other), r }));
    });
    const row = legend + 16 * series;
    drawn.append(svg("path", { class: `line ${kind}`, d: `M${left} ${row - 4}h30` }));
    drawn.append(svg("text", { x: left + 38, y: row }, line.name));
  });
  return { drawn, x, y };
}
