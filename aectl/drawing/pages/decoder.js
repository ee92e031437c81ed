// From a code to a picture: `decode(z)` gives values in [0, 1], channel by channel.

const sigmoid = (x) => 1 / (1 + Math.exp(-x));

// Abramowitz and Stegun 7.1.26, exact to 1.5e-7.
function erf(x) {
  const t = 1 / (1 + 0.3275911 * Math.abs(x));
  const poly = ((((1.061405429 * t - 1.453152027) * t + 1.421413741) * t - 0.284496736) * t + 0.254829592) * t;
  return Math.sign(x) * (1 - poly * Math.exp(-x * x));
}

const ACTIVATIONS = {
  leaky_relu: (x, slope) => (x < 0 ? slope * x : x),
  relu: (x) => Math.max(0, x),
  tanh: Math.tanh,
  sigmoid,
  elu: (x) => (x < 0 ? Math.expm1(x) : x),
  silu: (x) => x * sigmoid(x),
  gelu: (x) => 0.5 * x * (1 + erf(x / Math.SQRT2)),
};

// E[x|z] of what the decoder gives.
const LINKS = {
  identity: (x) => x,
  sigmoid,
  continuous_bernoulli: (x) => {
    const a = x / 2;
    return 0.5 + 0.5 * (Math.abs(a) < 0.1 ? a / 3 - a ** 3 / 45 : 1 / Math.tanh(a) - 1 / a);
  },
};

function activated(values, name, slope) {
  if (name !== "gated") return values.map((x) => ACTIVATIONS[name](x, slope));
  const half = values.length / 2; // the second half says how much of the first goes on
  return values.subarray(0, half).map((x, i) => x * sigmoid(values[half + i]));
}

class DenseDecoder {
  constructor(spec, shape) {
    Object.assign(this, spec);
    [this.channels, this.height, this.width] = shape;
    const numbers = floatsOf(spec.weights, spec.precision);
    let at = 0;
    this.layers = spec.sizes.map(([inputs, outputs]) => {
      const weight = numbers.subarray(at, (at += inputs * outputs));
      return { inputs, weight, bias: numbers.subarray(at, (at += outputs)) };
    });
  }

  decode(z) {
    let values = Float32Array.from(z);
    this.layers.forEach(({ inputs, weight, bias }, index) => {
      const next = new Float32Array(bias.length);
      for (let row = 0, at = 0; row < bias.length; row++) {
        let sum = bias[row];
        for (let i = 0; i < inputs; i++) sum += weight[at++] * values[i];
        next[row] = sum;
      }
      values = index === this.layers.length - 1 ? next : activated(next, this.activation, this.slope);
    });
    return values.map(LINKS[this.link]);
  }
}

// Pictures made beforehand, blended between the four cells around a place.
class GridDecoder {
  static async read(spec, shape, ranges) {
    const decoder = Object.assign(new GridDecoder(), { channels: shape[0], ranges });
    decoder.grids = await Promise.all(
      spec.grids.map(async (grid) => ({ ...grid, sprite: await Sprite.read(grid.sprite) })));
    [decoder.width, decoder.height] = [decoder.grids[0].sprite.width, decoder.grids[0].sprite.height];
    decoder.choose(decoder.grids[0].axes);
    return decoder;
  }

  choose(axes) {
    this.grid = this.grids.find((grid) => grid.axes.join() === axes.join());
    this.cells = [];
  }

  cell(column, row) {
    const index = row * this.grid.across + column;
    if (!this.cells[index]) {
      const { data } = this.grid.sprite.pixels(index), size = this.width * this.height;
      const values = new Float32Array(this.channels * size);
      for (let c = 0; c < this.channels; c++)
        for (let i = 0; i < size; i++) values[c * size + i] = data[4 * i + c] / 255;
      this.cells[index] = values;
    }
    return this.cells[index];
  }

  decode(z) {
    const [column, row] = this.grid.axes.map((axis, n) => {
      const [low, high] = this.ranges[axis], last = (n ? this.grid.up : this.grid.across) - 1;
      return Math.min(last, Math.max(0, last ? ((z[axis] - low) / (high - low)) * last : 0));
    });
    const [left, low] = [Math.floor(column), Math.floor(row)], [u, v] = [column - left, row - low];
    const right = Math.min(left + 1, this.grid.across - 1), top = Math.min(low + 1, this.grid.up - 1);
    const [a, b, c, d] = [this.cell(left, low), this.cell(right, low), this.cell(left, top), this.cell(right, top)];
    return a.map((x, i) => (1 - v) * ((1 - u) * x + u * b[i]) + v * ((1 - u) * c[i] + u * d[i]));
  }
}

// What is decoded on a canvas, a pixel for a pixel.
function draw(decoder, z, canvas) {
  const { width, height, channels } = decoder, size = width * height, values = decoder.decode(z);
  if (canvas.width !== width || canvas.height !== height) [canvas.width, canvas.height] = [width, height];
  const image = new ImageData(width, height);
  for (let i = 0; i < size; i++) {
    for (let c = 0; c < 3; c++) image.data[4 * i + c] = Math.round(255 * values[channels === 3 ? c * size + i : i]);
    image.data[4 * i + 3] = 255;
  }
  canvas.getContext("2d").putImageData(image, 0, 0);
}
