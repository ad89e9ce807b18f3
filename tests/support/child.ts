import { existsSync } from "node:fs";
import { join } from "node:path";

const ROOT = join(import.meta.dir, "../..");
/** Far more than anything takes; a slow machine must not fail. */
const DEADLINE_MS = 60_000;

/** The program as people run it from a clone. */
export const FROM_SOURCE = [process.execPath, join(ROOT, "src/main.ts")];

/** How a child is started. Of this process's own environment it gets nothing but PATH and HOME. */
export interface ChildOptions {
  readonly cwd: string;
  readonly env?: Record<string, string>;
  /** Whether the processes that it starts in turn get its signals, too, and end with it. */
  readonly isGroup?: boolean;
}

/**
 * A process that a test started, and what it has written so far.
 *
 * Use it with `await using`: nothing of it is left when the test is over, whatever happened.
 */
export class Child {
  readonly #process: Bun.Subprocess<"ignore", "pipe", "pipe">;
  readonly #read: Promise<unknown>;
  readonly #isGroup: boolean;
  readonly #onOutput = new Set<() => void>();
  stdout = "";
  stderr = "";

  constructor(command: readonly string[], { cwd, env = {}, isGroup = false }: ChildOptions) {
    this.#isGroup = isGroup;
    const { PATH = "", HOME = "" } = process.env;
    this.#process = Bun.spawn([...command], {
      cwd,
      env: { PATH, HOME, ...env },
      stdin: "ignore",
      stdout: "pipe",
      stderr: "pipe",
      detached: isGroup,
    });
    this.#read = Promise.all([
      this.#collect(this.#process.stdout, (text) => (this.stdout += text)),
      this.#collect(this.#process.stderr, (text) => (this.stderr += text)),
    ]);
  }

  /** What `pattern` finds in the output, as soon as it is there; throws when the child ends or is too slow. */
  async find(pattern: RegExp): Promise<RegExpExecArray> {
    const found = Promise.withResolvers<RegExpExecArray>();
    const look = () => {
      const match = pattern.exec(this.stdout) ?? pattern.exec(this.stderr);
      if (match) found.resolve(match);
    };
    const fail = (why: string) => found.reject(new Error(`${why}, without ${pattern}:\n${this.#output()}`));
    const timer = setTimeout(() => fail(`${DEADLINE_MS} ms are over`), DEADLINE_MS);
    this.#onOutput.add(look);
    look();
    void this.#read.then(() => fail("the process has ended"));
    try {
      return await found.promise;
    } finally {
      clearTimeout(timer);
      this.#onOutput.delete(look);
    }
  }

  /** The process id. */
  get pid(): number {
    return this.#process.pid;
  }

  /** The address in the log line of a service that has started. */
  async serviceUrl(): Promise<string> {
    const [, url = ""] = await this.find(/"event":"service\.started","url":"([^"]+)"/);
    return url;
  }

  /** Sends a signal. */
  signal(signal: NodeJS.Signals): void {
    if (!this.#isGroup) return this.#process.kill(signal);
    const { exitCode, signalCode } = this.#process;
    // Once it was collected and nobody of its group is left, the number may be that of another group, as each process of
    // a PostgreSQL has one.
    if ((exitCode !== null || signalCode !== null) && existsSync(`/proc/${this.pid}`)) return;
    try {
      process.kill(-this.pid, signal);
    } catch {
      // None of them is left.
    }
  }

  /** The exit code, once the child has ended and all of its output was read. */
  async exited(): Promise<number> {
    const late = Promise.withResolvers<never>();
    const timer = setTimeout(() => {
      late.reject(new Error(`the process still runs after ${DEADLINE_MS} ms:\n${this.#output()}`));
    }, DEADLINE_MS);
    try {
      const [code] = await Promise.race([Promise.all([this.#process.exited, this.#read]), late.promise]);
      return code;
    } finally {
      clearTimeout(timer);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.signal("SIGKILL");
    await this.#process.exited;
    await this.#read;
  }

  #output(): string {
    return `${this.stdout}\n${this.stderr}`;
  }

  async #collect(stream: ReadableStream<Uint8Array>, add: (text: string) => void): Promise<void> {
    const decoder = new TextDecoder();
    for await (const chunk of stream) {
      add(decoder.decode(chunk, { stream: true }));
      for (const look of this.#onOutput) look();
    }
  }
}
