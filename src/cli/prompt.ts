import type { ReadStream, WriteStream } from "node:tty";

const ENTER = ["\r", "\n"];
const BREAK = "\u0003";
const END_OF_INPUT = "\u0004";
const BACKSPACE = ["\u007f", "\b"];
const CLEAR_LINE = "\u0015";
/** What cursor keys and the like send. */
// oxlint-disable-next-line no-control-regex -- they begin with one
const KEY_SEQUENCE = /\u001b(?:\[[0-9;?]*[ -/]*[@-~]|O.)/g;

/**
 * What the person types after `question`, without an echo; undefined when it is broken off by Ctrl+C or Ctrl+D.
 *
 * The terminal is as it was when this resolves, also when a signal asks the process to end.
 */
export async function promptSecret(
  question: string,
  input: ReadStream,
  output: WriteStream,
): Promise<string | undefined> {
  const { promise, resolve } = Promise.withResolvers<string | undefined>();
  const breakOff = () => resolve(undefined);
  let typed = "";
  const receive = (chunk: Buffer) => {
    for (const character of chunk.toString("utf8").replaceAll(KEY_SEQUENCE, "")) {
      if (ENTER.includes(character)) return resolve(typed);
      if (character === BREAK || (character === END_OF_INPUT && typed === "")) return breakOff();
      if (BACKSPACE.includes(character)) typed = typed.slice(0, -1);
      else if (character === CLEAR_LINE) typed = "";
      else if (character >= " ") typed += character;
    }
  };
  const signals = ["SIGINT", "SIGTERM", "SIGHUP"] as const;
  for (const signal of signals) process.once(signal, breakOff);
  input.setRawMode(true);
  input.on("data", receive);
  input.once("end", breakOff);
  output.write(question);
  try {
    return await promise;
  } finally {
    input.off("data", receive);
    input.off("end", breakOff);
    input.setRawMode(false);
    input.pause();
    output.write("\n");
    for (const signal of signals) process.off(signal, breakOff);
  }
}
