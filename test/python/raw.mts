/**
 * Raw dumps beside a run, for comparison by other readers: the numbers of activation rows as little-endian float32 or
 * float64, one file per kind, and index.json that says which row lies where. Nothing of `src/store` is used.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { endianness } from 'node:os';
import { join } from 'node:path';

export interface RawRow {
  condition: string;
  prompt: string;
  arm: string;
  step: number;
  position: number;
  token: number;
  layer: number;
  hook: string;
}

export class RawDump {
  private readonly kinds = new Map<string, { type: 'f32' | 'f64'; rows: object[]; chunks: Buffer[]; bytes: number }>();

  add(kind: string, row: RawRow, values: Float32Array | Float64Array): void {
    if (endianness() !== 'LE') throw new Error('raw dumps are written on little-endian machines');
    const type = values instanceof Float64Array ? 'f64' : 'f32';
    const found = this.kinds.get(kind) ?? { type, rows: [], chunks: [], bytes: 0 };
    this.kinds.set(kind, found);
    const bytes = Buffer.from(values.slice().buffer);
    found.rows.push({ ...row, offset: found.bytes, length: values.length });
    found.chunks.push(bytes);
    found.bytes += bytes.length;
  }

  write(dir: string): void {
    mkdirSync(dir, { recursive: true });
    const index: Record<string, object> = {};
    for (const [kind, { type, rows, chunks }] of this.kinds) {
      writeFileSync(join(dir, `${kind}.bin`), Buffer.concat(chunks));
      index[kind] = { type, rows };
    }
    writeFileSync(join(dir, 'index.json'), JSON.stringify(index));
  }
}
