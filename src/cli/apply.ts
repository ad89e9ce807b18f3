import { existsSync } from "node:fs";
import { join } from "node:path";
import type { Language } from "../config.ts";
import { ServiceError } from "../errors.ts";
import { bilingual, type CommandSpec, option, usageError } from "./arguments.ts";
import { makeOutFolder, NewFile } from "./file-arguments.ts";
import { readManifest } from "./manifest.ts";
import { confirm, type Managing, managingCommand, YES } from "./managing.ts";
import { isKept, keysPath, requestKey, takeBack, untilLearned } from "./new-key.ts";
import { planOf, type Step } from "./plan.ts";
import { OutputFailure, plainText } from "./terminal.ts";

/** The option of what makes several keys. */
export const OUT_FOLDER = option(
  "--out <folder>",
  "Write each key into a new file of this folder that only you may read",
  "将每个密钥写入该目录下的新文件（仅本人可读）",
);

/** A key or the keys of a target, made just now and shown never again. */
export interface Made {
  readonly kind: "key" | "target";
  readonly name: string;
  /** Where they were written; undefined where they are in `secrets`. */
  readonly file?: string;
  readonly secrets?: Readonly<Record<string, string>>;
  /** Takes it back; resolves with the hint for the person. */
  readonly takeBack: () => Promise<string>;
  /** Where programs find the service; of a client's key. */
  readonly baseUrl?: string;
}

/** What was done so far: the steps, and what is shown never again. */
export interface Done {
  readonly steps: Step[];
  readonly made: Made[];
}

/** `accesstoken apply`: what a file says, made so. */
export const APPLY_COMMANDS: readonly CommandSpec[] = [
  managingCommand({
    words: ["apply"],
    meaning: bilingual(
      "Make environments, clients, redirect origins and targets what a file says",
      "使环境、客户端、回调来源和推送目标与文件一致",
    ),
    notes: [
      bilingual(
        "Prints what it is about to do, and asks. What the file leaves out stays; a second time nothing is left to do.",
        "先列出将要做的更改，再询问。文件未提到的保持不变；重复执行不再有更改。",
      ),
    ],
    options: [
      {
        ...option(
          "--file <file>",
          "YAML or JSON; - for standard input; needed, -f for short",
          "必填，可简写为 -f；YAML或JSON文件，- 表示标准输入",
        ),
        short: "f",
      },
      option("--dry-run", "Print what it would do, and do nothing", "只列出更改，不执行"),
      option(
        "--prune",
        "Remove what the file's sections don't have: clients and environments, and origins, targets and routes of its apps",
        "删除文件相应部分中没有的：客户端、环境，以及所列应用的回调来源、目标和路由",
      ),
      OUT_FOLDER,
      YES,
    ],
    mayCreate: true,
    run: apply,
  }),
];

async function apply(at: Managing): Promise<void> {
  const { args, api, show, terminal } = at;
  const manifest = await readManifest(args.get("file"), (limit) => terminal.readInput(limit));
  const folder = args.find("out");
  const steps = await planOf(api, manifest, { prunes: args.isSet("prune"), makesKeys: folder !== undefined });
  const isDry = args.isSet("dry-run");
  const isNothing = steps.every(({ request }) => !request);
  if (isDry || isNothing)
    return show({ steps: steps.map(stepData), applied: false }, () => stepsText(steps, terminal.language));
  checkFiles(steps, folder);
  if (folder === undefined && steps.some(bringsKeys))
    throw usageError(
      "新的推送目标会生成Token和密钥，请指定 --out (a new target brings a Token and a key: give --out)",
    );
  if (!args.isSet(YES.name)) terminal.tell(stepsText(steps, terminal.language).trimEnd());
  await confirm(at, bilingual("Do this?", "执行以上更改？"));
  const done: Done = { steps: [], made: [] };
  try {
    await carryOut(at, steps, folder, done);
  } finally {
    await showDone(at, { applied: done.steps.length === steps.length }, done);
  }
}

/** Shows what was done. Keys that can be shown nowhere are taken back, as nobody has them. */
export async function showDone(
  { show, terminal }: Managing,
  facts: object,
  { steps, made }: Done,
): Promise<void> {
  const data = { ...facts, steps: steps.map(stepData), keys: made.map(madeData) };
  try {
    await show(data, () => stepsText(steps, terminal.language) + madeText(made, terminal.language));
  } catch (cause) {
    const lost = made.filter(({ secrets }) => secrets);
    if (!(cause instanceof OutputFailure) || lost.length === 0) throw cause;
    const hints: string[] = [];
    for (const each of lost) hints.push(await each.takeBack());
    throw new OutputFailure(cause.reason, { hint: hints.join("\n") });
  }
}

/** Throws a usage error that names the file when one that is to be written is there already. */
export function checkFiles(steps: readonly Step[], folder: string | undefined): void {
  const there = steps.flatMap((step) => fileOf(step, folder) ?? []).find((file) => existsSync(file));
  if (there === undefined) return;
  const name = plainText(there);
  throw usageError(`--out: ${name} 已存在，未作任何更改 (${name} exists already; nothing was changed)`);
}

/**
 * Does what the steps ask for, in their order, and adds to `done` each that is done, also when it fails halfway: it can be
 * begun again then.
 */
export async function carryOut(
  at: Managing,
  steps: readonly Step[],
  folder: string | undefined,
  { steps: done, made }: Done,
): Promise<void> {
  if (folder !== undefined && steps.some((step) => fileOf(step, folder))) makeOutFolder(folder);
  for (const step of steps) {
    if (step.kind === "key" && step.request) made.push(await makeKey(at, step, fileOf(step, folder)));
    else if (bringsKeys(step)) made.push(...(await makeTarget(at, step, fileOf(step, folder))));
    else if (step.request)
      await at.api.send(typeof step.request === "function" ? await step.request() : step.request);
    done.push(step);
  }
  if (made.some(({ kind }) => kind === "key")) await untilLearned(at);
}

async function makeKey(at: Managing, step: Step, file: string | undefined): Promise<Made> {
  const { name } = step;
  const key = { path: keysPath(name), body: {} };
  const data = await requestKey(
    at,
    name,
    file === undefined ? undefined : new NewFile(file),
    async () => key,
  );
  const place = file === undefined ? { secrets: { api_key: data.api_key } } : { file };
  const baseUrl = at.args.find("url") ?? data.base_url;
  return { kind: "key", name, baseUrl, takeBack: () => takeBack(at, name, data.key), ...place };
}

const TARGET_KEYS = { token: "TOKEN", aes_key: "ENCODING_AES_KEY", hmac_key: "HMAC_KEY" } as const;
type TargetKeys = Partial<Record<keyof typeof TARGET_KEYS, string>>;

/** A target with keys of its own; one that can't be kept is removed again. */
async function makeTarget({ api }: Managing, step: Step, path: string | undefined): Promise<Made[]> {
  const { name, request } = step;
  if (typeof request !== "object") return [];
  const file = path === undefined ? undefined : new NewFile(path);
  try {
    const { data } = await api.send<TargetKeys>(request);
    const secrets = Object.fromEntries(
      Object.entries(TARGET_KEYS).flatMap(([field, variable]) => {
        const value = data[field as keyof TargetKeys];
        return value === undefined ? [] : [[variable, value]];
      }),
    );
    const lines = Object.entries(secrets).map(([variable, value]) => `${variable}=${value}\n`);
    if (lines.length === 0) file?.discard();
    if (lines.length === 0) return [];
    const remove = async () => {
      await api.send({ method: "DELETE", path: request.path });
      return `${name} 已删除 (${name} was removed)`;
    };
    if (!file || path === undefined) return [{ kind: "target", name, secrets, takeBack: remove }];
    if (isKept(file, lines.join(""))) return [{ kind: "target", name, file: path, takeBack: remove }];
    const failure = "--out: 密钥无法写入文件 (the keys could not be written to the file)";
    throw new ServiceError("unavailable", failure, { hint: await remove() });
  } catch (error) {
    if (path !== undefined && existsSync(path)) file?.discard();
    throw error;
  }
}

function bringsKeys({ kind, action }: Step): boolean {
  return kind === "target" && action === "add";
}

function fileOf(step: Step, folder: string | undefined): string | undefined {
  if (folder === undefined || !step.request) return undefined;
  if (step.kind === "key") return join(folder, `${step.name}.key`);
  return bringsKeys(step) ? join(folder, `${step.name.replace(" ", "-")}.push`) : undefined;
}

const SIGNS = { add: "+", change: "~", remove: "-", keep: "=", extra: "?" } as const;
const KINDS = {
  environment: bilingual("environment", "环境"),
  target: bilingual("target", "推送目标"),
  routes: bilingual("routes of", "推送路由"),
  redirect_origins: bilingual("redirect origins of", "回调来源"),
  client: bilingual("client", "客户端"),
  key: bilingual("key of", "密钥"),
} as const;

const NONE = bilingual("", "");

/** What is to be done, a line each, and how much that is. */
function stepsText(steps: readonly Step[], language: Language): string {
  const lines = steps.map(({ action, kind, name, fields = [], detail }) => {
    const changed =
      fields.length === 0 ? NONE : bilingual(`: ${fields.join(", ")}`, `：${fields.join("、")}`);
    const what = detail === undefined ? NONE : bilingual(` (${detail})`, `（${detail}）`);
    const list = plainText(changed[language] + what[language]);
    return `${SIGNS[action]} ${KINDS[kind][language]} ${plainText(name)}${list}\n`;
  });
  const count = (action: Step["action"]) => steps.filter((each) => each.action === action).length;
  const [add, change, remove] = [count("add"), count("change"), count("remove")];
  const [keep, extra] = [count("keep"), count("extra")];
  const sums = bilingual(
    `${add} to add, ${change} to change, ${remove} to remove; ${keep} stand already, ${extra} more are there`,
    `新增${add}项，修改${change}项，删除${remove}项；${keep}项已一致，另有${extra}项不在其中`,
  );
  return `${lines.join("")}${sums[language]}\n`;
}

/** A step as JSON. */
function stepData({ action, kind, name, fields, detail }: Step): object {
  return { action, kind, name, fields, detail };
}

/** What was made, as JSON. */
function madeData({ kind, name, file, secrets, baseUrl }: Made): object {
  return { kind, name, file, ...secrets, base_url: baseUrl };
}

/** What whoever gets a key has to know, a line each. */
function madeText(made: readonly Made[], language: Language): string {
  const lines = made.map(({ kind, name, file, secrets = {}, baseUrl = "" }) => {
    const values = Object.entries(secrets).map(([field, value]) =>
      field === "api_key" ? value : `${field}=${value}`,
    );
    const [who, url, keys] = [name, baseUrl, file ?? values.join(" ")].map(plainText);
    return kind === "key"
      ? bilingual(`${who}: base URL ${url}, key ${keys}`, `${who}：地址 ${url}，密钥 ${keys}`)
      : bilingual(`pushes of ${who}: Token and key ${keys}`, `${who} 的推送：Token和密钥 ${keys}`);
  });
  return lines.map((line) => `${line[language]}\n`).join("");
}
