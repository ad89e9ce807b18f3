import { Api, ApiRefusal, type Transport } from "./api.ts";
import {
  type Arguments,
  bilingual,
  type CommandSpec,
  NEW_DATABASE,
  type OptionSpec,
  type Text,
  usageError,
  option,
} from "./arguments.ts";
import { ServiceError } from "../errors.ts";
import { type ExitCode, jsonText, showFailure } from "./exit.ts";
import { halfOf, keyNotice, plainText, type Terminal } from "./terminal.ts";
import { KEY_FILE, readApiKey } from "./file-arguments.ts";

/** What a managing command is run with. */
export interface Managing {
  readonly args: Arguments;
  readonly terminal: Terminal;
  readonly api: Api;
  /** Prints what the API answered: `data` as one JSON document with `--json`, otherwise `text()`. */
  readonly show: (data: unknown, text: () => string) => Promise<void>;
  /** Prints a note beside the result, on standard error. */
  readonly note: (text: Text) => void;
}

/** A command that asks `/v1`; the options that all of them have are added. */
export interface ManagingSpec extends Omit<CommandSpec, "run"> {
  /** Whether it makes a database where there is none; then it must be one that begins something. */
  readonly mayCreate?: boolean;
  /** Resolves with an exit code where it is not 0. */
  readonly run: (at: Managing) => Promise<ExitCode | void>;
}

/** The options of every managing command. */
const MANAGING_OPTIONS: readonly OptionSpec[] = [
  option(
    "--url <origin>",
    "Ask this service; default: the database of this machine's own configuration",
    "访问该地址的服务；默认使用本机配置的数据库",
  ),
  option(
    `--${KEY_FILE} <file>`,
    "File with the API key for --url; - for standard input",
    "--url 所用API密钥的文件；- 表示标准输入",
  ),
  option(
    "--insecure-http",
    "Let --url be plain http to another machine: the key can be read on the way",
    "允许 --url 以http访问其他机器：密钥在途中可被窃听",
  ),
  option(
    "--json",
    "Print the answer's data as JSON, or the whole answer when it is an error",
    "以JSON输出应答的data；出错时输出完整应答",
  ),
];

const KEY_MISSING = "请用 --key-file 指定API密钥 (give --key-file <file>)";
/** What lists the names, by what the service says where there is none of that name. */
const LISTS = {
  "no such app ": "apps list",
  "no such client": "clients list",
  "no such environment": "environments list",
  "no such key": "keys list <client>",
  "there is no target": "callbacks show <app>",
} as const;
const PUBLIC_SIDE =
  "--url 应为服务的内部地址：PUBLIC_URL的域名不提供/v1 (give --url the service's internal address: /v1 is not answered under PUBLIC_URL)";

/** The command of a spec that asks `/v1`. */
export function managingCommand(spec: ManagingSpec): CommandSpec {
  return {
    ...spec,
    options: [...(spec.options ?? []), ...(spec.mayCreate ? [NEW_DATABASE] : []), ...MANAGING_OPTIONS],
    run: (args, terminal) => manage(spec, args, terminal),
  };
}

async function manage(spec: ManagingSpec, args: Arguments, terminal: Terminal): Promise<ExitCode> {
  const transport = await transportOf(spec, args, terminal);
  const isJson = args.isSet("json");
  try {
    const exitCode = await spec.run({
      args,
      terminal,
      api: new Api(transport, (hint) => terminal.tell(plainText(halfOf(hint, terminal.language)))),
      show: (data, text) => terminal.print(isJson ? jsonText(data) : text()),
      note: (text) => terminal.tell(text[terminal.language]),
    });
    return exitCode ?? 0;
  } catch (error) {
    return await showFailure(hinted(error, args), terminal, isJson);
  } finally {
    await transport.close();
  }
}

/** Answers the question of `confirm` beforehand. */
export const YES = option("--yes", "Don't ask for confirmation", "不再询问，直接执行");

/**
 * Asks the person before something that can't be undone, unless `--yes` was given.
 *
 * @throws {ServiceError} a usage error where nobody can be asked; `conflict` when the answer is not yes.
 */
export async function confirm(
  { args, terminal }: Pick<Managing, "args" | "terminal">,
  question: Text,
): Promise<void> {
  if (args.isSet(YES.name)) return;
  if (!terminal.hasPerson)
    throw usageError("需要确认：在脚本中执行须加 --yes (it needs a confirmation: in a script, add --yes)");
  const answer = await terminal.ask(`${question[terminal.language]} [y/N] `);
  if (!/^\s*y(es)?\s*$/i.test(answer ?? ""))
    throw new ServiceError("conflict", "已取消，未作任何更改 (cancelled; nothing was changed)");
}

/** Deletes what is at `path`, after the question, and says that `name` is removed. Throws as `confirm`. */
export async function remove(at: Managing, name: string, path: string, question: Text): Promise<void> {
  await confirm(at, question);
  const { data } = await at.api.send<object>({ method: "DELETE", path });
  await at.show(data, () => bilingual(`${name} is removed\n`, `已删除 ${name}\n`)[at.terminal.language]);
}

/** Refuses what can't be right before the service is asked, and tells what is unusual. */
export function notice(
  { terminal }: Pick<Managing, "terminal">,
  { fault, doubt }: { readonly fault?: string; readonly doubt?: string },
): void {
  if (fault !== undefined) throw usageError(fault);
  if (doubt !== undefined) terminal.tell(halfOf(doubt, terminal.language));
}

/** Whether the command asks a service by `--url`, and not the database of this machine. */
export function isRemote(args: Arguments): boolean {
  return args.isSet("url");
}

/**
 * With what helps at the command line: a key where none was given, another address where `/v1` is not answered, what lists
 * the names where there is none of that name.
 */
function hinted(error: unknown, args: Arguments): unknown {
  if (!(error instanceof ApiRefusal)) return error;
  if (error.status === 401 && isRemote(args) && !args.isSet(KEY_FILE)) return error.hinted(KEY_MISSING);
  if (error.status !== 404 || error.hint !== undefined) return error;
  if (isRemote(args) && error.message.startsWith("页面不存在")) return error.hinted(PUBLIC_SIDE);
  const [, list] = Object.entries(LISTS).find(([said]) => error.message.includes(`(${said}`)) ?? [];
  return list === undefined
    ? error
    : error.hinted(`accesstoken ${list} 列出现有的 (accesstoken ${list} shows what is there)`);
}

/** That a service which runs already can't be meant. */
function notServed(port: number): Text {
  return bilingual(
    `Warning: a program listens on port ${port}. If it is the service, it does not use this new database: run the command in the service's folder, or give --url`,
    `警告：端口 ${port} 上已有程序在监听。如果它就是服务，它用的不是这个新数据库：请在服务所在的目录执行，或给出 --url`,
  );
}

async function transportOf(spec: ManagingSpec, args: Arguments, terminal: Terminal): Promise<Transport> {
  const url = args.find("url");
  if (url !== undefined) {
    const { parseOrigin, RemoteTransport } = await import("./remote.ts");
    const origin = parseOrigin(url, args.isSet("insecure-http"));
    return new RemoteTransport(origin, await readApiKey(args, terminal));
  }
  const stray = [KEY_FILE, "insecure-http"].find((name) => args.isSet(name));
  if (stray) throw usageError(`--${stray} 须与 --url 一起使用 (--${stray} makes sense with --url only)`);
  const { LocalTransport } = await import("./local.ts");
  return new LocalTransport({
    mayCreate: spec.mayCreate ?? false,
    newDatabase: spec.mayCreate === true && args.isSet(NEW_DATABASE.name),
    onKeyCreated: (path) => terminal.tell(keyNotice(path)[terminal.language]),
    onCreate: (path, taken) => {
      terminal.tell(
        bilingual(`A new database is made: ${path}`, `正在新建数据库 ${path}`)[terminal.language],
      );
      if (taken !== undefined) terminal.tell(notServed(taken)[terminal.language]);
    },
  });
}
