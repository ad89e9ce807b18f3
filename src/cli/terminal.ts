import { type Clock, systemClock } from "../clock.ts";
import { type Language, preferredLanguage } from "../config.ts";
import { ServiceError } from "../errors.ts";
import { promptSecret } from "./prompt.ts";

/** Where a command speaks and listens. Tests bring their own. */
export interface Terminal {
  readonly language: Language;
  readonly clock: Clock;
  /** Whether a person sits at standard input. */
  readonly hasPerson: boolean;
  /** Writes to standard output as it is. Resolves when it is written; rejects with an `OutputFailure` when it can't be. */
  print(content: string | Uint8Array): Promise<void>;
  /** Writes a line to standard error. */
  tell(line: string): void;
  /** Everything that comes in on standard input, as far as `most` bytes and a little more. */
  readInput(most: number): Promise<string>;
  /** What the person types, without an echo; undefined when it is broken off. */
  askSecret(question: string): Promise<string | undefined>;
}

/** Standard output can't be written to, so nothing more of the result can be shown there. */
export class OutputFailure extends ServiceError {
  /** The system's name for it, as `ENOSPC`. */
  readonly reason: string;

  constructor(reason: string, detail: { readonly hint?: string } = {}) {
    super("unavailable", `无法写入标准输出 (standard output can't be written to: ${reason})`, detail);
    this.reason = reason;
  }

  /** Whether whoever reads the output has just seen enough, as `head` has: nobody needs to be told. */
  get isQuiet(): boolean {
    return this.reason === "EPIPE" && this.hint === undefined;
  }
}

/** This process's own standard streams. */
export function systemTerminal(): Terminal {
  return {
    language: preferredLanguage(),
    clock: systemClock,
    hasPerson: process.stdin.isTTY,
    print,
    tell: (line) => void process.stderr.write(`${line}\n`),
    readInput,
    askSecret: (question) => promptSecret(question, process.stdin, process.stderr),
  };
}

function print(content: string | Uint8Array): Promise<void> {
  const { stdout } = process;
  // Without a listener the stream's own error would end the process before the command could put things right.
  if (stdout.listenerCount("error") === 0) stdout.on("error", () => undefined);
  return new Promise((resolve, reject) => {
    stdout.write(content, (error) => {
      if (!error) return resolve();
      const { code = "unknown" } = error as { code?: string };
      reject(new OutputFailure(code));
    });
  });
}

async function readInput(most: number): Promise<string> {
  const decoder = new TextDecoder();
  let text = "";
  for await (const chunk of Bun.stdin.stream()) {
    text += decoder.decode(chunk, { stream: true });
    if (text.length > most) break;
  }
  return text + decoder.decode();
}
