// The images' codes, and which of them are shown.

class Codes {
  constructor(text, latent) {
    this.latent = latent;
    this.values = floatsOf(text);
    this.count = this.values.length / latent;
  }

  at(index) {
    return this.values.subarray(index * this.latent, (index + 1) * this.latent);
  }

  // The `k` nearest to z by distance in all latents: [index, distance], the nearest first.
  nearest(z, k) {
    const found = [];
    for (let index = 0; index < this.count; index++) {
      let sum = 0;
      for (let n = 0; n < this.latent; n++) sum += (this.values[index * this.latent + n] - z[n]) ** 2;
      if (found.length < k || sum < found[found.length - 1][1]) {
        found.push([index, sum]);
        found.sort((one, other) => one[1] - other[1]);
        found.length = Math.min(found.length, k);
      }
    }
    return found.map(([index, sum]) => [index, Math.sqrt(sum)]);
  }
}

class Shown {
  constructor(spec, sprite, latent, classes, colours) {
    Object.assign(this, { sprite, classes, colours, labels: spec.labels });
    this.codes = new Codes(spec.codes, latent);
    this.sd = spec.sd && new Codes(spec.sd, latent);
    this.count = this.codes.count;
    this.hidden = new Set();
  }

  seen(index) {
    return !this.labels || !this.hidden.has(this.labels[index]);
  }

  colour(index) {
    if (!this.labels) return "#3b6ea8";
    const place = this.classes.indexOf(this.labels[index]);
    return place < 0 ? "#8c8c8c" : this.colours[place];
  }

  word(index) {
    return this.labels && this.labels[index] >= 0 ? `label ${this.labels[index]}` : "";
  }

  toggle(label) {
    this.hidden.has(label) ? this.hidden.delete(label) : this.hidden.add(label);
  }

  // Only this label; all of them where it is the only one already.
  only(label, labels) {
    const others = labels.filter((one) => one !== label);
    const alone = !this.hidden.has(label) && others.every((one) => this.hidden.has(one));
    this.hidden = new Set(alone ? [] : others);
  }

  // Grey images in the colours of their labels, their background clear; colour images as they are.
  tinted(grey) {
    if (!grey) return this.sprite.sheet;
    const { sheet, context } = this.sprite, image = context.getImageData(0, 0, sheet.width, sheet.height);
    const { data } = image;
    let sum = 0;
    for (let i = 0; i < data.length; i += 4) sum += data[i];
    const inverse = sum / (data.length / 4) > 127;
    for (let index = 0; index < this.count; index++) {
      const [x, y] = this.sprite.place(index), colour = parseInt(this.colour(index).slice(1), 16);
      for (let row = y; row < y + this.sprite.height; row++)
        for (let column = x; column < x + this.sprite.width; column++) {
          const at = 4 * (row * sheet.width + column), value = data[at];
          data.set([colour >> 16, (colour >> 8) & 255, colour & 255, inverse ? 255 - value : value], at);
        }
    }
    const found = canvasOf(sheet.width, sheet.height);
    found.getContext("2d").putImageData(image, 0, 0);
    return found;
  }
}
