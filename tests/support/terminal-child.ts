import { Harness } from "./harness.ts";

/** The bit of a terminal's local flags that says that it shows what is typed. */
const ECHO = 8;

/** A process at a terminal of its own, and what the terminal has shown. Use it with `await using`. */
export class TerminalChild {
  readonly #process: Bun.Subprocess;
  readonly #terminal: Bun.Terminal;
  shown = "";

  constructor(command: readonly string[], cwd: string) {
    const { PATH = "", HOME = "" } = process.env;
    this.#terminal = new Bun.Terminal({
      data: (_terminal, bytes) => {
        this.shown += new TextDecoder().decode(bytes);
      },
    });
    this.#process = Bun.spawn([...command], { cwd, env: { PATH, HOME }, terminal: this.#terminal });
  }

  /** Whether the terminal shows what is typed. */
  get hasEcho(): boolean {
    return (this.#terminal.localFlags & ECHO) !== 0;
  }

  /** Resolves when the terminal shows `text`, which may come in parts: to what was matched. */
  async shows(text: string | RegExp): Promise<readonly string[]> {
    const pattern = typeof text === "string" ? RegExp(RegExp.escape(text)) : text;
    await Harness.until(() => pattern.test(this.shown));
    return pattern.exec(this.shown) ?? [];
  }

  type(text: string): void {
    this.#terminal.write(text);
  }

  signal(signal: NodeJS.Signals): void {
    this.#process.kill(signal);
  }

  exited(): Promise<number> {
    return this.#process.exited;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#process.kill("SIGKILL");
    await this.#process.exited;
    this.#terminal.close();
  }
}
