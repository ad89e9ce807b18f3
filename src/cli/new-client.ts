import type { ApiPolicy } from "../clients/api-policy.ts";
import type { Delivery } from "../clients/client.ts";
import type { Grant } from "../clients/grant.ts";
import { type ApiAnswer, ApiRefusal } from "./api.ts";
import type { ClientData } from "./client-text.ts";
import type { Managing } from "./managing.ts";

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
