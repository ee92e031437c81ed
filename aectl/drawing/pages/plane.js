// The canvas on which two latents are seen: where a code lies on it, and what is drawn there.

const NEAR = 12, MAP_CELL = 34; // pixels of the screen

// Over the map, which is mostly black, in either theme.
const OVER_PICTURES = { ink: "#fff", faint: "#ddd", raised: "#000", paper: "#000", line: "#999", accent: "#7fb0e6" };

function nice(step) {
  const power = 10 ** Math.floor(Math.log10(step));
  return power * [1, 2, 5, 10].find((factor) => factor * power >= step);
}

class Plane {
  constructor(canvas, facts, shown, decoder, state) {
    Object.assign(this, { canvas, facts, shown, decoder, state });
    this.context = canvas.getContext("2d");
    this.view = "dots";
    this.tinted = null;
    this.fit();
  }

  get line() {
    return this.facts.latent === 1;
  }

  // All of the two ranges, in one scale, since distances are compared.
  fit() {
    const { width, height } = this.size(), [i, j] = this.state.axes, { ranges } = this.facts;
    const [left, right] = ranges[i], [low, high] = this.line ? [-1, 1] : ranges[j];
    this.centre = [(left + right) / 2, (low + high) / 2];
    this.scale = this.line ? width / (right - left) : Math.min(width / (right - left), height / (high - low));
    this.whole = this.scale;
  }

  size() {
    const { width, height } = this.canvas.getBoundingClientRect();
    return { width: Math.max(width, 1), height: Math.max(height, 1) };
  }

  // Pixels of the canvas of a place, and back.
  x(value) {
    return this.size().width / 2 + (value - this.centre[0]) * this.scale;
  }

  y(value) {
    const { height } = this.size();
    return this.line ? height / 2 - value * height * 0.44 : height / 2 - (value - this.centre[1]) * this.scale;
  }

  place(x, y) {
    const { width, height } = this.size();
    return [(x - width / 2) / this.scale + this.centre[0], (height / 2 - y) / this.scale + this.centre[1]];
  }

  // Where an image's dot is; with one latent those of a label lie in a row, moved up and down to be seen.
  spot(index) {
    const z = this.shown.codes.at(index), [i, j] = this.state.axes;
    if (!this.line) return [this.x(z[i]), this.y(z[j])];
    const { labels, classes } = this.shown, rows = Math.max(1, classes.length);
    const row = labels ? Math.max(0, classes.indexOf(labels[index])) : 0;
    return [this.x(z[0]), this.y((2 * (row + 0.5 + 0.7 * (((index * 0.618034) % 1) - 0.5))) / rows - 1)];
  }

  // The dot that is nearest to a place of the canvas, -1 where none is near.
  dotAt(x, y, near = NEAR) {
    let found = -1, least = near * near;
    for (let index = 0; index < this.shown.count; index++) {
      if (!this.shown.seen(index)) continue;
      const [u, v] = this.spot(index), distance = (u - x) ** 2 + (v - y) ** 2;
      if (distance < least) [found, least] = [index, distance];
    }
    return found;
  }

  zoom(factor, x, y) {
    const before = this.place(x, y);
    this.scale = Math.min(400 * this.whole, Math.max(this.whole / 4, this.scale * factor));
    const after = this.place(x, y);
    this.centre = this.centre.map((value, n) => value + before[n] - after[n]);
  }

  ink(name) {
    if (this.view === "map") return OVER_PICTURES[name];
    return getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
  }

  draw() {
    const { width, height } = this.size(), ratio = window.devicePixelRatio || 1, { context } = this;
    const [wide, tall] = [Math.round(width * ratio), Math.round(height * ratio)];
    if (this.canvas.width !== wide || this.canvas.height !== tall) [this.canvas.width, this.canvas.height] = [wide, tall];
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, width, height);
    context.font = "11px system-ui, sans-serif";
    if (this.view === "map") this.drawMap();
    this.drawTicks(width, height);
    if (this.facts.normal) this.drawPrior(height);
    this.view === "pictures" ? this.drawPictures() : this.drawDots();
    if (this.facts.normal) this.namePrior();
    if (this.view !== "map") this.drawNames();
    this.drawWay();
    this.drawPosterior();
    this.drawCross(width, height);
  }

  drawTicks(width, height) {
    const { context } = this, [i, j] = this.state.axes, step = nice(80 / this.scale);
    context.strokeStyle = this.ink("line");
    context.fillStyle = this.ink("faint");
    context.lineWidth = 1;
    context.globalAlpha = this.view === "map" ? 0.35 : 0.6;
    const [left, top] = this.place(0, 0), [right, low] = this.place(width, height);
    const digits = Math.max(0, -Math.floor(Math.log10(step)));
    context.beginPath();
    for (let value = Math.ceil(left / step) * step; value <= right; value += step) {
      context.moveTo(this.x(value), 0);
      context.lineTo(this.x(value), height);
    }
    for (let value = Math.ceil(low / step) * step; !this.line && value <= top; value += step) {
      context.moveTo(0, this.y(value));
      context.lineTo(width, this.y(value));
    }
    context.stroke();
    context.globalAlpha = 1;
    for (let value = Math.ceil(left / step) * step; value <= right; value += step)
      if (this.x(value) > 24 && this.x(value) < width - 24) this.halo(value.toFixed(digits).replace("-", "−"), this.x(value), height - 8, "center");
    for (let value = Math.ceil(low / step) * step; !this.line && value <= top; value += step)
      if (this.y(value) > 24 && this.y(value) < height - 24) this.halo(value.toFixed(digits).replace("-", "−"), 6, this.y(value) + 4, "left");
    this.halo(`z${i + 1} →`, width - 8, height - 8, "right");
    if (!this.line) this.halo(`↑ z${j + 1}`, 6, 16, "left");
  }

  halo(text, x, y, align, colour = this.ink("faint")) {
    const { context } = this;
    context.textAlign = align;
    context.strokeStyle = this.ink("raised");
    context.lineWidth = 3;
    context.lineJoin = "round";
    context.strokeText(text, x, y);
    context.fillStyle = colour;
    context.fillText(text, x, y);
  }

  // N(0, I): circles at 1 and 2 standard deviations, with one latent lines.
  drawPrior(height) {
    const { context } = this;
    context.strokeStyle = this.ink("faint");
    context.globalAlpha = 0.7;
    context.lineWidth = 1;
    context.setLineDash([4, 4]);
    for (const sigma of [1, 2]) {
      context.beginPath();
      if (this.line) {
        for (const value of [-sigma, sigma]) {
          context.moveTo(this.x(value), 0);
          context.lineTo(this.x(value), height);
        }
      } else context.arc(this.x(0), this.y(0), sigma * this.scale, 0, 2 * Math.PI);
      context.stroke();
    }
    context.setLineDash([]);
    context.globalAlpha = 1;
  }

  namePrior() {
    for (const sigma of [1, 2])
      this.line ? this.halo(`${sigma} σ`, this.x(sigma) + 4, 16, "left")
        : this.halo(`${sigma} σ of the prior`, this.x(0), this.y(sigma) - 5, "center");
  }

  drawDots() {
    const { context } = this, radius = this.shown.count > 500 ? 3 : 4;
    for (let index = 0; index < this.shown.count; index++) {
      if (!this.shown.seen(index)) continue;
      const [x, y] = this.spot(index);
      context.globalAlpha = 0.75;
      context.fillStyle = this.shown.colour(index);
      context.beginPath();
      context.arc(x, y, radius, 0, 2 * Math.PI);
      context.fill();
      if (this.view === "map") {
        context.globalAlpha = 0.9;
        context.strokeStyle = "#fff";
        context.lineWidth = 1;
        context.stroke();
      }
    }
    context.globalAlpha = 1;
  }

  drawPictures() {
    const { context } = this, { sprite } = this.shown;
    this.tinted ??= this.shown.tinted(this.facts.shape[0] === 1);
    const tall = Math.min(64, Math.max(18, 20 * Math.sqrt(this.scale / this.whole)));
    const wide = (tall * sprite.width) / sprite.height;
    for (let index = 0; index < this.shown.count; index++) {
      if (!this.shown.seen(index)) continue;
      const [x, y] = this.spot(index);
      context.drawImage(this.tinted, ...sprite.place(index), sprite.width, sprite.height,
        x - wide / 2, y - tall / 2, wide, tall);
    }
  }

  // Each label at the median of its codes: colours are not all that tells them apart.
  drawNames() {
    const { labels, classes } = this.shown, { context } = this;
    if (!labels || classes.length > 20) return;
    context.font = "bold 15px system-ui, sans-serif";
    for (const label of classes) {
      if (this.shown.hidden.has(label)) continue;
      const spots = [...labels.keys()].filter((index) => labels[index] === label).map((index) => this.spot(index));
      if (!spots.length) continue;
      const [x, y] = [0, 1].map((n) => spots.map((spot) => spot[n]).sort((a, b) => a - b)[spots.length >> 1]);
      this.halo(String(label), this.line ? 10 : x, y + 5, this.line ? "left" : "center", this.ink("ink"));
    }
    context.font = "11px system-ui, sans-serif";
  }

  // What the decoder makes of each cell; a few at a time, so that the page goes on answering.
  drawMap() {
    const { width, height } = this.size(), [i, j] = this.state.axes, step = MAP_CELL;
    const rest = this.state.z.map((value, n) => (n === i || n === j ? 0 : value));
    const key = [width, height, this.scale, ...this.centre, i, j, ...rest].join();
    if (key !== this.mapKey) {
      this.mapKey = key;
      this.map = canvasOf(width, height);
      this.todo = [];
      for (let y = 0; y < (this.line ? 1 : height); y += step)
        for (let x = 0; x < width; x += step) this.todo.push([x, y]);
      const far = ([x, y]) => Math.hypot(x + step / 2 - width / 2, this.line ? 0 : y + step / 2 - height / 2);
      this.todo.sort((one, other) => far(other) - far(one)); // taken from the end: the middle first
      this.tile = canvasOf(1, 1);
    }
    const began = performance.now();
    while (this.todo.length && performance.now() - began < 14) {
      const [x, y] = this.todo.pop(), z = Float32Array.from(this.state.z);
      [z[i], z[j]] = this.line ? [this.place(x + step / 2, 0)[0]] : this.place(x + step / 2, y + step / 2);
      if (this.line) z[0] = this.place(x + step / 2, 0)[0];
      draw(this.decoder, z, this.tile);
      const rows = this.line ? Math.ceil(height / step) : 1;
      for (let row = 0; row < rows; row++) this.map.getContext("2d").drawImage(this.tile, x, y + row * step, step, step);
    }
    this.context.drawImage(this.map, 0, 0, width, height);
    if (this.todo.length) this.later();
  }

  drawWay() {
    const { context } = this, { way } = this.state;
    if (!way.length) return;
    const spots = way.map((z) => this.spotOf(z));
    context.strokeStyle = this.ink("ink");
    context.lineWidth = 2;
    context.beginPath();
    context.moveTo(...spots[0]);
    context.lineTo(...spots[spots.length - 1]);
    context.stroke();
    context.font = "bold 13px system-ui, sans-serif";
    spots.forEach(([x, y], index) => {
      context.fillStyle = this.ink("ink");
      context.beginPath();
      context.arc(x, y, 4, 0, 2 * Math.PI);
      context.arc(x + 16, y - 16, 10, 0, 2 * Math.PI);
      context.fill();
      context.fillStyle = this.ink("paper");
      context.textAlign = "center";
      context.fillText("AB"[index], x + 16, y - 11.5);
    });
    context.font = "11px system-ui, sans-serif";
  }

  spotOf(z) {
    const [i, j] = this.state.axes;
    return [this.x(z[i]), this.line ? this.y(0) : this.y(z[j])];
  }

  // The centre and the half axes of q(z|x) at 1 σ in pixels of the canvas; null where there is none.
  ellipse(index) {
    if (index < 0 || !this.shown.sd) return null;
    const sd = this.shown.sd.at(index), [i, j] = this.state.axes, [x, y] = this.spot(index);
    return { x, y, across: sd[i] * this.scale, up: this.line ? 0 : sd[j] * this.scale };
  }

  drawPosterior() {
    const { context, state } = this, index = state.focus(), found = this.ellipse(index);
    if (index < 0) return;
    const [x, y] = this.spot(index);
    context.lineWidth = 2;
    context.strokeStyle = this.ink("ink");
    context.fillStyle = this.shown.colour(index);
    for (const sigma of found ? [2, 1] : []) {
      context.beginPath();
      context.ellipse(x, y, sigma * found.across, Math.max(this.line ? 4 : 0, sigma * found.up), 0, 0, 2 * Math.PI);
      context.globalAlpha = 0.25;
      context.fill();
      context.globalAlpha = 1;
      context.lineWidth = sigma === 1 ? 2 : 1;
      context.stroke();
    }
    for (const z of found ? state.draws : []) {
      const [u, v] = this.line ? [this.x(z[0]), y] : this.spotOf(z);
      context.beginPath();
      context.arc(u, v, 2.5, 0, 2 * Math.PI);
      context.fillStyle = this.ink("ink");
      context.fill();
    }
    context.beginPath();
    context.arc(x, y, 6, 0, 2 * Math.PI);
    context.lineWidth = 2;
    context.stroke();
  }

  drawCross(width, height) {
    const { context } = this, [x, y] = this.spotOf(this.state.z);
    for (const [colour, thick] of [[this.ink("paper"), 4], [this.ink("accent"), 2]]) {
      context.strokeStyle = colour;
      context.lineWidth = thick;
      context.beginPath();
      if (this.line) {
        context.moveTo(x, 0);
        context.lineTo(x, height);
      } else {
        for (const [dx, dy] of [[1, 0], [-1, 0], [0, 1], [0, -1]]) {
          context.moveTo(x + 5 * dx, y + 5 * dy);
          context.lineTo(x + 15 * dx, y + 15 * dy);
        }
      }
      context.stroke();
    }
  }
}
