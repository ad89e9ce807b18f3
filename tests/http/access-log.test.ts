import { expect, test } from "bun:test";
import { createLog } from "../../src/log.ts";
import { createAdmin } from "../support/access-harness.ts";
import { endingText } from "../support/event-stream.ts";
import { allRoutes, type Route } from "../support/routes.ts";
import { Harness, WX } from "../support/harness.ts";

/** Stands wherever a caller can write something. */
const CANARY = "canaryZq8vR2";

/** What goes through a request's head beside its target, each with the canary in it. */
const HEADERS = {
  "user-agent": `${CANARY}/1.0`,
  referer: `https://a.example/${CANARY}?${CANARY}`,
  cookie: `session=${CANARY}`,
  "x-request-id": CANARY,
  "trace-id": CANARY,
  traceparent: CANARY,
  [`x-${CANARY}`]: CANARY,
  "x-http-method-override": CANARY,
  "if-match": `"${CANARY}"`,
  "accept-language": CANARY,
};
/** Those that decide who asks: with them most routes refuse. */
const CLAIMS: readonly Record<string, string>[] = [
  {},
  { authorization: `Bearer ${CANARY}` },
  { authorization: `Basic ${CANARY}` },
  { "x-api-key": `ats_${CANARY}` },
  { origin: `https://${CANARY}.example` },
  { "x-forwarded-for": CANARY },
  { forwarded: `for=${CANARY}` },
];

/** The route of each request that was handled, in turn. */
function routedIn(world: Harness): string[] {
  return world.events.flatMap((event) => (event.type === "request.handled" ? [event.route] : []));
}

/** Every line that the service has logged, down to debug. */
function linesOf(world: Harness): string[] {
  const lines: string[] = [];
  const log = createLog("debug", world.clock, (line) => lines.push(line));
  for (const event of world.events) log(event);
  return lines;
}

/** Sends the canary in every place of a request to `route`, once for each claim. */
async function sendCanaries(world: Harness, { method, pattern }: Route, key?: string): Promise<number> {
  const path = pattern.replaceAll(/:\w+/g, CANARY);
  const query = `appid=${WX.appId}&secret=${CANARY}&code=${CANARY}&access_token=${CANARY}&${CANARY}=${CANARY}`;
  const body = JSON.stringify({
    wx_app_id: WX.appId,
    wx_app_secret: CANARY,
    code: CANARY,
    url: `https://a.example/${CANARY}`,
    rejected: CANARY,
    secret: CANARY,
    [CANARY]: CANARY,
  });
  const claims = key ? [{ authorization: `Bearer ${key}` }] : CLAIMS;
  for (const claim of claims) {
    for (const target of [path, `${path}?${query}`, `${path}/${CANARY}`, `${path}?${CANARY}=%zz`]) {
      const headers = { ...HEADERS, ...claim, "content-type": "application/json" };
      const sent = { method, headers, redirect: "manual" } as const;
      const init = method === "GET" ? sent : { ...sent, body };
      await endingText(await fetch(world.service.url + target, init));
    }
  }
  return claims.length * 4;
}

const ROUTES = allRoutes();

test.each(ROUTES)(
  "P6: nothing that a caller writes into a request to $method $pattern is in a log line",
  async (route) => {
    await using world = await Harness.create();
    const sent = await sendCanaries(world, route);
    expect(routedIn(world)).toHaveLength(sent);
    const key = await createAdmin(world);
    const before = routedIn(world).length;
    const sentByAdministrator = await sendCanaries(world, route, key);
    expect(routedIn(world)).toHaveLength(before + sentByAdministrator);

    const lines = linesOf(world);
    expect(lines.filter((line) => line.includes(CANARY) || line.includes("?"))).toEqual([]);
    const routes = lines
      .map((line) => JSON.parse(line) as { event: string; route?: string })
      .flatMap(({ event, route: of = "" }) => (event === "request.handled" ? [of] : []));
    expect(routes).toHaveLength(before + sentByAdministrator);
    const known = new Set([...ROUTES.map(({ pattern }) => pattern), "(none)"]);
    expect(routes.filter((of) => !known.has(of))).toEqual([]);
  },
);
