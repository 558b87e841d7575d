// QR codes as pictures: of a text, and of what was drawn on a terminal.
import jpeg from 'jpeg-js';
import { PNG } from 'pngjs';
import encodeQr from 'qr';

const MODULE_PIXELS = 6;

/** True is dark. */
type Modules = readonly (readonly boolean[])[];

/** The modules of a drawing in half blocks, where what is drawn is light; of a last line the lower half is none. */
export const modulesOf = (drawing: string): Modules => {
  const lines = drawing.trimEnd().split('\n');
  const rows = lines.flatMap((line) => ['█▀', '█▄'].map((light) => [...line].map((block) => !light.includes(block))));
  return rows.slice(0, rows[0]?.length);
};

/** The modules of a text's QR code. */
export const modulesFor = (text: string): Modules => encodeQr(text, 'raw');

const pixelsOf = (modules: Modules) => {
  const [width, height] = [(modules[0]?.length ?? 0) * MODULE_PIXELS, modules.length * MODULE_PIXELS];
  const data = Buffer.alloc(width * height * 4, 255);
  for (let at = 0; at < width * height; at++) {
    const [x, y] = [at % width, Math.floor(at / width)];
    if (modules[Math.floor(y / MODULE_PIXELS)]?.[Math.floor(x / MODULE_PIXELS)] === true)
      data.fill(0, at * 4, at * 4 + 3);
  }
  return { width, height, data };
};

/** A PNG file; `clear` has nothing where it is light. */
export const pngOf = (modules: Modules, options: { readonly clear?: boolean } = {}): Buffer => {
  const { width, height, data } = pixelsOf(modules);
  const png = new PNG({ width, height });
  png.data = data;
  if (options.clear === true)
    for (let at = 0; at < data.length; at += 4) if (data[at] === 255) data.fill(0, at, at + 4);
  return PNG.sync.write(png);
};

/** A JPEG file of middling quality. */
export const jpegOf = (modules: Modules): Buffer => Buffer.from(jpeg.encode(pixelsOf(modules), 50).data);
