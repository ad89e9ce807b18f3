import { expect } from "bun:test";
import { Browser, browserTest } from "../support/browser.ts";
import { Harness, WX } from "../support/harness.ts";
import { LoginHarness } from "./login-harness.ts";

const STATE = "状态 🙂/?&=#+";

/**
 * The web site of an environment: its log-in page goes to WeChat by way of the service, and its return page checks the
 * state by a cookie of its own, exchanges the code with its own key, and says who the user is.
 */
function openSite(at: {
  readonly name: string;
  readonly publicUrl: string;
  readonly serviceUrl: string;
  readonly key: string;
}) {
  const seen: string[] = [];
  const server = Bun.serve({
    hostname: "127.0.0.1",
    port: 0,
    fetch: async (request) => {
      const url = new URL(request.url);
      const origin = `http://${at.name}.localhost:${server.port}`;
      if (url.pathname === "/login") {
        const state = `${STATE}${crypto.randomUUID()}`;
        const query = new URLSearchParams({
          ...{ appid: WX.appId, redirect_uri: `${origin}/cb?from=登录#/home`, response_type: "code" },
          ...{ scope: url.searchParams.get("scope") ?? "snsapi_userinfo", state },
        });
        const headers = new Headers({
          location: `${at.publicUrl}/connect/oauth2/authorize?${query.toString()}#wechat_redirect`,
        });
        headers.set("set-cookie", `state=${encodeURIComponent(state)}; HttpOnly; SameSite=Lax`);
        return new Response(null, { status: 302, headers });
      }
      if (url.pathname !== "/cb") return new Response(null, { status: 404 });
      seen.push(url.searchParams.get("code") ?? "(none)");
      const cookie = /state=([^;]*)/.exec(request.headers.get("cookie") ?? "")?.[1] ?? "";
      const isOurs = decodeURIComponent(cookie) === url.searchParams.get("state");
      if (!isOurs || url.searchParams.get("from") !== "登录") return page("forged");
      const code = url.searchParams.get("code");
      if (code === null) return page("refused");
      const exchange = new URLSearchParams({
        ...{ appid: WX.appId, secret: at.key, code, grant_type: "authorization_code" },
      });
      const answer = await fetch(`${at.serviceUrl}/sns/oauth2/access_token?${exchange.toString()}`);
      const { openid, errcode } = (await answer.json()) as { openid?: string; errcode?: number };
      return page(openid === undefined ? `error ${errcode}` : `welcome ${openid}`);
    },
  });
  const origin = `http://${at.name}.localhost:${server.port}`;
  return { origin, seen, stop: () => server.stop(true) };
}

function page(text: string): Response {
  const headers = { "content-type": "text/html; charset=utf-8", "cache-control": "no-store" };
  return new Response(`<title>site</title><p id="said">${text}</p>`, { headers });
}

async function setup() {
  const at = await LoginHarness.create({
    sandbox: { weixinApps: [{ ...WX, webDomain: "wx.localhost" }] },
  });
  // The public host is another name of the port, which is known from now on.
  const { port } = new URL(at.world.service.url);
  const publicUrl = `http://wx.localhost:${port}`;
  await at.world.stop();
  await at.world.start({
    ...{ PORT: port, PUBLIC_URL: publicUrl, WEIXIN_OPEN_BASE_URL: at.world.sandbox.weixinUrl },
  });
  const serviceUrl = at.world.service.url;
  const siteOf = async (name: string, environment: string) => {
    const site = openSite({ name, publicUrl, serviceUrl, key: await at.key(environment) });
    await at.allow(WX.appId, environment, [site.origin]);
    return site;
  };
  const sites = {
    dev: await siteOf("dev", "dev"),
    st: await siteOf("st", "st"),
    prod: await siteOf("www", "prod"),
  };
  const browser = await Browser.open({ width: 800, height: 600 });
  const read = (script: string) => browser.until<string>(script);
  /** Does what leads to another page. */
  const leave = (script: string) => browser.evaluate(script).catch(() => undefined);
  const said = () => read("document.querySelector('#said')?.innerText ?? ''");
  /** The link of a button on WeChat's page. */
  const linkOf = (button: "approve" | "refuse") => read(`document.querySelector('#${button}')?.href ?? ''`);
  return {
    ...{ at, sites, browser, read, leave, said, linkOf },
    [Symbol.asyncDispose]: async () => {
      browser[Symbol.dispose]();
      for (const site of Object.values(sites)) await site.stop();
      await at[Symbol.asyncDispose]();
    },
  };
}

browserTest("in a real browser dev, st and prod log their users in through one domain", async () => {
  await using t = await setup();
  const { sites, browser, read, leave, said, linkOf } = t;
  for (const site of Object.values(sites)) {
    await browser.navigate(`${site.origin}/login`);
    await linkOf("approve");
    await browser.click("#approve");
    expect(await said()).toMatch(/^welcome o/);
    expect(await read("location.origin + location.hash")).toBe(`${site.origin}#/home`);
  }
  expect(sites.prod.seen[0]).toStartWith("sandbox-code-");
  expect(sites.dev.seen[0]).not.toStartWith("sandbox-code-");

  // A refused consent brings the state alone.
  await browser.navigate(`${sites.dev.origin}/login`);
  await linkOf("refuse");
  await browser.click("#refuse");
  expect(await said()).toBe("refused");

  // A double click sends the return twice.
  await browser.navigate(`${sites.st.origin}/login`);
  const doubled = await linkOf("approve");
  await leave("[1, 2].forEach(() => document.querySelector('#approve').click())");
  const welcome = await said();
  expect(welcome).toMatch(/^welcome o/);

  // The same return, sent once more, leads to the same place with the same code.
  await browser.navigate(doubled);
  expect(await said()).toBe(welcome);
  expect(new Set(sites.st.seen.slice(1)).size).toBe(1);

  // The back button leads to WeChat's page, which has another code for the same state by now: that login is over.
  await browser.navigate(`${sites.dev.origin}/login`);
  const first = await linkOf("approve");
  await browser.click("#approve");
  expect(await said()).toMatch(/^welcome o/);
  await leave("history.back()");
  await linkOf("approve");
  await leave("location.reload()");
  await Harness.until(async () => (await linkOf("approve")) !== first);
  await browser.click("#approve");
  // WeChat's page is there until ours comes.
  await browser.shows("请回到原来的页面重新登录");
  expect(await read("location.host")).toStartWith("wx.localhost:");
});
