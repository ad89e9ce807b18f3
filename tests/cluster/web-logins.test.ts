import { expect } from "bun:test";
import { Harness } from "../support/harness.ts";
import { postgresTest as test } from "../support/postgres-server.ts";
import { ask } from "../support/process-harness.ts";
import { ClusterHarness, type ClusterNode } from "./cluster-harness.ts";

const HOME = { dev: "https://dev.example.com", prod: "https://www.example.com" } as const;

/** Opens a URL of a node's as a browser does; where it is sent. */
async function open({ url }: ClusterNode, path: string): Promise<URL> {
  const { headers } = await fetch(url + path, { redirect: "manual" });
  return new URL(headers.get("location") ?? "about:blank");
}

test("a web login that begins at one node ends at another, and both know whose its code is", async () => {
  await using cluster = await ClusterHarness.create({ apps: 1 });
  const nodes = await cluster.start(2, { PUBLIC_URL: "https://wx.example.com" });
  const [first, second] = nodes as [ClusterNode, ClusterNode];
  const [app = ""] = cluster.apps;
  const keyOf = async (environment: keyof typeof HOME): Promise<string> => {
    const origins = { redirect_origins: [HOME[environment]] };
    const client = `shop-${environment}`;
    const grants = [{ apps: [app], actions: ["login"] }];
    await cluster.administer(first, "PUT", `/v1/environments/${environment}`, {});
    await cluster.administer(first, "PUT", `/v1/apps/${app}/redirect-origins/${environment}`, origins);
    await cluster.administer(first, "POST", "/v1/clients", { client, environment, grants });
    const { data } = await cluster.administer(first, "POST", `/v1/clients/${client}/keys`, {});
    return String(data["api_key"]);
  };
  const [dev, prod] = [await keyOf("dev"), await keyOf("prod")];
  const exchange = async ({ url }: ClusterNode, code: string, key: string) => {
    const headers = { "x-api-key": key, "content-type": "application/json" };
    const body = JSON.stringify({ code, wx_app_id: app });
    return (await ask(url, "/AccessToken/getOauthAccessToken", {}, { method: "POST", headers, body })).code;
  };
  await Harness.until(async () => (await exchange(second, "sandbox-code-0", prod)) === 0);

  const redirect = encodeURIComponent(`${HOME.dev}/cb`);
  const link = `/connect/oauth2/authorize?appid=${app}&redirect_uri=${redirect}&response_type=code&scope=snsapi_base&state=%E4%BD%A0`;
  const state = (await open(first, link)).searchParams.get("state") ?? "";
  const back = `/connect/return?code=sandbox-code-1&state=${state}`;
  const home = await open(second, back);
  expect([home.origin, home.pathname, home.searchParams.get("state")]).toEqual([HOME.dev, "/cb", "你"]);
  expect((await open(first, back)).href).toBe(home.href);
  const code = home.searchParams.get("code") ?? "";
  expect(code).not.toBe("sandbox-code-1");
  for (const node of nodes)
    expect([await exchange(node, code, prod), await exchange(node, "sandbox-code-1", prod)]).toEqual([
      40029, 40029,
    ]);
  expect(await exchange(first, code, dev)).toBe(0);
});
