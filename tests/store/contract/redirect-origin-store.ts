import { expect, test as declared } from "bun:test";
import { entryOf } from "../../support/audit-entries.ts";
import { failureOf, failuresOf } from "../../support/refusals.ts";
import type { OpenStore } from "./open-store.ts";

const ENTRY = entryOf({ action: "redirect_origins.updated", app: "wx1" });
const DEV = { app: "wx1", environment: "dev" };
const ORIGINS = [
  { origin: "https://dev.example.com", path: "/" },
  { origin: "https://*.dev.example.com", path: "/app" },
];

/** What every store of redirect origins must do. `kind` names it in the tests' names. */
export function redirectOriginStoreContract(kind: string, open: OpenStore, test = declared): void {
  const setup = async () => {
    const { store, clock, beside, reopen, dispose } = await open();
    for (const name of ["dev", "st"]) {
      const facts = { isProduction: false, codes: "relay", createdAt: 1, updatedAt: clock.now() } as const;
      await store.environments.create({ name, ...facts }, entryOf({ action: "environment.created" }));
    }
    return { store, origins: store.redirectOrigins, beside, reopen, [Symbol.dispose]: dispose };
  };

  test(`${kind}: redirect origins replace those of their app and environment`, async () => {
    using it = await setup();
    await it.origins.replace(DEV, ORIGINS, undefined, ENTRY);
    await it.origins.replace({ app: "wx1", environment: "st" }, [], undefined, ENTRY);
    await it.origins.replace({ app: "wx2", environment: "dev" }, ORIGINS, undefined, ENTRY);
    const store = await it.reopen();
    expect(await store.redirectOrigins.loadOrigins()).toEqual([
      ...ORIGINS.toReversed().map((each) => ({ ...DEV, ...each })),
      ...ORIGINS.toReversed().map((each) => ({ ...DEV, app: "wx2", ...each })),
    ]);
  });

  test(`${kind}: an origin belongs to one environment of an app`, async () => {
    using it = await setup();
    await it.origins.replace(DEV, ORIGINS, undefined, ENTRY);
    const taking = it.origins.replace({ app: "wx1", environment: "st" }, ORIGINS.slice(1), undefined, ENTRY);
    expect(await failureOf(taking)).toMatchObject({ code: "conflict" });
    await it.origins.replace(DEV, ORIGINS.slice(0, 1), undefined, ENTRY);
    await it.origins.replace({ app: "wx1", environment: "st" }, ORIGINS.slice(1), undefined, ENTRY);
  });

  test(`${kind}: a change is of the version that was read, and each has its audit entry`, async () => {
    using it = await setup();
    const versionOf = async ({ environments } = it.store) =>
      (await environments.list()).find(({ name }) => name === "dev")?.version ?? 0;
    const version = await versionOf();
    await it.origins.replace(DEV, [], version, ENTRY);
    const stale = await failuresOf([
      it.origins.replace(DEV, ORIGINS, version, ENTRY),
      it.origins.replace(DEV, ORIGINS, 0, ENTRY),
    ]);
    for (const each of stale) expect(each.code).toBe("precondition_failed");
    const unknown = it.origins.replace({ app: "wx1", environment: "none" }, [], undefined, ENTRY);
    expect(await failureOf(unknown)).toMatchObject({ code: "not_found" });
    expect(await versionOf(await it.beside())).toBeGreaterThan(version);
    const entries = await it.store.audit.list({ action: "redirect_origins.updated" }, { limit: 10 });
    expect(entries).toHaveLength(1);
  });

  test(`${kind}: verification files are kept by name`, async () => {
    using it = await setup();
    const [first, second] = ["MP_verify_a.txt", "WW_verify_b.txt"].map((name) => ({ name, content: name }));
    if (!first || !second) throw new Error("two files");
    await it.origins.putFile(second, ENTRY);
    await it.origins.putFile(first, ENTRY);
    await it.origins.putFile({ ...first, content: "changed" }, ENTRY);
    const files = (await it.beside()).redirectOrigins;
    expect(await files.listFiles()).toMatchObject([{ ...first, content: "changed" }, second]);
    await files.removeFile(first.name, ENTRY);
    expect(await failureOf(files.removeFile(first.name, ENTRY))).toMatchObject({ code: "not_found" });
    expect((await it.origins.listFiles()).map(({ name }) => name)).toEqual([second.name]);
  });
}
