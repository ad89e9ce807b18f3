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
  /** Writes to standard output as it is. Resolves when it is written. */
  print(content: string | Uint8Array): Promise<void>;
  /** Writes a line to standard error. */
  tell(line: string): void;
  /** Everything that comes in on standard input, as far as `most` bytes and a little more. */
  readInput(most: number): Promise<string>;
  /** What the person types, without an echo; undefined when it is broken off. */
  askSecret(question: string): Promise<string | undefined>;
}

/** This process's own standard streams. */
export function systemTerminal(): Terminal {
  return {
    language: preferredLanguage(),
    clock: systemClock,
    hasPerson: process.stdin.isTTY,
    print: (content) =>
      new Promise((resolve, reject) => {
        process.stdout.write(content, (error) => (error ? reject(unwritable(error)) : resolve()));
      }),
    tell: (line) => void process.stderr.write(`${line}\n`),
    readInput,
    askSecret: (question) => promptSecret(question, process.stdin, process.stderr),
  };
}

function unwritable(error: Error): ServiceError {
  const code = "code" in error ? String(error.code) : "unknown";
  return new ServiceError("invalid_config", `标准输出无法写入 (standard output can't be written: ${code})`);
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
