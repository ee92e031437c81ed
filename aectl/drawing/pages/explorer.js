// What hands and keys do, and what the page answers.

const $ = (id) => document.getElementById(id);
const NEAREST = 6, DRAWS = 6, STEPS = 9, FIRST = 16, LAP = 4000; // of images, draws, steps from A to B, sliders; ms
const worded = (value) => value.toFixed(2).replace("-", "−");
const calm = matchMedia("(prefers-reduced-motion: reduce)");

class State {
  constructor(facts) {
    this.z = Float32Array.from(facts.middle);
    this.axes = facts.latent === 1 ? [0, 0] : facts.order.slice(0, 2).sort((a, b) => a - b);
    this.hovered = this.selected = -1;
    this.way = [];
    this.draws = [];
  }

  // The image that is looked at.
  focus() {
    return this.hovered >= 0 ? this.hovered : this.selected;
  }

  between(t) {
    const [a, b] = this.way;
    return a.map((value, n) => (1 - t) * value + t * b[n]);
  }
}

class Explorer {
  static async open(facts) {
    const { latent, shape, decoder: spec } = facts;
    const decoder = spec.kind === "dense" ? new DenseDecoder(spec, shape) : await GridDecoder.read(spec, shape, facts.ranges);
    const sprite = await Sprite.read(facts.shown.sprite);
    const shown = new Shown(facts.shown, sprite, latent, facts.classes, facts.colours);
    const train = facts.train && { sprite: await Sprite.read(facts.train.sprite), codes: new Codes(facts.train.codes, latent) };
    return new Explorer(facts, decoder, shown, train);
  }

  constructor(facts, decoder, shown, train) {
    Object.assign(this, { facts, decoder, shown, train, state: new State(facts), drawn: -1 });
    if (decoder.grids) this.state.axes = decoder.grid.axes;
    this.plane = new Plane($("plane"), facts, shown, decoder, this.state);
    this.plane.later = () => this.render();
    this.cells = { nearest: NEAREST, draws: DRAWS, walk: STEPS };
    for (const [name, count] of Object.entries(this.cells)) this.cells[name] = this.strip($(name), count);
    this.makeLegend();
    this.makeSliders();
    this.makeAxes();
    this.listen();
    this.render();
  }

  strip(parent, count) {
    return parent ? Array.from({ length: count }, () => {
      const figure = document.createElement("figure"), canvas = canvasOf(1, 1), words = document.createElement("figcaption");
      canvas.style.aspectRatio = `${this.decoder.width} / ${this.decoder.height}`;
      figure.append(canvas, words);
      figure.className = "empty";
      parent.append(figure);
      return { figure, canvas, words };
    }) : [];
  }

  // ------------------------------------------------------------------------------------------- what is shown

  // All that follows from the state, once for each frame of the screen.
  render() {
    if (this.waiting) return;
    this.waiting = true;
    requestAnimationFrame(() => {
      this.waiting = false;
      draw(this.decoder, this.state.z, $("decoded"));
      this.showImage();
      this.showNearest();
      this.showDraws();
      this.showSliders();
      this.plane.draw();
      this.frames = (this.frames || 0) + 1;
    });
  }

  words(z) {
    const [i, j] = this.state.axes, { latent } = this.facts;
    const shown = latent <= 4 ? [...z.keys()] : i < j ? [i, j] : [j, i];
    const more = shown.length < latent ? `, and ${latent - shown.length} more` : "";
    return shown.map((n) => `z${n + 1} = ${worded(z[n])}`).join(", ") + more;
  }

  showImage() {
    const { state, shown, decoder } = this, index = state.focus();
    $("code").textContent = `Code at the cross: ${this.words(state.z)}`;
    for (const name of ["image", "again"]) $(`${name}-figure`).classList.toggle("empty", index < 0);
    if (index < 0) {
      $("whose").textContent = `Touch a dot to see the ${this.facts.part} image whose code it is.`;
      return;
    }
    shown.sprite.show(index, $("image"));
    if (decoder.grids) shown.sprite.show(shown.count + index, $("again"));
    else draw(decoder, shown.codes.at(index), $("again"));
    const label = shown.word(index);
    $("whose").textContent = `${label || `image ${index + 1}`}: ${this.words(shown.codes.at(index))}`;
  }

  showNearest() {
    if (!this.train) return;
    const found = this.train.codes.nearest(this.state.z, NEAREST);
    this.cells.nearest.forEach(({ figure, canvas, words }, n) => {
      figure.className = n < found.length ? "" : "empty";
      if (n >= found.length) return;
      this.train.sprite.show(found[n][0], canvas);
      words.textContent = found[n][1].toFixed(2);
    });
  }

  showDraws() {
    const { state, shown } = this, index = state.focus();
    if (!shown.sd) return;
    if (index !== this.drawn) {
      this.drawn = index;
      const mu = index < 0 ? [] : shown.codes.at(index), sd = index < 0 ? [] : shown.sd.at(index);
      state.draws = index < 0 ? [] : this.cells.draws.map(() => mu.map((value, n) => value + sd[n] * gaussian()));
      this.cells.draws.forEach(({ figure, canvas }, n) => {
        figure.className = index < 0 ? "empty" : "";
        if (index >= 0) draw(this.decoder, state.draws[n], canvas);
      });
    }
  }

  showWalk() {
    const { way } = this.state, whole = way.length === 2;
    $("along").disabled = $("play").disabled = !whole;
    this.cells.walk.forEach(({ figure, canvas, words }, n) => {
      figure.className = whole ? "" : "empty";
      words.textContent = !whole ? "" : n === 0 ? "A" : n === STEPS - 1 ? "B" : "";
      if (whole) draw(this.decoder, this.state.between(n / (STEPS - 1)), canvas);
    });
    $("walk-hint").textContent = whole
      ? "The pictures on the straight line between the two codes. The next click is a new B."
      : way.length ? "That is A. Click a second place or dot, B."
        : "Click two places or dots: the pictures on the straight line between their codes.";
  }

  // ------------------------------------------------------------------------------------------- what changes

  // Pictures made beforehand have every latent but two in the middle, and so has the cross.
  set(z) {
    const { axes } = this.state, { middle } = this.facts;
    this.state.z = Float32Array.from(z, (value, n) => (this.decoder.grids && !axes.includes(n) ? middle[n] : value));
    this.render();
  }

  // The cross to a place of the plane; what is not of its two axes stays.
  moveTo(x, y) {
    const { state, facts } = this, z = Float32Array.from(state.z), [i, j] = state.axes;
    const held = (value, axis) => this.decoder.grids
      ? Math.min(facts.ranges[axis][1], Math.max(facts.ranges[axis][0], value)) : value;
    z[i] = held(x, i);
    if (facts.latent > 1) z[j] = held(y, j);
    this.set(z);
  }

  select(index) {
    this.state.selected = index;
    if (index >= 0) this.set(this.shown.codes.at(index));
    this.say();
    this.render();
  }

  // A place or a dot was picked: it is B, and what was picked before is A.
  pick() {
    const { state } = this;
    state.way = [...state.way, Float32Array.from(state.z)].slice(-2);
    this.stop();
    $("along").value = state.way.length === 2 ? 100 : 0;
    this.showWalk();
    this.render();
  }

  letGo() {
    Object.assign(this.state, { selected: -1, hovered: -1, way: [] });
    this.stop();
    this.showWalk();
    this.render();
  }

  walkTo(t) {
    $("along").value = 100 * t;
    this.set(this.state.between(t));
  }

  play() {
    if (this.playing || this.state.way.length < 2) return this.stop();
    this.playing = true;
    $("play").textContent = "stop";
    const began = performance.now() - (Number($("along").value) % 100) / 100 * LAP;
    const go = (now) => {
      if (!this.playing) return;
      const lap = (Math.max(0, now - began) / LAP) % 2, t = lap > 1 ? 2 - lap : lap;
      this.walkTo(calm.matches ? Math.round(t * (STEPS - 1)) / (STEPS - 1) : t);
      requestAnimationFrame(go);
    };
    requestAnimationFrame(go);
  }

  stop() {
    this.playing = false;
    $("play").textContent = "play";
  }

  say() {
    const { selected, z } = this.state;
    $("said").textContent = selected < 0 ? this.words(z) : `${this.shown.word(selected) || `image ${selected + 1}`}: ${this.words(z)}`;
  }

  // ------------------------------------------------------------------------------------------- legend, sliders, axes

  makeLegend() {
    const { shown } = this;
    if (!$("legend")) return;
    const labels = [...shown.classes, ...(shown.labels.some((label) => label < 0) ? [-1] : [])];
    const show = () => {
      for (const button of $("legend").children)
        button.setAttribute("aria-pressed", !shown.hidden.has(Number(button.dataset.label)));
      this.render();
    };
    for (const label of labels) {
      const button = document.createElement("button"), dot = document.createElement("i");
      dot.style.background = label < 0 ? "#8c8c8c" : shown.colours[shown.classes.indexOf(label)];
      button.dataset.label = label;
      button.append(dot, label < 0 ? "none" : String(label));
      button.addEventListener("click", (event) => {
        event.shiftKey ? shown.only(label, labels) : shown.toggle(label);
        show();
      });
      button.addEventListener("dblclick", (event) => {
        if (event.shiftKey) return;
        shown.only(label, labels);
        show();
      });
      $("legend").append(button);
    }
    show();
  }

  makeSliders() {
    this.sliders = [];
    if (!$("latents")) return;
    const { facts } = this;
    facts.order.forEach((axis, rank) => {
      const label = document.createElement("label"), slider = document.createElement("input");
      const value = document.createElement("output"), weight = document.createElement("small");
      const [low, high] = facts.ranges[axis];
      Object.assign(slider, { type: "range", min: low, max: high, step: "any", id: `z${axis + 1}` });
      label.htmlFor = slider.id;
      label.textContent = slider.id;
      weight.textContent = facts.weights[axis].toFixed(2);
      slider.addEventListener("input", () => {
        const z = Float32Array.from(this.state.z);
        z[axis] = Number(slider.value);
        this.set(z);
      });
      const parts = [label, slider, value, weight];
      for (const part of parts) part.hidden = rank >= FIRST;
      $("latents").append(...parts);
      this.sliders.push({ axis, slider, value, parts });
    });
    const more = facts.latent - FIRST;
    $("rest").hidden = more <= 0;
    $("rest").textContent = `${more} more`;
    $("rest").addEventListener("click", () => {
      for (const { parts } of this.sliders) for (const part of parts) part.hidden = false;
      $("rest").hidden = true;
    });
    $("centre").addEventListener("click", () => this.set(facts.middle));
  }

  showSliders() {
    for (const { axis, slider, value } of this.sliders) {
      slider.value = this.state.z[axis];
      value.textContent = worded(this.state.z[axis]);
    }
  }

  makeAxes() {
    const { facts, state, decoder } = this;
    const show = (axes) => {
      state.axes = axes;
      if (decoder.grids) decoder.choose(axes);
      this.plane.mapKey = "";
      this.plane.fit();
      if (decoder.grids) this.set(facts.middle);
      this.showWalk();
      this.render();
    };
    const option = (text, value, chosen) => new Option(text, value, chosen, chosen);
    if ($("pair"))
      for (const [n, { axes }] of decoder.grids.entries())
        $("pair").append(option(`z${axes[0] + 1} and z${axes[1] + 1}`, n, n === 0));
    $("pair")?.addEventListener("change", () => show(decoder.grids[Number($("pair").value)].axes));
    if (!$("across")) return;
    ["across", "up"].forEach((id, n) => {
      for (const axis of facts.order) $(id).append(option(`z${axis + 1}`, axis, axis === state.axes[n]));
      $(id).addEventListener("change", () => {
        const axes = [Number($("across").value), Number($("up").value)];
        if (axes[0] === axes[1]) axes[1 - n] = state.axes[n]; // they change places
        [$("across").value, $("up").value] = axes;
        show(axes);
      });
    });
  }

  // ------------------------------------------------------------------------------------------- hands and keys

  listen() {
    const canvas = $("plane");
    this.fingers = new Map();
    canvas.addEventListener("pointerdown", (event) => this.down(event));
    canvas.addEventListener("pointermove", (event) => this.move(event));
    for (const name of ["pointerup", "pointercancel"]) canvas.addEventListener(name, (event) => this.up(event));
    canvas.addEventListener("pointerleave", () => this.hover(-1));
    canvas.addEventListener("wheel", (event) => {
      event.preventDefault();
      this.plane.zoom(Math.exp(-event.deltaY / 400), event.offsetX, event.offsetY);
      this.render();
    }, { passive: false });
    document.addEventListener("keydown", (event) => this.key(event));
    new ResizeObserver(() => {
      const kept = this.plane.scale / this.plane.whole, { centre } = this.plane;
      this.plane.fit();
      if (kept !== 1) Object.assign(this.plane, { scale: kept * this.plane.whole, centre });
      this.render();
    }).observe(canvas);
    const zoom = (factor) => {
      const { width, height } = this.plane.size();
      this.plane.zoom(factor, width / 2, height / 2);
      this.render();
    };
    $("closer").addEventListener("click", () => zoom(1.4));
    $("further").addEventListener("click", () => zoom(1 / 1.4));
    $("whole").addEventListener("click", () => {
      this.plane.fit();
      this.render();
    });
    for (const button of document.querySelectorAll("[data-view]"))
      button.addEventListener("click", () => {
        this.plane.view = button.dataset.view;
        for (const other of document.querySelectorAll("[data-view]"))
          other.setAttribute("aria-pressed", other === button);
        this.render();
      });
    $("along").addEventListener("input", () => {
      this.stop();
      this.walkTo(Number($("along").value) / 100);
    });
    $("play").addEventListener("click", () => this.play());
    $("redraw")?.addEventListener("click", () => {
      this.drawn = -2;
      this.render();
    });
    $("help").addEventListener("click", () => $("keys").showModal());
    const dark = matchMedia("(prefers-color-scheme: dark)");
    dark.addEventListener("change", () => this.render());
    $("theme").addEventListener("click", () => {
      const root = document.documentElement, now = root.dataset.theme || (dark.matches ? "dark" : "light");
      root.dataset.theme = now === "dark" ? "light" : "dark";
      this.render();
    });
  }

  hover(index) {
    if (this.state.hovered === index) return;
    this.state.hovered = index;
    this.render();
  }

  down(event) {
    $("plane").setPointerCapture(event.pointerId);
    this.fingers.set(event.pointerId, [event.offsetX, event.offsetY]);
    this.began = [event.offsetX, event.offsetY];
    this.moved = this.fingers.size > 1;
    this.stop();
    if (this.plane.dotAt(event.offsetX, event.offsetY, 8) < 0 && this.fingers.size === 1)
      this.moveTo(...this.plane.place(event.offsetX, event.offsetY));
  }

  move(event) {
    const { offsetX: x, offsetY: y } = event;
    if (!this.fingers.has(event.pointerId)) return this.hover(this.plane.dotAt(x, y));
    const before = [...this.fingers.values()];
    this.fingers.set(event.pointerId, [x, y]);
    if (this.fingers.size === 2) return this.pinch(before, [...this.fingers.values()]);
    if (!this.moved && Math.hypot(x - this.began[0], y - this.began[1]) < 5) return;
    this.moved = true;
    this.moveTo(...this.plane.place(x, y));
    this.hover(this.plane.dotAt(x, y));
  }

  pinch(before, after) {
    const far = ([[a, b], [c, d]]) => Math.hypot(a - c, b - d);
    const middle = after[0].map((value, n) => (value + after[1][n]) / 2);
    this.plane.zoom(far(after) / Math.max(1, far(before)), ...middle);
    this.render();
  }

  up(event) {
    if (!this.fingers.delete(event.pointerId) || this.moved || event.type === "pointercancel") return;
    const index = this.plane.dotAt(event.offsetX, event.offsetY);
    this.select(index);
    if (index < 0) this.moveTo(...this.plane.place(event.offsetX, event.offsetY));
    this.pick();
  }

  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || $("keys").open) return;
    const onPlane = document.activeElement === $("plane"), { scale } = this.plane;
    const step = (event.shiftKey ? 40 : 8) / scale, [i, j] = this.state.axes, { z } = this.state;
    const steps = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };
    if (event.key === "?") $("keys").showModal();
    else if (event.key === "Escape") this.letGo();
    else if (onPlane && steps[event.key]) {
      const [dx, dy] = steps[event.key];
      this.moveTo(z[i] + dx * step, z[j] + dy * step);
      this.hover(this.plane.dotAt(...this.plane.spotOf(this.state.z)));
      this.say();
    } else if (onPlane && event.key === "Enter") this.pick();
    else if (onPlane && event.key === " ") this.play();
    else if (event.key === "[" || event.key === "]") this.next(event.key === "[" ? -1 : 1);
    else return;
    event.preventDefault();
  }

  // The image after the selected one, or before it, that the legend does not hide.
  next(step) {
    const { count } = this.shown, start = this.state.selected < 0 && step < 0 ? count : this.state.selected;
    for (let n = 1; n <= count; n++) {
      const index = (((start + n * step) % count) + count) % count;
      if (this.shown.seen(index)) {
        this.state.hovered = -1;
        return this.select(index);
      }
    }
  }
}

Explorer.open(JSON.parse($("document").textContent)).then((explorer) => {
  window.explorer = explorer;
});
