import { Database } from "bun:sqlite";
import { expect, test } from "bun:test";
import type { AuditEntry } from "../../src/audit/audit-entry.ts";
import { Secret } from "../../src/secret.ts";
import type { Store } from "../../src/store/store.ts";
import { ManualClock } from "../support/manual-clock.ts";
import { nameOf, RotationFolder } from "../support/rotation-folder.ts";
import { tokenOf, weixinSlot } from "../support/slots.ts";
import { saveUnderLease } from "../support/store-folder.ts";

const NAME = nameOf(0);
const LATE = new Secret("written-late");
const LOGIN_END = 9_000_000_000_000;
const ENTRY: AuditEntry = {
  client: "(command line)",
  environment: "",
  address: "",
  traceId: "",
  action: "app.created",
  app: "wx9",
  outcome: "ok",
  tokenDigest: "",
  detail: {},
};
const MANAGED = { title: undefined, isDisabled: false, version: 1 };

interface Write {
  readonly write: (store: Store) => Promise<unknown>;
  readonly read: (store: Store) => Promise<unknown>;
}

/** Every way in which a sealed text is written, and how it is read. */
const WRITES: Readonly<Record<string, Write>> = {
  "a credential": {
    write: async ({ credentials }) => {
      const { generation } = await credentials.find(NAME);
      return credentials.save(NAME, { value: LATE, issuedAt: 5, expiresAt: 7_200_005 }, generation);
    },
    read: async ({ credentials }) => (await credentials.find(NAME)).credential?.value.reveal(),
  },
  "a dead value": {
    write: async ({ credentials }) => {
      const { generation } = await credentials.find(NAME);
      return credentials.markRevoked(NAME, LATE, generation, { now: 5, earlyMs: 0 });
    },
    read: async ({ credentials }) => (await credentials.find(NAME)).revoked?.reveal(),
  },
  "a login's answer": {
    write: ({ loginAnswers }) => loginAnswers.complete("login-digest", LOGIN_END, LATE),
    read: async ({ loginAnswers }) => {
      const login = await loginAnswers.begin("login-digest", 1, LOGIN_END);
      return login.state === "answered" ? login.answer.reveal() : login.state;
    },
  },
  "a managed app": {
    write: ({ apps }) =>
      apps.create(
        { platform: "weixin", id: "wx9", secret: LATE, tokenMode: "stable", managed: MANAGED },
        ENTRY,
      ),
    read: async ({ apps }) => (await apps.list()).find(({ id }) => id === "wx9")?.secret.reveal(),
  },
  "an app of the environment": {
    write: ({ apps }) =>
      apps.replaceAll([{ platform: "weixin", id: "wx9", secret: LATE, tokenMode: "stable" }]),
    read: async ({ apps }) => (await apps.list()).find(({ id }) => id === "wx9")?.secret.reveal(),
  },
};

test.each(Object.entries(WRITES))(
  "P3: %s that waits for the database while the master key is changed is written under the new one",
  async (_what, { write, read }) => {
    using files = new RotationFolder();
    await files.fill();
    const isWaiting = Promise.withResolvers<void>();
    const isExpired = Promise.withResolvers<void>();
    const clock = new ManualClock();
    clock.sleep = () => {
      isWaiting.resolve();
      return isExpired.promise;
    };
    const store = await files.open({ clock });
    const other = new Database(files.path);
    other.run("BEGIN IMMEDIATE");
    const written = write(store);
    await isWaiting.promise;
    other.run("ROLLBACK");
    other.close();
    await files.rotate();
    isExpired.resolve();
    await written;
    expect(await read(store)).toBe(LATE.reveal());
    expect(await read(await files.open())).toBe(LATE.reveal());
    expect(files.keyIds().used).toEqual(files.keyIds().known);
  },
);

test("P4: an app that is renamed before its process has heard of the new key keeps its secret and its token", async () => {
  using files = new RotationFolder();
  await files.fill();
  const damaged: string[] = [];
  const store = await files.open({ onDamagedApp: (row) => damaged.push(row) });
  const app = { platform: "weixin", id: "wx9", secret: LATE, tokenMode: "stable" } as const;
  await store.apps.create({ ...app, managed: MANAGED }, ENTRY);
  const name = tokenOf(weixinSlot("wx9"));
  await saveUnderLease(store.credentials, name, { value: LATE, issuedAt: 5, expiresAt: 7_200_005 });
  const version = ((await store.apps.listManaged())[0]?.managed?.version ?? 0) + 1;
  const renamed = { ...app, managed: { ...MANAGED, title: "renamed", version } };
  let renaming: Promise<void> | undefined;
  await files.rotate({
    onProgress: ({ step }) => {
      if (step === "written") renaming = store.apps.update(renamed, ENTRY);
    },
  });
  await renaming;
  expect(damaged).toEqual([]);
  expect(await store.apps.listManaged()).toMatchObject([{ managed: { title: "renamed" } }]);
  expect((await store.credentials.find(name)).credential?.value.reveal()).toBe(LATE.reveal());
});
