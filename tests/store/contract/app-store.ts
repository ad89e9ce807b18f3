import { expect, test as declared } from "bun:test";
import type { App, WeixinApp } from "../../../src/apps/app.ts";
import { Secret } from "../../../src/secret.ts";
import type { Store } from "../../../src/store/store.ts";
import type { OpenStore } from "./open-store.ts";
import { failureOf } from "../../support/refusals.ts";

const STABLE: WeixinApp = { platform: "weixin", id: "wx1", secret: new Secret("s1"), tokenMode: "stable" };
const CLASSIC: WeixinApp = { platform: "weixin", id: "wx2", secret: new Secret("s2"), tokenMode: "classic" };
const AGENT: App = { platform: "wecom", id: "ww1", agent: "7", secret: new Secret("s3") };
const CONTACTS: App = { platform: "wecom", id: "ww1", agent: "contacts", secret: new Secret("s4") };

const ENTRY = {
  client: "admin",
  environment: "",
  address: "127.0.0.1",
  traceId: "t",
  action: "app.updated",
  app: "wx1",
  outcome: "ok",
  tokenDigest: "",
  detail: {},
} as const;

/** Apps as texts that can be compared, whatever their order. */
function plain(apps: readonly App[]): string[] {
  const texts = apps.map((app) => {
    const rest = app.platform === "weixin" ? app.tokenMode : app.agent;
    return [app.platform, app.id, rest, app.secret.reveal()].join(" ");
  });
  return texts.toSorted();
}

const plainOf = async (store: Store) => plain(await store.apps.list());
const wanted = (...apps: App[]) => plain(apps);

/** What every store of apps, and the digest beside it, must do. `kind` names it in the tests' names. */
export function appStoreContract(kind: string, open: OpenStore, test = declared): void {
  async function setup(...apps: App[]) {
    const opened = await open();
    await opened.store.apps.replaceAll(apps);
    return { ...opened, [Symbol.dispose]: () => opened.dispose() };
  }

  test(`${kind}: apps of both platforms are kept with their secrets, modes and agents`, async () => {
    using it = await setup(STABLE, CLASSIC, AGENT, CONTACTS);
    expect(await plainOf(it.store)).toEqual(wanted(STABLE, CLASSIC, AGENT, CONTACTS));
  });

  test(`${kind}: more apps than are read at once are all listed, each once`, async () => {
    const many = Array.from({ length: 1100 }, (_, n): App[] => [
      { ...STABLE, id: `wx${n}` },
      { platform: "wecom", id: `ww${n % 7}`, agent: String(n), secret: new Secret("s3") },
    ]).flat();
    using it = await setup(...many);
    expect(await plainOf(it.store)).toEqual(wanted(...many));
  });

  test(`${kind}: the stored apps become those that are given: new, changed and gone ones alike`, async () => {
    using it = await setup(STABLE, CLASSIC, AGENT);
    const changed: App = { ...STABLE, secret: new Secret("rotated") };
    const moded: App = { ...CLASSIC, tokenMode: "stable" };
    await it.store.apps.replaceAll([changed, moded, CONTACTS]);
    expect(await plainOf(it.store)).toEqual(wanted(changed, moded, CONTACTS));
    await it.store.apps.replaceAll([]);
    expect(await it.store.apps.list()).toEqual([]);
  });

  test(`${kind}: an app of the environment that is managed, too, is told, and the managed one stays as it is`, async () => {
    using it = await setup(CLASSIC);
    await it.store.apps.create({ ...STABLE, managed: { title: "T", isDisabled: false, version: 0 } }, ENTRY);
    const both: App = { ...STABLE, secret: new Secret("another"), tokenMode: "classic" };
    for (let n = 0; n < 2; n++) expect(await it.store.apps.replaceAll([both, AGENT])).toEqual([both]);
    expect(await plainOf(it.store)).toEqual(wanted(STABLE, AGENT));
    expect(await it.store.apps.replaceAll([AGENT])).toEqual([]);
    expect(await it.store.apps.listManaged()).toMatchObject([{ managed: { title: "T" } }]);
  });

  test(`${kind}: a managed app begins at a version that none of that name has had before`, async () => {
    using it = await setup();
    const app = (version: number): App => ({
      ...STABLE,
      managed: { title: undefined, isDisabled: false, version },
    });
    const seen: number[] = [];
    for (let n = 0; n < 3; n++) {
      await it.store.apps.create(app(0), ENTRY);
      const version = (await it.store.apps.listManaged())[0]?.managed?.version ?? 0;
      await it.store.apps.update(app(version + 1), ENTRY);
      seen.push(version, version + 1);
      await (await it.beside()).apps.remove(app(version + 1), ENTRY);
    }
    expect(new Set(seen).size).toBe(6);
    expect(seen).toEqual(seen.toSorted((a, b) => a - b));
  });

  test(`${kind}: what says where an app's pushes and web logins go is removed with it, in every process, and others' stays`, async () => {
    using it = await setup();
    const { apps, callbackSettings, redirectOrigins, environments } = it.store;
    const managed = { title: undefined, isDisabled: false, version: 0 };
    const token = new Secret("t");
    const [one, other] = ["ww1_7", "ww1_contacts"];
    for (const app of [AGENT, CONTACTS]) await apps.create({ ...app, managed }, ENTRY);
    for (const app of [one, other]) {
      const settings = { app, token, mode: "plain", format: "xml", receiveIds: ["ww1"] } as const;
      await callbackSettings.save(settings, undefined, ENTRY);
      const target = { app, name: "prod", environment: "prod", url: "https://prod.example", timeoutMs: 1000 };
      await callbackSettings.saveTarget({ ...target, content: "original" }, undefined, ENTRY);
      await callbackSettings.saveRoutes(
        app,
        [{ target: "prod", role: "primary", rule: {} }],
        undefined,
        ENTRY,
      );
      const origins = [{ origin: `https://${app.replace("_", "-")}.example`, path: "" }];
      await redirectOrigins.replace({ app, environment: "prod" }, origins, undefined, ENTRY);
    }
    expect((await environments.list()).map(({ name }) => name)).toEqual(["prod"]);
    const before = (["callbacks", "environments"] as const).map((topic) => it.store.changes.epoch(topic));
    const version = (await apps.listManaged()).find((app) => app.platform === "wecom" && app.agent === "7")
      ?.managed?.version;
    await (
      await it.beside()
    ).apps.remove({ ...AGENT, managed: { ...managed, version: version ?? 0 } }, ENTRY);
    await it.store.changes.catchUp();
    const after = (["callbacks", "environments"] as const).map((topic) => it.store.changes.epoch(topic));
    expect(after.every((epoch, n) => epoch > (before[n] ?? 0))).toBe(true);
    await callbackSettings.save({ app: one, token, mode: "plain", format: "xml", receiveIds: [] }, 0, ENTRY);
    const { apps: all } = await callbackSettings.load();
    const kept = all.map(({ settings, targets, routes }) => [settings.app, targets.length, routes.length]);
    expect(kept.toSorted(([a], [b]) => String(a).localeCompare(String(b)))).toEqual([
      [one, 0, 0],
      [other, 1, 1],
    ]);
    expect((await redirectOrigins.loadOrigins()).map(({ app }) => app)).toEqual([other]);
  });

  test(`${kind}: P5: of two that exchange the secret of an authorization one wins, and other changes leave it alone`, async () => {
    using it = await setup();
    const { apps, credentials } = it.store;
    const slot = { platform: "weixin", appId: "wxa1", name: "wxc1" } as const;
    const authorization = { platformApp: "wxc1", authorizedAt: 1000, scopes: [1, 2] };
    const managed = { title: "T", isDisabled: false, version: 0 };
    const app: WeixinApp = { ...STABLE, id: "wxa1", secret: new Secret("one"), authorization, managed };
    await apps.create(app, ENTRY);
    const token = { value: new Secret("token"), issuedAt: it.clock.now(), expiresAt: it.clock.now() + 1000 };
    await credentials.accept({ slot, kind: "access_token" }, token);
    const isThere = async () =>
      (await credentials.find({ slot, kind: "access_token" })).credential !== undefined;
    const held = await apps.findSecret(slot);
    const other = (await it.beside()).apps;
    const exchanged = [new Secret("two"), new Secret("three")].map((secret, n) =>
      [apps, other][n]!.exchangeSecret(slot, held!.version, secret),
    );
    const won = await Promise.all(exchanged);
    expect(won.filter(Boolean)).toHaveLength(1);
    const winner = won[0] ? "two" : "three";
    // Whoever changes something else has read it before.
    const change = async (given: Partial<WeixinApp>, secretVersion?: number) => {
      const version = ((await apps.listManaged())[0]?.managed?.version ?? 0) + 1;
      await other.update({ ...app, ...given, managed: { ...managed, version } }, ENTRY, secretVersion);
    };
    await change({});
    expect((await apps.findSecret(slot))?.secret.reveal()).toBe(winner);
    expect(await isThere()).toBeTrue();
    const given = { secret: new Secret("four") };
    expect(await failureOf(change(given, held!.version))).toMatchObject({ code: "precondition_failed" });
    await change({ authorization: { ...authorization, lostAt: 2000 } });
    expect(await isThere()).toBeFalse();
    expect((await apps.listManaged())[0]?.authorization?.lostAt).toBe(2000);
    await change(given, held!.version + 1);
    expect(await apps.findSecret(slot)).toMatchObject({ version: held!.version + 2 });
    expect((await apps.findSecret(slot))?.secret.reveal()).toBe("four");
    expect((await apps.listManaged())[0]?.authorization).toMatchObject(authorization);
    expect((await apps.find(slot))?.authorization).toMatchObject(authorization);
    expect(await apps.find({ ...slot, appId: "wxa2" })).toBeUndefined();
  });

  test(`${kind}: P3: apps are still there after closing and opening`, async () => {
    using it = await setup(STABLE, AGENT);
    expect(await plainOf(await it.reopen())).toEqual(wanted(STABLE, AGENT));
  });

  test(`${kind}: the digest of a secret is the same after a restart, differs by app and platform, and says nothing`, async () => {
    using it = await setup();
    const secret = new Secret("some-secret");
    const digest = it.store.digest("weixin", "wx1", secret);
    expect(digest).toMatch(/^[\w-]{22}$/);
    const others = [
      it.store.digest("wecom", "wx1", secret),
      it.store.digest("weixin", "wx2", secret),
      it.store.digest("weixin", "wx1", new Secret("other")),
    ];
    expect(new Set([digest, ...others]).size).toBe(4);
    expect((await it.reopen()).digest("weixin", "wx1", secret)).toBe(digest);
  });
}
