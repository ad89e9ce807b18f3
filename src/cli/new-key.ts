import { bilingual } from "./arguments.ts";
import type { CreatedKeyData, KeyData } from "../api/v1-keys-schema.ts";
import { systemClock } from "../clock.ts";
import { ServiceError } from "../errors.ts";
import { apiPath } from "./api.ts";
import { localTime, OutputFailure, textTable } from "./terminal.ts";
import { isRemote, type Managing } from "./managing.ts";
import { NewFile } from "./file-arguments.ts";

/** Running processes look for what changed in the database every 200 ms: a key that is shown works at once. */
const LEARNED_MS = 300;

/** What makes a key: a path of `/v1` and the body that is sent to it. */
export interface KeyRequest {
  readonly path: string;
  readonly body: object;
}

/** Where the keys of a client are. */
export function keysPath(client: string): string {
  return apiPath`/v1/clients/${client}/keys`;
}

/**
 * Has a key made and shows it, or writes it to `--out`.
 *
 * The file is made first: a key that can't be kept must not exist. One that can be neither written to it nor shown is
 * revoked. Once the key is in the file, the file stays whatever happens.
 */
export async function makeKey(
  at: Managing,
  client: string,
  requestOf: () => Promise<KeyRequest>,
): Promise<CreatedKeyData> {
  const out = at.args.find("out");
  const file = out === undefined ? undefined : new NewFile(out);
  const data = await requestKey(at, client, file, requestOf);
  await untilLearned(at);
  if (file) await showKept(at, data);
  else await showOnce(at, client, data);
  return data;
}

/** Resolves when every process knows a key that was made. */
export async function untilLearned({ args }: Managing): Promise<void> {
  if (!isRemote(args)) await systemClock.sleep(LEARNED_MS);
}

/** Has the key made, and written to the file; where that fails no file is left. */
export async function requestKey(
  at: Managing,
  client: string,
  file: NewFile | undefined,
  requestOf: () => Promise<KeyRequest>,
): Promise<CreatedKeyData> {
  try {
    const { data } = await at.api.send<CreatedKeyData>({ method: "POST", ...(await requestOf()) });
    if (file && !isKept(file, `${data.api_key}\n`)) {
      const failure = "--out: 密钥无法写入文件 (the key could not be written to the file)";
      throw new ServiceError("unavailable", failure, { hint: await takeBack(at, client, data.key) });
    }
    return data;
  } catch (error) {
    file?.discard();
    throw error;
  }
}

/** Whether the file has the content now, and on the disk. */
export function isKept(file: NewFile, content: string): boolean {
  try {
    file.write(content);
    file.finish();
    return true;
  } catch {
    return false;
  }
}

/** Revokes a key that was never delivered. Resolves with the hint for the person. */
export async function takeBack({ api }: Managing, client: string, key: string): Promise<string> {
  try {
    await api.send({ method: "DELETE", path: apiPath`/v1/clients/${client}/keys/${key}` });
    return `密钥 ${key} 已吊销 (key ${key} was revoked)`;
  } catch {
    const command = `accesstoken keys revoke ${client} ${key}`;
    return `密钥 ${key} 未能吊销，仍然有效，请执行 ${command} (key ${key} could not be revoked and is still active: ${command})`;
  }
}

/** The key alone on standard output, so that a script can take it. */
async function showOnce(at: Managing, client: string, data: CreatedKeyData): Promise<void> {
  try {
    await at.show(data, () => `${data.api_key}\n`);
  } catch (cause) {
    if (!(cause instanceof OutputFailure)) throw cause;
    throw new OutputFailure(cause.reason, { hint: await takeBack(at, client, data.key) });
  }
  at.note(
    bilingual(
      `Key ${data.key} of ${client}. It is shown this once: keep it safe`,
      `${client} 的密钥 ${data.key} 只显示这一次，请妥善保存`,
    ),
  );
}

/** The key's public name and facts. */
async function showKept(
  at: Managing,
  { api_key: _key, base_url: _url, ...shown }: CreatedKeyData,
): Promise<void> {
  try {
    await at.show(shown, () => keysText([shown]));
  } catch (cause) {
    if (!(cause instanceof OutputFailure)) throw cause;
    const hint = `密钥 ${shown.key} 有效，已写入 --out 的文件 (key ${shown.key} is active and in the file of --out)`;
    throw new OutputFailure(cause.reason, { hint });
  }
}

/** Keys for a person, a line each. */
export function keysText(keys: readonly KeyData[]): string {
  return textTable(keys, {
    KEY: ({ key }) => key,
    STATE: ({ state }) => state,
    CREATED: ({ created_at }) => localTime(created_at),
    EXPIRES: ({ revoked_at, expires_at }) => localTime(revoked_at ?? expires_at),
    "LAST USED": ({ last_used_at }) => localTime(last_used_at),
    ...(keys.some(({ replaced_by }) => replaced_by)
      ? { "REPLACED BY": ({ replaced_by }: KeyData) => replaced_by }
      : {}),
    LABEL: ({ label }) => label,
  });
}
