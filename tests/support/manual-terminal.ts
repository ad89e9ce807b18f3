import type { Language } from "../../src/config.ts";
import type { Screen, Terminal } from "../../src/cli/terminal.ts";
import { ManualClock } from "./manual-clock.ts";

/** What a test may set about a terminal. */
export interface HandTerminalOptions {
  readonly language?: Language;
  /** What comes in on standard input, which is then no terminal. */
  readonly input?: string;
  /** What the person types when asked; undefined breaks off. Without it nobody is there. */
  readonly typed?: string;
}

/** A terminal that keeps what is written to it. */
export class ManualTerminal implements Terminal {
  readonly language: Language;
  readonly clock = new ManualClock();
  readonly hasPerson: boolean;
  readonly screen: Screen | undefined = undefined;
  readonly questions: string[] = [];
  readonly #options: HandTerminalOptions;
  stdout = "";
  stderr = "";

  constructor(options: HandTerminalOptions = {}) {
    this.language = options.language ?? "en";
    this.hasPerson = "typed" in options;
    this.#options = options;
  }

  print(content: string | Uint8Array): Promise<void> {
    this.stdout += typeof content === "string" ? content : new TextDecoder().decode(content);
    return Promise.resolve();
  }

  tell(line: string): void {
    this.stderr += `${line}\n`;
  }

  readInput(limit: number): Promise<string> {
    return Promise.resolve((this.#options.input ?? "").slice(0, limit + 1));
  }

  ask(question: string): Promise<string | undefined> {
    return this.askSecret(question);
  }

  askSecret(question: string): Promise<string | undefined> {
    this.questions.push(question);
    return Promise.resolve(this.#options.typed);
  }
}
