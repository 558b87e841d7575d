// The line that is drawn over while a file goes: as wide as the terminal, its counts always in sight.
import type { FileObject } from '../protocol/rpc-objects.ts';
import { safeFileName } from '../protocol/safe-text.ts';
import { sizeText } from './show.ts';

const COLUMNS_DEFAULT = 80;
const CELLS_MAX = 30;
const NAME_MIN = 8;

/** Name, bar and counts of a transfer in `terminalColumns`; a name that is too long loses its middle, and the bar its cells last. */
export const barText = (file: FileObject, terminalColumns: number | undefined): string => {
  // A terminal that does not know its width says 0.
  const columns = terminalColumns || COLUMNS_DEFAULT;
  const part = file.sizeBytes === 0 ? 1 : file.transferredBytes / file.sizeBytes;
  const counts = `${Math.round(part * 100)} %  ${sizeText(file.transferredBytes)}`;
  const room = columns - counts.length - 2;
  const cells = Math.max(0, Math.min(CELLS_MAX, room - NAME_MIN));
  const full = Math.round(part * cells);
  const name = cutInside(safeFileName(file.name), Math.max(NAME_MIN, room - cells));
  return `${name} ${'█'.repeat(full)}${'░'.repeat(cells - full)} ${counts}`;
};

// Beginning and ending tell files apart, and what kind they are.
const cutInside = (name: string, length: number): string => {
  const letters = [...name];
  if (letters.length <= length) return name;
  const tail = Math.floor((length - 1) / 2);
  return `${letters.slice(0, length - 1 - tail).join('')}…${letters.slice(-tail).join('')}`;
};
