import { systemClock } from "../clock.ts";
import { ServiceError } from "../errors.ts";
import { type ApiAnswer, apiPath, ApiRefusal } from "./api.ts";
import { type KeyData, keysText, OutputFailure } from "./terminal.ts";
import { isRemote, type Managing } from "./managing.ts";
import { NewFile } from "./new-file.ts";
import type { ApiPolicy } from "../access/api-policy.ts";
import type { Delivery, Grant } from "../access/client.ts";
import type { ClientData } from "./client-text.ts";

/** Running processes look for what changed in the database every 200 ms: whoever sees the key may use it at once. */
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
): Promise<void> {
  const out = at.args.find("out");
  const file = out === undefined ? undefined : new NewFile(out);
  const data = await requestKey(at, client, file, requestOf);
  if (!isRemote(at.args)) await systemClock.sleep(LEARNED_MS);
  if (file) await showKept(at, data);
  else await showOnce(at, client, data);
}

/** Has the key made, and written to the file; where that fails no file is left. */
async function requestKey(
  at: Managing,
  client: string,
  file: NewFile | undefined,
  requestOf: () => Promise<KeyRequest>,
): Promise<KeyData> {
  try {
    const { data } = await at.api.send<KeyData>({ method: "POST", ...(await requestOf()) });
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

function isKept(file: NewFile, content: string): boolean {
  try {
    file.write(content);
    file.finish();
    return true;
  } catch {
    return false;
  }
}

/** Revokes a key that nobody has got. Resolves with what the person must know of it. */
async function takeBack({ api }: Managing, client: string, key: string): Promise<string> {
  try {
    await api.send({ method: "DELETE", path: apiPath`/v1/clients/${client}/keys/${key}` });
    return `密钥 ${key} 已吊销 (key ${key} was revoked)`;
  } catch {
    const command = `accesstoken keys revoke ${client} ${key}`;
    return `密钥 ${key} 未能吊销，仍然有效，请执行 ${command} (key ${key} could not be revoked and is still active: ${command})`;
  }
}

/** The key alone on standard output, so that a script can take it. */
async function showOnce(at: Managing, client: string, data: KeyData): Promise<void> {
  try {
    await at.show(data, () => `${data.api_key}\n`);
  } catch (cause) {
    if (!(cause instanceof OutputFailure)) throw cause;
    throw new OutputFailure(cause.reason, { hint: await takeBack(at, client, data.key) });
  }
  at.note({
    en: `Key ${data.key} of ${client}. It is shown this once: keep it safe`,
    zh: `${client} 的密钥 ${data.key} 只显示这一次，请妥善保存`,
  });
}

/** The key's public name and facts. */
async function showKept(at: Managing, { api_key: _key, ...shown }: KeyData): Promise<void> {
  try {
    await at.show(shown, () => keysText([shown]));
  } catch (cause) {
    if (!(cause instanceof OutputFailure)) throw cause;
    const hint = `密钥 ${shown.key} 有效，已写入 --out 的文件 (key ${shown.key} is active and in the file of --out)`;
    throw new OutputFailure(cause.reason, { hint });
  }
}

/** A client as it is sent to be made. */
export interface NewClient {
  readonly client: string;
  readonly environment: string;
  readonly grants: readonly Grant[];
  readonly networks?: readonly string[];
  readonly expires_at?: number;
  readonly rate_limit?: number;
  readonly concurrency?: number;
  readonly delivery?: Delivery;
  readonly policy?: Pick<ApiPolicy, "preset"> & Partial<ApiPolicy>;
}

const DIFFERS =
  "授权用 clients grant 或 revoke 修改，其余用 clients set 修改 (clients grant or revoke changes its grants, clients set the rest)";

/** Makes a client. Where there was none before, the person is told what that means to callers without a key. */
export async function createClient({ api, note }: Managing, body: NewClient): Promise<ClientData> {
  const before = await api.get<{ readonly clients: readonly unknown[] }>("/v1/clients?limit=1");
  const answer = await post(api, body);
  if (answer.status !== 201) {
    note({ en: "It was there already, the very same", zh: "该客户端已存在，且完全相同" });
  } else if (before.clients.length === 0) {
    note({
      en: "From now on callers without a key or an app's secret are refused, unless ANONYMOUS=on",
      zh: "从现在起，不带密钥或应用secret的请求将被拒绝，除非设置 ANONYMOUS=on",
    });
  }
  return answer.data;
}

async function post(api: Managing["api"], body: NewClient): Promise<ApiAnswer<ClientData>> {
  try {
    return await api.send<ClientData>({ method: "POST", path: "/v1/clients", body });
  } catch (error) {
    throw error instanceof ApiRefusal && error.status === 409 ? error.hinted(DIFFERS) : error;
  }
}
