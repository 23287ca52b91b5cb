/** What bit-level results depend on besides the model: the processor and the versions of what computes. */
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { arch, cpus, platform } from 'node:os';
import { join } from 'node:path';
import { packageRoot } from '../../checkpoint/embedded.ts';
import { env } from '../../model/onnxruntime.ts';

export interface Machine {
  /** Processor model as the system names it. */
  cpu: string;
  /** First 12 hex digits of the sha256 of architecture, processor model and instruction-set flags. */
  hash: string;
}

/** This machine's processor. */
export function thisMachine(): Machine {
  const cpu = cpus()[0]?.model.trim() || 'unknown processor';
  const flags = platform() === 'linux' ? linuxFlags() : '';
  const hash = createHash('sha256').update([arch(), cpu, flags].join('\n')).digest('hex').slice(0, 12);
  return { cpu, hash };
}

/** Versions of kvlens and ONNX Runtime. */
export function versions(): { kvlens: string; onnxruntime: string } {
  const manifest: unknown = JSON.parse(readFileSync(join(packageRoot(), 'package.json'), 'utf8'));
  const kvlens = typeof manifest === 'object' && manifest !== null && 'version' in manifest ? manifest.version : '';
  return { kvlens: String(kvlens), onnxruntime: env.versions.node ?? env.versions.common };
}

function linuxFlags(): string {
  try {
    return /^(?:flags|Features)\s*:\s*(.*)$/m.exec(readFileSync('/proc/cpuinfo', 'utf8'))?.[1] ?? '';
  } catch {
    return '';
  }
}
