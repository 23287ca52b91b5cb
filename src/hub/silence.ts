/** A watch over a connection: aborts it when nothing has been heard for a while, or when the user stops the command. */
export class Silence {
  /** True once the connection was ended because it was silent. */
  fired = false;
  private readonly controller = new AbortController();
  private readonly timer: NodeJS.Timeout;
  private readonly user: AbortSignal | undefined;
  private readonly stop = () => this.controller.abort();

  constructor(milliseconds: number, user: AbortSignal | undefined) {
    this.user = user;
    user?.addEventListener('abort', this.stop, { once: true });
    this.timer = setTimeout(() => {
      this.fired = true;
      this.stop();
    }, milliseconds);
  }

  /** For `fetch`. */
  get signal(): AbortSignal {
    return this.controller.signal;
  }

  /** Something has arrived: wait anew. */
  heard(): void {
    this.timer.refresh();
  }

  /** Stop watching; what is still open is closed. */
  end(): void {
    clearTimeout(this.timer);
    this.user?.removeEventListener('abort', this.stop);
    this.stop();
  }
}
