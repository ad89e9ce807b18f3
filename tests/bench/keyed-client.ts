import { join } from "node:path";
import { loadConfig } from "../../src/config.ts";
import { openLocalService } from "../../src/service.ts";

/** Makes a client that may read the token of `appId` and call WeChat for it in the database of `folder`, and answers with a key of it. */
export async function keyOfNewClient(folder: string, appId: string): Promise<string> {
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
