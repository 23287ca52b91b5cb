/** A hub with one repository, a home folder of its own for every test, and `pull` between them. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach } from 'vitest';
import { KvlensError } from '../../src/errors.ts';
import { type Pulled, type PullOptions, pull } from '../../src/hub/pull.ts';
import { miniFiles, repositoryOf } from './repositories.ts';
import { HubServer, name } from './server.ts';

/** Quick enough for a test; as many tries as in earnest. */
export const patience = { tries: 5, pauseMilliseconds: 1 };

export class HubFixture {
  /** HF_HOME */
  home = '';
  private running: HubServer | null = null;

  get server(): HubServer {
    if (!this.running) throw new Error('the hub has not started');
    return this.running;
  }

  /** Where the shared cache keeps the repository. */
  get cached(): string {
    return join(this.home, 'hub', 'models--kvlens--mini');
  }

  async start(): Promise<void> {
    this.running = await HubServer.start();
  }

  async stop(): Promise<void> {
    await this.server.stop();
  }

  reset(): void {
    this.home = mkdtempSync(join(tmpdir(), 'kvlens-hub-'));
    const { server } = this;
    server.seen = [];
    server.faults = {};
    server.pageSize = 1000;
    server.prefix = '';
    server.override = null;
    server.repositories = { [name]: repositoryOf(miniFiles()) };
  }

  pull(options: Partial<PullOptions> = {}, variables: Record<string, string> = {}): Promise<Pulled> {
    const own = { HF_HOME: this.home, HF_ENDPOINT: this.server.endpoint };
    return pull({ repository: name, patience, variables: { ...own, ...variables }, ...options });
  }

  /** What a pull that fails says. */
  async refusal(...given: Parameters<HubFixture['pull']>): Promise<KvlensError> {
    const error: unknown = await this.pull(...given).catch((reason: unknown) => reason);
    if (error instanceof KvlensError) return error;
    throw new Error(`expected an error for the user, found ${error instanceof Error ? error.stack : String(error)}`);
  }
}

/** A hub for the tests of a file. */
export function hubFixture(): HubFixture {
  const fixture = new HubFixture();
  beforeAll(() => fixture.start());
  afterAll(() => fixture.stop());
  beforeEach(() => fixture.reset());
  afterEach(() => rmSync(fixture.home, { recursive: true, force: true }));
  return fixture;
}
