import { expect, test as declared } from "bun:test";
import type {
  AppCallbacks,
  CallbackSettings,
  Route,
  Target,
} from "../../../src/callbacks/callback-settings.ts";
import { Secret } from "../../../src/secret.ts";
import type { Store } from "../../../src/store/store.ts";
import { entryOf } from "../../support/audit-entries.ts";
import { failureOf } from "../../support/refusals.ts";
import type { OpenStore } from "./open-store.ts";

const ENTRY = entryOf({ action: "callback.updated", app: "wx1" });
const SETTINGS = {
  app: "wx1",
  token: new Secret("token"),
  aesKey: new Secret("key"),
  previousToken: new Secret("old token"),
  previousAesKey: new Secret("old key"),
  mode: "compat",
  format: "json",
  receiveIds: ["wx1", ""],
  checkedAt: undefined,
} as const;
const PLAIN = {
  ...SETTINGS,
  ...{ app: "wx2", aesKey: undefined, previousToken: undefined, previousAesKey: undefined },
  mode: "plain",
  format: "xml",
  receiveIds: ["wx2"],
} as const satisfies Omit<CallbackSettings, "version">;
const PROD = {
  ...{ app: "wx1", name: "prod", environment: "prod", url: "https://prod.example/$APPID$" },
  ...{ content: "reencrypted", token: new Secret("t"), aesKey: new Secret("k"), hmacKey: undefined },
  timeoutMs: 3000,
} as const satisfies Omit<Target, "version" | "pulledAt">;
const DEV = {
  ...{ app: "wx1", name: "dev", environment: "dev", url: undefined, content: "decrypted" },
  ...{ token: undefined, aesKey: undefined, hmacKey: new Secret("h"), timeoutMs: undefined },
} as const satisfies Omit<Target, "version" | "pulledAt">;
const ROUTES: readonly Route[] = [
  { target: "dev", role: "primary", rule: { openids: ["me"], eventKeys: ["qr_*"] } },
  { target: "prod", role: "primary", rule: {} },
];

/** Everything with its secrets shown, and without its versions. */
function shown({ settings, targets, routes }: AppCallbacks): unknown {
  const reveal = (facts: object): unknown =>
    Object.fromEntries(
      Object.entries(facts).map(([name, value]: [string, unknown]) => [
        name,
        name === "version" ? 0 : value instanceof Secret ? value.reveal() : value,
      ]),
    );
  return { settings: reveal(settings), targets: targets.map(reveal), routes };
}

/** What every store of callback settings must do. `kind` names it in the tests' names. */
export function callbackSettingsStoreContract(kind: string, open: OpenStore, test = declared): void {
  const setup = async () => {
    const opened = await open();
    const { callbackSettings } = opened.store;
    await callbackSettings.save(SETTINGS, 0, ENTRY);
    await callbackSettings.save(PLAIN, 0, ENTRY);
    for (const target of [PROD, DEV]) await callbackSettings.saveTarget(target, 0, ENTRY);
    await callbackSettings.saveRoutes("wx1", ROUTES, undefined, ENTRY);
    return { ...opened, callbackSettings, [Symbol.dispose]: () => opened.dispose() };
  };
  const load = async ({ callbackSettings }: Pick<Store, "callbackSettings">) => {
    const { apps, damaged } = await callbackSettings.load();
    expect(damaged).toEqual([]);
    return apps.toSorted((a, b) => (a.settings.app < b.settings.app ? -1 : 1));
  };
  const versions = async (store: Pick<Store, "callbackSettings">) => {
    const [first] = await load(store);
    return [first?.settings, ...(first?.targets ?? [])].map((each) => each?.version ?? 0);
  };

  test(`${kind}: P3: settings, targets with their environments, and routes are kept whole, in every process and over a restart`, async () => {
    using it = await setup();
    const whole = [
      {
        settings: {
          ...SETTINGS,
          ...{ token: "token", aesKey: "key", previousToken: "old token", previousAesKey: "old key" },
          version: 0,
        },
        targets: [
          { ...DEV, hmacKey: "h", pulledAt: undefined, version: 0 },
          { ...PROD, token: "t", aesKey: "k", pulledAt: undefined, version: 0 },
        ],
        routes: ROUTES,
      },
      { settings: { ...PLAIN, token: "token", version: 0 }, targets: [], routes: [] },
    ];
    expect((await load(it.store)).map(shown)).toEqual(whole);
    expect((await load(await it.beside())).map(shown)).toEqual(whole);
    const environments = await it.store.environments.list();
    expect(environments.map(({ name }) => name).toSorted()).toEqual(["dev", "prod"]);
    expect((await load(await it.reopen())).map(shown)).toEqual(whole);
  });

  test(`${kind}: a change is made of the version that was read, and each has a version that none had before`, async () => {
    using it = await setup();
    const seen = [await versions(it.store)];
    const [of, ofDev] = seen[0]!;
    const { callbackSettings } = await it.beside();
    await callbackSettings.save({ ...SETTINGS, mode: "secure" }, of, ENTRY);
    await callbackSettings.saveTarget({ ...DEV, environment: "laptop" }, ofDev, ENTRY);
    const refused = [
      callbackSettings.save(SETTINGS, of, ENTRY),
      callbackSettings.save(SETTINGS, 0, ENTRY),
      callbackSettings.saveTarget(DEV, ofDev, ENTRY),
      callbackSettings.saveTarget(DEV, 0, ENTRY),
      callbackSettings.saveRoutes("wx1", [], of, ENTRY),
      callbackSettings.removeTarget("wx1", "dev", ofDev, ENTRY),
      callbackSettings.removeTarget("wx1", "none", undefined, ENTRY),
      callbackSettings.remove("wx1", of, ENTRY),
      callbackSettings.remove("wx3", undefined, ENTRY),
    ].map(failureOf);
    expect((await Promise.all(refused)).map(({ code }) => code)).toEqual(
      refused.map(() => "precondition_failed"),
    );
    seen.push(await versions(it.store));
    await callbackSettings.remove("wx1", seen[1]![0], ENTRY);
    await callbackSettings.save(SETTINGS, 0, ENTRY);
    await callbackSettings.saveTarget(DEV, 0, ENTRY);
    seen.push(await versions(it.store));
    const ofSettings = seen.map(([version]) => version);
    const ofTarget = seen.map(([, version]) => version);
    expect([new Set(ofSettings).size, new Set(ofTarget).size]).toEqual([3, 3]);
  });

  test(`${kind}: a target goes with its routes, an app's settings go with everything, and a route names a target`, async () => {
    using it = await setup();
    const { callbackSettings } = it.store;
    const toNobody: Route[] = [{ target: "nobody", role: "copy", rule: {} }];
    const refused = [
      callbackSettings.saveRoutes("wx1", toNobody, undefined, ENTRY),
      callbackSettings.saveRoutes("wx3", [], undefined, ENTRY),
      callbackSettings.saveTarget({ ...DEV, app: "wx3" }, undefined, ENTRY),
    ].map(failureOf);
    for (const each of refused) expect((await each).code).toBe("not_found");
    await callbackSettings.removeTarget("wx1", "dev", undefined, ENTRY);
    const [left] = await load(it.store);
    expect([left?.targets.map(({ name }) => name), left?.routes]).toEqual([["prod"], ROUTES.slice(1)]);
    await callbackSettings.remove("wx1", undefined, ENTRY);
    await callbackSettings.save(SETTINGS, 0, ENTRY);
    const [again] = await load(it.store);
    expect([again?.targets, again?.routes]).toEqual([[], []]);
  });

  test(`${kind}: P7: a refused change leaves no entry, and each change raises the epoch once`, async () => {
    using it = await setup();
    const { callbackSettings, changes, audit } = it.store;
    const count = async () => (await audit.list({}, { limit: 100 })).length;
    const [epoch, entries] = [changes.epoch("callbacks"), await count()];
    expect([epoch, entries]).toEqual([5, 5]);
    await failureOf(callbackSettings.save(SETTINGS, 0, ENTRY));
    expect([changes.epoch("callbacks"), await count()]).toEqual([5, 5]);
    await callbackSettings.saveRoutes("wx1", [], undefined, ENTRY);
    expect([changes.epoch("callbacks"), await count()]).toEqual([6, 6]);
  });

  test(`${kind}: WeChat's check is noted once in five seconds, and other processes learn of it`, async () => {
    using it = await setup();
    const beside = await it.beside();
    const epoch = it.store.changes.epoch("callbacks");
    await beside.callbackSettings.noteCheck("wx1", 10_000);
    await beside.callbackSettings.noteCheck("wx1", 15_000);
    await beside.callbackSettings.noteCheck("wx9", 15_000);
    await it.store.changes.catchUp();
    const [first] = await load(it.store);
    expect([first?.settings.checkedAt, it.store.changes.epoch("callbacks") - epoch]).toEqual([10_000, 1]);
    await it.callbackSettings.noteCheck("wx1", 15_001);
    expect((await load(it.store))[0]?.settings.checkedAt).toBe(15_001);
    expect(await it.callbackSettings.lastPullsOf("wx1")).toEqual(new Map());
  });
}
