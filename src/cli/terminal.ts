import { type Clock, systemClock } from "../clock.ts";
import { type Language, preferredLanguage } from "../config.ts";
import { DECEPTIVE } from "../log.ts";
import { ServiceError } from "../errors.ts";
import type { ReadStream, WriteStream } from "node:tty";

/** A command's input and output. Tests bring their own. */
export interface Terminal {
  readonly language: Language;
  readonly clock: Clock;
  /** Whether a person sits at standard input. */
  readonly hasPerson: boolean;
  /** The terminal that standard output is; undefined where it is none. */
  readonly screen: Screen | undefined;
  /** Writes to standard output as it is. Resolves when it is written; rejects with an `OutputFailure` when it can't be. */
  print(content: string | Uint8Array): Promise<void>;
  /** Writes a line to standard error. */
  tell(line: string): void;
  /** Everything that comes in on standard input, up to `limit` bytes and a little more. */
  readInput(limit: number): Promise<string>;
  /** What the person types, without an echo; undefined when interrupted. */
  askSecret(question: string): Promise<string | undefined>;
  /** As `askSecret`, with an echo. */
  ask(question: string): Promise<string | undefined>;
}

/** A terminal that shows what is written to it. */
export interface Screen {
  size(): { readonly columns: number; readonly rows: number };
  /** Calls `listener` when the size has changed, until what is returned is called. */
  onResize(listener: () => void): () => void;
  /** Calls `listener` once the person presses Ctrl+C or q; what is typed is not shown, until what is returned is called. */
  onQuit(listener: () => void): () => void;
}

/** Standard output can't be written to, so nothing more of the result can be shown there. */
export class OutputFailure extends ServiceError {
  /** The system's name for it, as `ENOSPC`. */
  readonly reason: string;

  constructor(reason: string, detail: { readonly hint?: string } = {}) {
    super("unavailable", `无法写入标准输出 (standard output can't be written to: ${reason})`, detail);
    this.reason = reason;
  }

  /** Whether the reader closed the pipe, as `head` does: no error to report. */
  get isQuiet(): boolean {
    return this.reason === "EPIPE" && this.hint === undefined;
  }
}

/** This process's own standard streams. */
export function systemTerminal(): Terminal {
  return {
    language: preferredLanguage(),
    clock: systemClock,
    // Lazy: the streams behind it are the slowest part of a start.
    get hasPerson() {
      return process.stdin.isTTY;
    },
    get screen() {
      return process.stdout.isTTY ? screenOf(process.stdout) : undefined;
    },
    print,
    tell: (line) => void process.stderr.write(`${line}\n`),
    readInput,
    askSecret: (question) => prompt(question, process.stdin, process.stderr, false),
    ask: (question) => prompt(question, process.stdin, process.stderr, true),
  };
}

function screenOf(output: WriteStream): Screen {
  return {
    size: () => ({ columns: output.columns || 80, rows: output.rows || 24 }),
    onResize: (listener) => {
      output.on("resize", listener);
      return () => output.off("resize", listener);
    },
    onQuit: (listener) => {
      const { stdin } = process;
      if (!stdin.isTTY) return () => undefined;
      const receive = (chunk: Buffer) => {
        if (chunk.includes(BREAK) || chunk.includes("q")) listener();
      };
      stdin.setRawMode(true);
      stdin.on("data", receive);
      return () => {
        stdin.off("data", receive);
        stdin.setRawMode(false);
        stdin.pause();
      };
    },
  };
}

function print(content: string | Uint8Array): Promise<void> {
  const { stdout } = process;
  // Without a listener the stream's own error would end the process before the command could handle it.
  if (stdout.listenerCount("error") === 0) stdout.on("error", () => undefined);
  return new Promise((resolve, reject) => {
    stdout.write(content, (error) => {
      if (!error) return resolve();
      const { code = "unknown" } = error as { code?: string };
      reject(new OutputFailure(code));
    });
  });
}

async function readInput(limit: number): Promise<string> {
  const decoder = new TextDecoder();
  let text = "";
  for await (const chunk of Bun.stdin.stream()) {
    text += decoder.decode(chunk, { stream: true });
    if (text.length > limit) break;
  }
  return text + decoder.decode();
}

const ENTER = ["\r", "\n"];
const BREAK = "\u0003";
const END_OF_INPUT = "\u0004";
const BACKSPACE = ["\u007f", "\b"];
const CLEAR_LINE = "\u0015";
/** What cursor keys and the like send. */
// oxlint-disable-next-line no-control-regex -- they begin with one
const KEY_SEQUENCE = /\u001b(?:\[[0-9;?]*[ -/]*[@-~]|O.)/g;

/**
 * What the person types after `question`; undefined when it is interrupted by Ctrl+C or Ctrl+D.
 *
 * The terminal is as it was when this resolves, also when a signal asks the process to end.
 */
async function prompt(
  question: string,
  input: ReadStream,
  output: WriteStream,
  hasEcho: boolean,
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
      if (hasEcho) output.write(`\r\u001b[K${question}${typed}`);
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

// oxlint-disable-next-line no-control-regex -- they are what must go
const CONTROL = /[\u0000-\u001f]/g;

/** Nothing that is printed in columns is wider. */
const MAX_WIDTH = 100;
/** What goes on below itself has so much room at least. */
const MIN_WIDTH = 20;
/** Before what continues a row. */
const INDENT = "    ";
const GAP = "  ";

/**
 * A line for each of `rows`, aligned in columns under their headings. Every text is made `plainText`.
 *
 * The columns that don't fit into 100 characters stand below the others; a Chinese character counts two.
 */
export function textTable<Row>(
  rows: readonly Row[],
  columns: Readonly<Record<string, (row: Row) => string | undefined>>,
): string {
  const headings = Object.keys(columns);
  const texts = Object.values(columns);
  const cells = [headings, ...rows.map((row) => texts.map((textOf) => plainText(textOf(row) || "-")))];
  const widths = headings.map((_, n) => Math.max(...cells.map((row) => Bun.stringWidth(row[n] ?? ""))));
  const starts = lineStarts(widths);
  const linesOf = (row: readonly string[]) =>
    starts.map((start, n) => {
      const part = row.slice(start, starts[n + 1]);
      const isBare = n > 0 && part.every((cell) => cell === "-");
      return isBare ? "" : line(part, widths.slice(start), n === 0 ? "" : INDENT);
    });
  return cells.map((row) => linesOf(row).join("")).join("");
}

/** Names and their values, a line each; without those that have none. */
export function textFields(fields: Readonly<Record<string, string | undefined>>): string {
  return textPairs(
    Object.entries(fields).flatMap(([name, value]) => (value ? [[name, plainText(value)]] : [])),
  );
}

/** The same of our own texts, each line behind `indent`; `alignedWith` are names that are shown elsewhere, too. */
export function textPairs(
  pairs: readonly (readonly [string, string])[],
  indent = "",
  alignedWith: readonly string[] = [],
): string {
  const width = Math.max(
    0,
    ...[...pairs.map(([name]) => name), ...alignedWith].map((name) => Bun.stringWidth(name)),
  );
  return pairs.map((pair) => line(pair, [width], indent)).join("");
}

/** Where the lines of a row begin: the numbers of their first columns. */
function lineStarts(widths: readonly number[]): number[] {
  let used = 0;
  return widths.flatMap((width, n) => {
    used += GAP.length + width;
    if (n > 0 && used <= MAX_WIDTH) return [];
    used = (n === 0 ? 0 : INDENT.length) + width;
    return [n];
  });
}

/**
 * `text` in pieces that are no wider than `width`: cut after a blank or a comma, else where it has to be. A URL stays in one, as
 * it is to be copied.
 */
function wrapText(text: string, width: number): string[] {
  const pieces: string[] = [];
  let rest = text;
  while (Bun.stringWidth(rest) > width && !/^https?:\/\/[!-~]+$/.test(rest)) {
    // A wide character across the end is still in the slice.
    const slice = Bun.sliceAnsi(rest, 0, width);
    const most = Bun.stringWidth(slice) > width ? Bun.sliceAnsi(rest, 0, width - 1) : slice;
    const cut = (/^.*[ ,，、；。]/.exec(most)?.[0] ?? most).length || 1;
    pieces.push(rest.slice(0, cut).trimEnd());
    rest = rest.slice(cut);
  }
  return [...pieces, rest];
}

/** A line in both languages: where it belongs, as `PORT: `; Chinese; English in parentheses; what follows both. */
const BOTH_HALVES = /^((?:[\x20-\x7e]*: )?)(.*\p{Script=Han}.*?) \(([^\p{Script=Han}\n]*)\)([^()\n]*)$/gmu;

/** Of a message in both languages, as `中文 (English)`, the half in that language. Any other text stays. */
export function halfOf(text: string, language: Language): string {
  return text.replaceAll(BOTH_HALVES, language === "zh" ? "$1$2$4" : "$1$3$4");
}

/** `text` without control characters and what else could deceive the eye: it comes from outside. */
export function plainText(text: string): string {
  return text.replaceAll(CONTROL, "�").replaceAll(DECEPTIVE, "�");
}

/** The cells in a line; a last one that is too wide goes on below its beginning. */
function line(cells: readonly string[], widths: readonly number[], indent = ""): string {
  const before = cells
    .slice(0, -1)
    .map((cell, n) => cell + " ".repeat(Math.max(0, (widths[n] ?? 0) - Bun.stringWidth(cell))) + GAP)
    .join("");
  const margin = Bun.stringWidth(indent + before);
  const pieces = wrapText(cells.at(-1) ?? "", Math.max(MIN_WIDTH, MAX_WIDTH - margin));
  return `${indent}${before}${pieces.join(`\n${" ".repeat(margin)}`)}`.trimEnd() + "\n";
}

/** An instant in this machine's zone, to the second, as `2027-01-31T08:00:00+08:00`. `at` is in epoch milliseconds. */
export function localTime(at: number): string;
/** The same; undefined for what has no instant. */
export function localTime(at: number | undefined): string | undefined;
export function localTime(at: number | undefined): string | undefined {
  if (at === undefined) return undefined;
  const minutes = -new Date(at).getTimezoneOffset();
  const wall = new Date(at + minutes * 60_000).toISOString().slice(0, 19);
  const [hours, rest] = [Math.trunc(Math.abs(minutes) / 60), Math.abs(minutes) % 60];
  return `${wall}${minutes < 0 ? "-" : "+"}${twoDigits(hours)}:${twoDigits(rest)}`;
}

function twoDigits(number: number): string {
  return String(number).padStart(2, "0");
}

/** What a person must know when a new master key was made at `path`. */
export function keyNotice(path: string): Readonly<Record<Language, string>> {
  return {
    en: `A master key was made: ${path}. Losing it loses the data: back it up, and not beside backups of the database.`,
    zh: `已生成主密钥 ${path}。丢失它就丢失全部数据：请妥善备份，且不要与数据库的备份放在一起。`,
  };
}
