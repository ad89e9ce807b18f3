import { expect } from "bun:test";
import { createAdmin } from "../support/access-harness.ts";
import { Browser, browserTest } from "../support/browser.ts";
import { Harness, WX } from "../support/harness.ts";

/** A page of another port of this machine: of the same site, so the browser sends it every cookie of ours. */
function servePage(html: string) {
  const server = Bun.serve({
    hostname: "127.0.0.1",
    port: 0,
    fetch: () => new Response(html, { headers: { "content-type": "text/html; charset=utf-8" } }),
  });
  return { url: server.url.href, [Symbol.asyncDispose]: () => server.stop(true) };
}

/** A browser in which an administrator is signed in to the console. */
async function setup() {
  const world = await Harness.create({ environment: { ANONYMOUS: "off" } });
  const key = await createAdmin(world);
  const browser = await Browser.open();
  const { url } = world.service;
  await browser.navigate(`${url}/console/`);
  const body = JSON.stringify(JSON.stringify({ key }));
  const headers = `{ "content-type": "application/json" }`;
  const signIn = `fetch("/console/session", { method: "POST", headers: ${headers}, body: ${body} })`;
  expect(await browser.evaluate<number>(`${signIn}.then((r) => r.status)`)).toBe(200);
  expect(await browser.evaluate<number>(`fetch("/v1/clients").then((r) => r.status)`)).toBe(200);
  world.events.length = 0;
  const isSignedIn = async () => {
    await browser.navigate(`${url}/console/`);
    return browser.evaluate<boolean>(`fetch("/console/session").then((r) => r.ok)`);
  };
  const dispose = async () => {
    browser[Symbol.dispose]();
    await world[Symbol.asyncDispose]();
  };
  return { world, browser, url, isSignedIn, [Symbol.asyncDispose]: dispose };
}

/** What came to routes of `/v1` and of sessions, and was answered with success. */
function served({ events }: Harness): string[] {
  return events.flatMap((event) =>
    event.type === "request.handled" && event.code === 0 && /^\/(v1|console\/se)/.test(event.route)
      ? [`${event.method} ${event.route}`]
      : [],
  );
}

/** How many requests of a page of another origin have come to an end. */
function refusals({ events }: Harness): number {
  return events.filter((event) => event.type === "request.handled" && event.code !== 0).length;
}

browserTest(
  "CSRF: a page of another port, to which the browser sends the cookie, gets nothing read and nothing done by image, fetch or script",
  async () => {
    await using it = await setup();
    const { browser, world, url } = it;
    await using page = servePage("<!doctype html><title>foreign</title>");
    await browser.navigate(page.url);
    const attempt = (path: string, init: object) =>
      browser.evaluate<string>(
        `fetch(${JSON.stringify(url + path)}, ${JSON.stringify({ credentials: "include", ...init })})
          .then((r) => r.type + " " + r.status, () => "blocked")`,
      );
    const body = JSON.stringify({ client: "evil", environment: "dev", grants: [] });
    const got = [
      await attempt("/v1/clients", {}),
      await attempt("/v1/clients", { mode: "no-cors" }),
      await attempt("/v1/clients", { method: "POST", mode: "no-cors", body }),
      await attempt("/v1/clients", { method: "POST", headers: { "content-type": "application/json" }, body }),
      await attempt(`/v1/apps/${WX.appId}`, { method: "DELETE" }),
      await attempt("/console/session", { method: "DELETE" }),
      await attempt("/console/session", { method: "POST", mode: "no-cors", body: "{}" }),
    ];
    expect(got).toEqual(got.map(() => "blocked"));
    const element = (tag: string, path: string) =>
      browser.evaluate<string>(
        `new Promise((done) => {
          const e = document.createElement("${tag}");
          e.onload = () => done("loaded");
          e.onerror = () => done("failed");
          e.src = ${JSON.stringify(url + path)};
          document.body.append(e);
        })`,
      );
    expect(await element("img", `/v1/apps/${WX.appId}/credentials/access_token`)).toBe("failed");
    expect(await element("script", "/v1/clients")).toBe("failed");
    expect(refusals(world)).toBeGreaterThanOrEqual(5);
    expect(served(world)).toEqual([]);
    expect(await it.isSignedIn()).toBe(true);
    expect((await world.administer("/v1/clients")).data["clients"]).toHaveLength(1);
  },
);

browserTest(
  "CSRF: a form that a foreign page sends by itself changes nothing and signs nobody out",
  async () => {
    await using it = await setup();
    const { browser, world, url } = it;
    const form = (action: string, enctype: string) =>
      `<!doctype html><title>foreign</title><form method="post" action="${url}${action}" enctype="${enctype}">
      <input name='{"client":"evil","environment":"dev","grants":[],"x":"' value='"}'></form>
      <script>document.forms[0].submit()</script>`;
    for (const [action, enctype] of [
      ["/v1/clients", "text/plain"],
      ["/v1/clients", "application/x-www-form-urlencoded"],
      ["/console/session", "text/plain"],
      ["/console/setup", "multipart/form-data"],
    ] as const) {
      const before = refusals(world);
      await using page = servePage(form(action, enctype));
      await browser.navigate(page.url);
      await Harness.until(() => refusals(world) > before);
    }
    expect(served(world)).toEqual([]);
    expect(await it.isSignedIn()).toBe(true);
    expect((await world.administer("/v1/clients")).data["clients"]).toHaveLength(1);
  },
);

browserTest(
  "clickjacking and opener: no page can frame the console, and none that opens it has a hold on it",
  async () => {
    await using it = await setup();
    const { browser, url } = it;
    await using other = servePage("<!doctype html><title>other</title>");
    // Only what somebody clicks on may open a window.
    const opening = (name: string, target: string) => `<button id="${name}" onclick='
      const child = window.open("${target}");
      const end = Date.now() + 2000;
      const look = () => {
        const result = child.closed ? "cut" : Date.now() > end ? "held" : undefined;
        if (!result) return setTimeout(look, 20);
        document.title = "${name} " + result;
        if (result === "held") child.close();
      };
      look();
    '>${name}</button>`;
    const buttons = opening("other", other.url) + opening("console", `${url}/console/`);
    await using page = servePage(
      `<!doctype html><title>foreign</title>${buttons}<iframe src="${url}/console/"></iframe>`,
    );
    await browser.navigate(page.url);
    await Harness.until(() => JSON.stringify(browser.complaints).includes("frame-ancestors"));
    await browser.until("document.querySelector('iframe').contentDocument === null");
    const hold = async (name: string) => {
      await browser.click(`#${name}`);
      return browser.until<string>(`document.title.startsWith("${name} ") && document.title`);
    };
    expect(await hold("other")).toBe("other held");
    expect(await hold("console")).toBe("console cut");
  },
);
