/**
 * Bytes read in blocks that are kept for a while. Every figure opens the tables it needs, and opening an Arrow file takes dozens of
 * reads of some bytes: each would be a request, or a task of the browser's.
 */
import type { ArrowSource } from '../../store/arrow-source.ts';

const defaultBlock = 1 << 20;
/** So many blocks of a file are kept; those that were not read for longest go first. */
const defaultMost = 16;

/** The same bytes, read and kept by block, by every reader of it: closing it forgets nothing. */
export function buffered(source: ArrowSource, { block = defaultBlock, most = defaultMost } = {}): ArrowSource {
  const { size } = source;
  const kept = new Map<number, Promise<Uint8Array>>();
  const blockAt = (index: number): Promise<Uint8Array> => {
    const found = kept.get(index) ?? source.read(index * block, Math.min(block, size - index * block));
    kept.delete(index);
    kept.set(index, found);
    for (const oldest of kept.keys()) {
      if (kept.size <= most) break;
      kept.delete(oldest);
    }
    // What failed once may succeed later.
    found.catch(() => kept.get(index) === found && kept.delete(index));
    return found;
  };
  const read = async (position: number, length: number) => {
    const end = Math.min(size, position + length);
    const bytes = new Uint8Array(Math.max(0, end - position));
    for (let at = position; at < end; ) {
      const index = Math.floor(at / block);
      const part = (await blockAt(index)).subarray(at - index * block, end - index * block);
      if (part.length === 0) return bytes.subarray(0, at - position);
      bytes.set(part, at - position);
      at += part.length;
    }
    return bytes;
  };
  return { size, read, close: () => Promise.resolve() };
}
