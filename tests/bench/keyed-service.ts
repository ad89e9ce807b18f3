import { join } from "node:path";
import { loadConfig } from "../../src/config.ts";
import { openLocalService } from "../../src/service.ts";
import { Child } from "../support/child.ts";
import { binary } from "../support/process-harness.ts";
import type { Target } from "./load.ts";
import { SeededFolder } from "./seeded-folder.ts";

/** The binary with one app, whose token is warm, and a client with a key that may do everything with it. */
export interface KeyedService extends AsyncDisposable {
  readonly appId: string;
  readonly key: string;
  readonly child: Child;
  readonly url: string;
  /** A folder that goes when the service goes. */
  readonly folder: string;
  /** A warm read of the documented protocol, with the key. */
  readonly read: Target;
}

/** How it is started. */
export interface KeyedServiceOptions {
  /** How many apps it holds; default 1. */
  readonly apps?: number;
  /** Default the compiled service. */
  readonly program?: readonly string[];
  readonly args?: readonly string[];
  readonly env?: Record<string, string>;
  /** Is given the folder before the service starts in it. */
  readonly prepare?: (folder: SeededFolder) => Promise<void>;
}

/** Starts one in a new folder. */
export async function startKeyedService(options: KeyedServiceOptions = {}): Promise<KeyedService> {
  const { apps = 1, program = binary(), args = [], env = {} } = options;
  const folder = await SeededFolder.make(apps, { PORT: "0" });
  const [appId = ""] = folder.appIds;
  const key = await keyOfNewClient(folder.path, appId);
  await options.prepare?.(folder);
  const child = new Child([...program, "serve", ...args], { cwd: folder.path, env });
  const url = await child.serviceUrl();
  const headers = { authorization: `Bearer ${key}` };
  const read = { url: `${url}/AccessToken/getXcx?appid=${appId}`, headers };
  const dispose = async () => {
    await child[Symbol.asyncDispose]();
    folder.remove();
  };
  return { appId, key, child, url, folder: folder.path, read, [Symbol.asyncDispose]: dispose };
}

async function keyOfNewClient(folder: string, appId: string): Promise<string> {
  const database = `file:${join(folder, "data", "accesstoken.db")}`;
  const service = await openLocalService(
    loadConfig({ ENV_FILE: join(folder, ".env"), DATABASE_URL: database }),
  );
  const post = async (path: string, body: object): Promise<{ api_key?: string }> => {
    const headers = { "content-type": "application/json" };
    const init = { method: "POST", headers, body: JSON.stringify(body) };
    const response = await service.handle(new Request(`http://localhost${path}`, init));
    if (response.status !== 201) throw new Error(await response.text());
    return ((await response.json()) as { data: { api_key?: string } }).data;
  };
  const grants = [{ apps: [appId], actions: ["token:read", "api:call"] }];
  await post("/v1/clients", { client: "bench", environment: "prod", grants, rate_limit: 1_000_000 });
  const { api_key: key = "" } = await post("/v1/clients/bench/keys", {});
  await service.close();
  return key;
}
