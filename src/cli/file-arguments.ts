import {
  closeSync,
  existsSync,
  fsyncSync,
  openSync,
  readFileSync,
  rmSync,
  statSync,
  writeSync,
} from "node:fs";
import { isWellFormedApiKey } from "../access/api-key.ts";
import { isEncodingAesKey, isPushToken } from "../callbacks/push-crypto.ts";
import { ServiceError, systemCodeOf } from "../errors.ts";
import { Secret } from "../secret.ts";
import { makeFolder, syncFolderOf, unwritable } from "../store/durable-files.ts";
import { warnOfFilePermissions } from "../store/key-file.ts";
import { type Arguments, bilingual, option, type Text, usageError } from "./arguments.ts";
import { halfOf, plainText, type Terminal } from "./terminal.ts";

/** The option that names a file with an app's secret. */
const SECRET_FILE = "secret-file";
/** That option, as commands have it. */
export const SECRET_OPTION = option(
  `--${SECRET_FILE} <file>`,
  "File with the secret; - for standard input; default: typed at the terminal",
  "secret所在文件；- 表示标准输入；默认在终端输入",
);
/** For a secret among the arguments: by then it is in the shell's history, and in the list of processes. */
export const SECRET_IN_ARGUMENTS =
  "secret不能作为参数，请用 --secret-file；如已输入，请更换 (secrets are never arguments: use --secret-file; if this was one, change it)";
/** The option that names a file with the key for a remote service. */
export const KEY_FILE = "key-file";

const STANDARD_INPUT = "-";
/** More than any secret has. */
const MAX_BYTES = 4096;

/**
 * The app's secret: from `--secret-file`, or typed by the person at the terminal.
 *
 * @throws {ServiceError} `invalid_parameter` when there is neither, or what came can't be a secret.
 */
export async function readAppSecret(args: Arguments, terminal: Terminal, app: string): Promise<Secret> {
  const file = args.find(SECRET_FILE);
  const text =
    file === undefined
      ? await askSecret(SECRET_FILE, bilingual(`Secret of ${app}: `, `${app} 的secret：`), terminal)
      : await readSecretFile(SECRET_FILE, file, terminal);
  if (/^[\x21-\x7e]{1,512}$/.test(text)) return new Secret(text);
  throw usageError("secret为空或含有非法字符 (the secret is empty or has blanks or odd characters)");
}

/**
 * The API key for a remote service; undefined without `--key-file`.
 *
 * @throws {ServiceError} `invalid_parameter` when the file has none.
 */
export async function readApiKey(args: Arguments, terminal: Terminal): Promise<Secret | undefined> {
  const file = args.find(KEY_FILE);
  if (file === undefined) return undefined;
  if (file === STANDARD_INPUT && args.find(SECRET_FILE) === STANDARD_INPUT) {
    throw usageError(
      "--key-file 和 --secret-file 不能都从标准输入读取 (only one of them can be standard input)",
    );
  }
  const text = await readSecretFile(KEY_FILE, file, terminal);
  if (isWellFormedApiKey(text)) return new Secret(text);
  throw usageError(
    "--key-file: 内容不是有效的API密钥，应为 ats_ 开头的53个字符 (it has no valid API key: 53 characters that begin with ats_)",
  );
}

/**
 * What a person types for `option`, which names a file, without showing it.
 *
 * @throws {ServiceError} `invalid_parameter` without a person; `invalid_config` when the person breaks off.
 */
export async function askSecret(option: string, question: Text, terminal: Terminal): Promise<string> {
  if (!terminal.hasPerson)
    throw usageError(
      `标准输入不是终端，请用 --${option} <文件> 或 --${option} - (standard input is no terminal: give --${option} <file>, or - for standard input)`,
    );
  const typed = await terminal.askSecret(question[terminal.language]);
  if (typed !== undefined) return typed;
  throw new ServiceError("invalid_config", "已中止 (broken off)");
}

/**
 * What is in the file that `option` names, or on standard input for `-`, without the line's end; empty for one that is too
 * large. Warns of a file that others can read.
 *
 * @throws {ServiceError} `invalid_parameter` when it can't be read.
 */
async function readSecretFile(option: string, file: string, terminal: Terminal): Promise<string> {
  const text =
    file === STANDARD_INPUT ? await terminal.readInput(MAX_BYTES) : readFile(option, file, terminal);
  return text.replace(/^\uFEFF/, "").replace(/[\r\n]+$/, "");
}

/**
 * What is in the file of an option, without the end of its line; undefined where it was not given. Only one of `options`
 * may be standard input.
 *
 * @throws {ServiceError} `invalid_parameter` when a file can't be read.
 */
export async function readSecretFiles<Name extends string>(
  options: readonly Name[],
  args: Arguments,
  terminal: Terminal,
): Promise<Partial<Record<Name, string>>> {
  const given = options.flatMap((name) => {
    const file = args.find(name);
    return file === undefined ? [] : [{ name, file }];
  });
  if ([...given, { file: args.find(KEY_FILE) }].filter(({ file }) => file === STANDARD_INPUT).length > 1)
    throw usageError("只能有一个文件从标准输入读取 (only one file can be standard input)");
  const read: Partial<Record<Name, string>> = {};
  for (const { name, file } of given) read[name] = await readSecretFile(name, file, terminal);
  return read;
}

function readFile(option: string, file: string, terminal: Terminal): string {
  // What is no path may be the secret itself, and is not said again.
  if (!existsSync(file))
    throw usageError(
      `--${option}: 没有该文件，或其所在目录不可进入；如果输入的是密钥本身，请更换该密钥 (there is no such file, or its folder can't be entered; if that was the secret itself, change it)`,
    );
  const text = readText(`--${option}`, file, MAX_BYTES);
  if (statSync(file, { throwIfNoEntry: false })?.isFile())
    warnOfFilePermissions([file]).forEach((line) => terminal.tell(halfOf(line, terminal.language)));
  return text;
}

/**
 * What is in the file that `argument` names. Throws `invalid_parameter`, with its path and what to do, when it can't be read or
 * has more than `maxBytes`.
 */
export function readText(argument: string, file: string, maxBytes: number): string {
  const name = plainText(file);
  try {
    if (statSync(file).size <= maxBytes) return readFileSync(file, "utf8");
  } catch (error) {
    throw usageError(
      `${argument}: 无法读取 ${name}，请检查路径和权限 (${name} can't be read: ${systemCodeOf(error)}; check path, owner and mode)`,
    );
  }
  throw usageError(`${argument}: ${name} 过大，请指定正确的文件 (${name} is too large; name the right file)`);
}

/** What is in a file that has nothing secret. Throws as `readText`. */
export function readPublicFile(file: string): string {
  return readText("<file>", file, MAX_BYTES);
}

/**
 * The Token and EncodingAESKey in the files that were given.
 *
 * @throws {ServiceError} `invalid_parameter` when a file can't be read or has none.
 */
export async function readPushKeys(
  args: Arguments,
  terminal: Terminal,
): Promise<{ readonly token: string | undefined; readonly aesKey: string | undefined }> {
  const read = await readSecretFiles(["token-file", "aes-key-file"], args, terminal);
  const { "token-file": token, "aes-key-file": aesKey } = read;
  if (token !== undefined && !isPushToken(token))
    throw usageError("--token-file: Token应为3到32位字母或数字 (a Token is 3 to 32 letters and digits)");
  if (aesKey !== undefined && !isEncodingAesKey(aesKey))
    throw usageError(
      "--aes-key-file: EncodingAESKey应为43位字母或数字 (an EncodingAESKey is 43 letters and digits)",
    );
  return { token, aesKey };
}

/** A file of `--out` that only its owner may read. It is there, empty, before the service is asked. */
export class NewFile {
  readonly #path: string;
  #descriptor: number | undefined;

  /** Makes it. Throws `invalid_parameter` when it can't, or when there is one already. */
  constructor(path: string) {
    this.#path = path;
    try {
      this.#descriptor = openSync(path, "wx", 0o600);
    } catch (error) {
      throw unmakeable(path, error);
    }
  }

  /** Adds to its end. Throws `store_unusable` when it can't. */
  write(content: string | Uint8Array): void {
    const bytes = Buffer.from(content);
    this.#naming((file) => {
      for (let at = 0; at < bytes.length;) at += writeSync(file, bytes, at);
    });
  }

  /** Has it on the disk under its name, and closes it. Throws as `write`. */
  finish(): void {
    this.#naming(fsyncSync);
    this.#naming(() => syncFolderOf(this.#path));
    this.#close();
  }

  /** Closes it if need be, and removes it. */
  discard(): void {
    this.#close();
    rmSync(this.#path, { force: true });
  }

  #naming(work: (file: number) => void): void {
    if (this.#descriptor === undefined) throw new Error("the file is closed");
    try {
      work(this.#descriptor);
    } catch (error) {
      throw unwritable(this.#path, systemCodeOf(error));
    }
  }

  #close(): void {
    if (this.#descriptor !== undefined) closeSync(this.#descriptor);
    this.#descriptor = undefined;
  }
}

/** Makes the folder of `--out`, for its owner alone, unless it is there. Throws `invalid_parameter` when it can't. */
export function makeOutFolder(path: string): void {
  try {
    makeFolder(path);
  } catch (error) {
    throw unmakeable(path, error);
  }
}

function unmakeable(path: string, error: unknown): ServiceError {
  const [name, code] = [plainText(path), systemCodeOf(error)];
  return usageError(
    code === "EEXIST"
      ? `--out: ${name} 已存在，请换一个名称 (${name} exists already; choose another name)`
      : `--out: 无法创建 ${name}，请检查路径、磁盘空间和权限 (${name} can't be made: ${code}; check path, free space and permissions)`,
  );
}
