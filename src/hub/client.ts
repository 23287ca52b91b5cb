/**
 * Requests to a hub: the token goes to the endpoint's own origin and nowhere else, redirects are followed by hand, answers
 * in JSON are bounded and checked, and every failure is one clear line.
 */
import type { z } from 'zod';
import { errorCode } from '../checkpoint/json-file.ts';
import { show } from '../checkpoint/show.ts';
import { InterruptedError, RunError } from '../errors.ts';
import type { HubEnvironment } from './environment.ts';
import { type Asked, failedAnswer, refusal } from './refusal.ts';
import { Silence } from './silence.ts';
import { type Patience, persist, TransientError } from './transient.ts';

const mostRedirects = 10;
const mostPages = 100;
/** Far more than the thousand files a hub lists per page take. */
const largestAnswer = 16 * 2 ** 20;
const mirrorHint = 'check HF_ENDPOINT';

/** An answer, and what the hub itself (not the host it redirects to) says the content is. */
export interface Answer {
  response: Response;
  etag: string | null;
}

export interface ClientOptions {
  environment: HubEnvironment;
  repository: string;
  revision: string;
  patience: Patience;
  signal: AbortSignal | undefined;
}

export class HubClient {
  readonly environment: HubEnvironment;
  readonly patience: Patience;
  readonly signal: AbortSignal | undefined;
  private readonly asked: Asked;
  private readonly origin: string;

  constructor({ environment, repository, revision, patience, signal }: ClientOptions) {
    this.environment = environment;
    this.patience = patience;
    this.signal = signal;
    const { endpoint, token } = environment;
    this.asked = { repository, revision, endpoint, hasToken: token !== null };
    this.origin = new URL(endpoint).origin;
  }

  /** @throws InterruptedError after Ctrl-C. */
  checkInterrupted(): void {
    if (this.signal?.aborted) throw new InterruptedError('interrupted; the same command goes on where it stopped');
  }

  /**
   * One GET, redirects followed, and what `read` makes of its answer; given up when nothing arrives for a while.
   * @throws TransientError, InterruptedError, or what the hub's refusal means
   */
  async get<T>(
    url: string,
    headers: Record<string, string>,
    read: (answer: Answer, chunks: AsyncIterable<Uint8Array>) => Promise<T>,
  ): Promise<T> {
    this.checkInterrupted();
    const silence = new Silence(this.environment.silenceMilliseconds, this.signal);
    try {
      const answer = await this.follow(url, headers, silence);
      return await read(answer, this.chunks(answer.response, silence));
    } catch (error) {
      this.checkInterrupted();
      if (!silence.fired) throw error;
      const seconds = this.environment.silenceMilliseconds / 1000;
      throw new TransientError(`${new URL(url).origin}: sent nothing for ${seconds} s`, 'check the network; run again');
    } finally {
      silence.end();
    }
  }

  /** `fetch` for the hub's library: what it gets is bounded, and as the schema says. */
  jsonFetch(schema: z.ZodType): typeof fetch {
    let pages = 0;
    return async (input) => {
      const url = input instanceof Request ? input.url : String(input);
      if (++pages > mostPages) throw new RunError(`${url}: more than ${mostPages} pages of files, expected fewer`);
      const read = () =>
        this.get(url, { accept: 'application/json' }, async ({ response }, chunks) => ({
          text: await boundedText(chunks, url),
          link: response.headers.get('link'),
        }));
      // Someone without a network should not wait long to be told.
      const tries = Math.min(2, this.patience.tries);
      const { text, link } = await persist(read, { ...this.patience, tries }, { signal: this.signal });
      checkAnswer(text, schema, url);
      return new Response(text, { headers: link === null ? {} : { link } });
    };
  }

  private async follow(url: string, headers: Record<string, string>, silence: Silence): Promise<Answer> {
    const { token } = this.environment;
    let at = new URL(url);
    let etag: string | null = null;
    for (let hop = 0; hop <= mostRedirects; hop++) {
      const isHub = at.origin === this.origin;
      // An address on another host is signed by itself, or none of the token's business.
      const secret: Record<string, string> = isHub && token !== null ? { authorization: `Bearer ${token}` } : {};
      const response = await this.send(at, { 'user-agent': 'kvlens', ...headers, ...secret }, silence.signal);
      silence.heard();
      if (isHub) etag = response.headers.get('x-linked-etag') ?? response.headers.get('etag') ?? etag;
      const location = response.status >= 300 && response.status < 400 ? response.headers.get('location') : null;
      if (response.ok) return { response, etag };
      if (location === null) {
        throw isHub ? refusal(response, this.asked) : failedAnswer(response, at.origin, this.asked.repository);
      }
      at = redirected(at, location);
    }
    throw new RunError(`${url}: more than ${mostRedirects} redirects, expected an answer`, mirrorHint);
  }

  private async send(url: URL, headers: Record<string, string>, signal: AbortSignal): Promise<Response> {
    try {
      return await fetch(url, { headers, signal, redirect: 'manual' });
    } catch (error) {
      throw disconnected(url.origin, 'cannot be reached', error);
    }
  }

  private async *chunks({ body, url }: Response, silence: Silence): AsyncGenerator<Uint8Array> {
    const reader = body?.getReader();
    if (!reader) return;
    for (;;) {
      const { done, value } = await reader.read().catch((error: unknown) => {
        throw disconnected(new URL(url).origin, 'broke off', error);
      });
      if (done) return;
      silence.heard();
      yield value;
    }
  }
}

function disconnected(origin: string, what: string, error: unknown): TransientError {
  const cause = error instanceof Error && error.cause !== undefined ? error.cause : error;
  const proxy = process.env.HTTPS_PROXY ?? process.env.https_proxy;
  const hint = proxy && !process.env.NODE_USE_ENV_PROXY ? 'Node uses HTTPS_PROXY only with NODE_USE_ENV_PROXY=1' : null;
  return new TransientError(
    `${origin}: ${what} (${errorCode(cause)})`,
    hint ?? 'check the network; HF_ENDPOINT names another hub',
  );
}

/** Where a redirect leads: to http or https, and not from the safe one to the other. */
function redirected(from: URL, location: string): URL {
  const to = URL.canParse(location, from.href) ? new URL(location, from.href) : null;
  if (to && (to.protocol === 'https:' || to.protocol === from.protocol)) return to;
  throw new RunError(`${from.origin}: redirects to ${show(location)}, expected an https address`, mirrorHint);
}

async function boundedText(chunks: AsyncIterable<Uint8Array>, url: string): Promise<string> {
  const parts: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of chunks) {
    bytes += chunk.length;
    if (bytes > largestAnswer)
      throw new RunError(`${url}: answers more than ${largestAnswer} bytes of JSON`, mirrorHint);
    parts.push(chunk);
  }
  return Buffer.concat(parts).toString('utf8');
}

function checkAnswer(text: string, schema: z.ZodType, url: string): void {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw new RunError(`${url}: the answer is not JSON, expected what a hub's API answers`, mirrorHint);
  }
  const issue = schema.safeParse(value).error?.issues[0];
  if (!issue) return;
  const key = issue.path.length === 0 ? 'the answer' : issue.path.join('.');
  throw new RunError(`${url}: ${key} is not what a hub's API answers`, mirrorHint);
}
