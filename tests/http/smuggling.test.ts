import { expect, test } from "bun:test";
import { rawExchange } from "../support/raw-http.ts";
import { Harness, WX } from "../support/harness.ts";
import { HIDDEN_ROUTE, SMUGGLING, TAIL } from "./smuggling-cases.ts";

function routesIn(world: Harness): string[] {
  return world.events.flatMap((event) =>
    event.type === "request.handled" ? [`${event.method} ${event.route}`] : [],
  );
}

const [OURS, THEIRS] = ["POST /JsSDK/getJsApiSign", "POST /cgi-bin/stable_token"] as const;

/** The same at the root, where WeChat's own paths are answered by another hand. */
const AT_ROOT = SMUGGLING.filter(({ sent }) => sent.startsWith(OURS)).map((attack) => ({
  ...attack,
  name: `${attack.name}, at the root,`,
  sent: attack.sent.replace(OURS, THEIRS),
  routes: attack.routes.map((route) => route.replace(OURS, THEIRS)),
}));

test.each([...SMUGGLING, ...AT_ROOT])(
  "$name hides no second request, and a good one is answered after it",
  async (attack) => {
    await using world = await Harness.create();
    const answers = await rawExchange(world.service.url, attack.sent, TAIL);
    expect(answers.map(({ status }) => status)).toEqual([...attack.statuses]);
    expect((await world.get("/")).code).toBe(0);
    await Harness.until(() => routesIn(world).length > attack.routes.length);
    expect(routesIn(world).toSorted()).toEqual([...attack.routes, "GET /"].toSorted());
    expect(world.sandbox.calls()).toBe(0);
    expect(world.events.filter(({ type }) => type === "request.failed")).toEqual([]);
    // What was hidden would have been seen: it costs a call and has an event.
    expect((await world.get("/AccessToken/getXcx", { appid: WX.appId })).code).toBe(0);
    expect(routesIn(world)).toContain(HIDDEN_ROUTE);
    expect(world.sandbox.calls()).toBe(1);
  },
);
