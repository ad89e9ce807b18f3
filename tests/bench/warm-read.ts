import { benchServer, urlOf } from "./bench-server.ts";
import type { Effort } from "./effort.ts";
import type { Figure } from "./figures.ts";
import { startKeyedService } from "./keyed-service.ts";
import { loadInTurn, ratios, type Target } from "./load.ts";

/**
 * A warm token read, with a client's key, its rate limit and the count for the audit; in turn with a server that only
 * sends as many bytes, and with the least that does the same work.
 */
export async function warmRead(effort: Effort): Promise<Figure[]> {
  await using it = await startKeyedService();
  const size = (await textOf(it.read)).length;
  await using bareServer = benchServer("bare-server.ts", String(size));
  await using elysiaServer = benchServer("elysia-server.ts", String(size), it.key);
  const bare = { ...it.read, url: await urlOf(bareServer) };
  const elysia = { ...it.read, url: it.read.url.replace(it.url, await urlOf(elysiaServer)) };
  await checkAlike(it.read, elysia);
  const of = await loadInTurn("warm read", { ours: it.read, bare, elysia }, effort);
  return [
    {
      name: "warm getXcx with a key / bare Bun.serve",
      unit: "×",
      values: ratios(of.ours, of.bare, "requestsPerSecond"),
      target: { atLeast: 0.5 },
    },
    {
      name: "the same / one minimal Elysia route that does the same work",
      unit: "×",
      values: ratios(of.ours, of.elysia, "requestsPerSecond"),
      target: { atLeast: 0.85 },
    },
    {
      name: "the same: p99 / bare Bun.serve",
      unit: "×",
      values: ratios(of.ours, of.bare, "p99Ms"),
      target: { atMost: 2 },
    },
    {
      name: "that Elysia route / bare Bun.serve",
      unit: "×",
      values: ratios(of.elysia, of.bare, "requestsPerSecond"),
    },
  ];
}

/** A warm token read as WeChat has it, with a key in the place of the secret, in turn with a bare server. */
export async function dropInRead(effort: Effort): Promise<Figure[]> {
  await using it = await startKeyedService();
  const query = new URLSearchParams({ grant_type: "client_credential", appid: it.appId, secret: it.key });
  const ours = { url: `${it.url}/cgi-bin/token?${query.toString()}` };
  const text = await textOf(ours);
  if (!text.includes('"access_token"')) throw new Error(`no token came: ${text.slice(0, 200)}`);
  await using bare = benchServer("bare-server.ts", String(text.length));
  const of = await loadInTurn("drop-in token", { ours, bare: { url: await urlOf(bare) } }, effort);
  return [
    {
      name: "warm drop-in token with a key / bare Bun.serve",
      unit: "×",
      values: ratios(of.ours, of.bare, "requestsPerSecond"),
      target: { atLeast: 0.45 },
    },
  ];
}

/** Throws unless two servers answer with as many bytes under the same headers: else they are not to be compared. */
async function checkAlike(one: Target, other: Target): Promise<void> {
  const [a = "", b = ""] = await Promise.all(
    [one, other].map(async ({ url, headers = {} }) => {
      const response = await fetch(url, { headers });
      const names = [...response.headers.keys()].toSorted();
      return `${response.status}, ${(await response.text()).length} bytes, ${names.join(" ")}`;
    }),
  );
  if (a !== b) throw new Error(`the answers are not alike:\n${a}\n${b}`);
}

async function textOf({ url, headers = {} }: Target): Promise<string> {
  return (await fetch(url, { headers })).text();
}
