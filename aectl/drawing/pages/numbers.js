// Numbers and pictures as the document has them.

function bytesOf(text) {
  return Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
}

function fromHalf(bits) {
  const sign = bits & 0x8000 ? -1 : 1, exponent = (bits >> 10) & 31, fraction = bits & 1023;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  if (exponent === 31) return fraction ? NaN : sign * Infinity;
  return sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}

// Little-endian float16 or float32 as float32.
function floatsOf(text, precision = "float32") {
  const bytes = bytesOf(text), view = new DataView(bytes.buffer);
  if (precision === "float32")
    return Float32Array.from({ length: bytes.length / 4 }, (_, i) => view.getFloat32(4 * i, true));
  const table = new Float32Array(65536);
  for (let bits = 0; bits < 65536; bits++) table[bits] = fromHalf(bits);
  const found = new Float32Array(bytes.length / 2);
  for (let i = 0; i < found.length; i++) found[i] = table[view.getUint16(2 * i, true)];
  return found;
}

function canvasOf(width, height) {
  return Object.assign(document.createElement("canvas"), { width, height });
}

// Many small pictures in one.
class Sprite {
  static async read(spec) {
    const image = new Image();
    image.src = spec.src;
    await image.decode();
    const sprite = Object.assign(new Sprite(), spec);
    sprite.sheet = canvasOf(image.naturalWidth, image.naturalHeight);
    sprite.context = sprite.sheet.getContext("2d", { willReadFrequently: true });
    sprite.context.drawImage(image, 0, 0);
    return sprite;
  }

  place(index) {
    return [(index % this.columns) * this.width, Math.floor(index / this.columns) * this.height];
  }

  pixels(index) {
    return this.context.getImageData(...this.place(index), this.width, this.height);
  }

  show(index, canvas) {
    canvas.width = this.width;
    canvas.height = this.height;
    canvas.getContext("2d").putImageData(this.pixels(index), 0, 0);
  }
}

// A standard normal number (Box and Muller).
function gaussian() {
  return Math.sqrt(-2 * Math.log(1 - Math.random())) * Math.cos(2 * Math.PI * Math.random());
}
