import { expect, test } from "bun:test";
import {
  CHECKS,
  type Checks,
  exitCodeOf,
  failure,
  fine,
  runChecks,
  Skipped,
  warning,
} from "../../src/ops/doctor.ts";
import { systemClock } from "../../src/clock.ts";
import { ServiceError } from "../../src/errors.ts";
import { type AclEntry, aclOf, mayUse } from "../../src/cli/doctor/file-access.ts";
import { fileSystemFinding, spaceFindings } from "../../src/cli/doctor/file-checks.ts";
import { defaultGateway } from "../../src/cli/doctor/config-checks.ts";

const SECRET = "a1b2c3d4e5f60718";

/** Every check, all well but for those of `others`. */
function checksWith(others: Partial<Checks<undefined>>): Checks<undefined> {
  return {
    ...Object.fromEntries(CHECKS.map(({ name }) => [name, () => [fine("好 (well)")]])),
    ...others,
  } as Checks<undefined>;
}

const run = (others: Partial<Checks<undefined>>) =>
  runChecks(checksWith(others), undefined, { clock: systemClock, deadlineMs: 50 });

test("a check that throws, or never ends, is told as that, and all others are done", async () => {
  const results = await run({
    apps: () => {
      throw new TypeError(`what was read: ${SECRET}`);
    },
    integrity: () => new Promise(() => undefined),
    audit: () => {
      throw new ServiceError("unavailable", "数据库正忙 (the database is busy)");
    },
  });
  expect(results.map(({ id }) => id)).toEqual(CHECKS.map(({ id }) => id));
  const told = results
    .filter(({ state }) => state !== "ok")
    .map(({ name, state, messages }) => [name, state, ...messages]);
  expect(told).toEqual([
    ["apps", "fail", expect.stringContaining("TypeError")],
    ["integrity", "fail", expect.stringContaining("it did not end within 0.05 s")],
    ["audit", "fail", expect.stringContaining("the database is busy")],
  ]);
  expect(JSON.stringify(results)).not.toContain(SECRET);
});

test("the worst of what a check finds is its state, and what is well is not told beside it", async () => {
  const results = await run({
    keys: () => [
      fine("一 (one)"),
      warning("二 (two)", "做二 (do two)"),
      failure("三 (three)", "做三 (do three)"),
    ],
    backup: () => {
      throw new Skipped("没有 (none)");
    },
  });
  const found = (name: string) => results.find((each) => each.name === name);
  expect(found("keys")).toEqual({
    ...{ id: 26, name: "keys", area: "operations", state: "fail" },
    messages: ["二 (two)", "三 (three)"],
    remedies: ["做二 (do two)", "做三 (do three)"],
  });
  expect(found("backup")).toMatchObject({ state: "skipped", messages: ["没有 (none)"] });
});

test("the exit code is 1 with a failure, 4 with warnings alone, and 0 when all is well or was not looked at", () => {
  const codeOf = (...states: ("ok" | "warn" | "fail" | "skipped")[]) =>
    exitCodeOf(states.map((state) => ({ state })));
  expect([codeOf("ok", "skipped"), codeOf("ok", "warn"), codeOf("warn", "fail")]).toEqual([0, 4, 1]);
});

test.each([
  [0x6969, "fail", /NFS/],
  [0xff534d42, "fail", /CIFS/],
  // As a signed number, which some systems give.
  [0xff534d42 | 0, "fail", /CIFS/],
  [0xfe534d42, "fail", /SMB/],
  [0x65735546, "fail", /FUSE/],
  [0x794c7630, "warn", /container's own layer/],
  [0xef53, "ok", /local/],
  [0x01021994, "ok", /tmpfs/],
])("a file system of type %p is %s for a database", (type, state, words) => {
  const finding = fileSystemFinding("/data", type);
  expect(finding.state).toBe(state as typeof finding.state);
  expect(finding.message).toMatch(words);
});

test("little space, none, and no inodes are told apart", () => {
  const facts = { bsize: 4096, blocks: 10_000_000, bavail: 5_000_000, files: 1000, ffree: 900 };
  const stateOf = (change: Partial<typeof facts>) =>
    spaceFindings("/data", { ...facts, ...change }).map(({ state }) => state);
  expect(stateOf({})).toEqual(["ok"]);
  expect(stateOf({ bavail: 400_000 })).toEqual(["warn"]);
  expect(stateOf({ blocks: 1_000_000, bavail: 200_000 })).toEqual(["warn"]);
  expect(stateOf({ bavail: 100 })).toEqual(["fail"]);
  expect(stateOf({ ffree: 0 })).toEqual(["fail"]);
  // btrfs counts none.
  expect(stateOf({ files: 0, ffree: 0 })).toEqual(["ok"]);
});

test("owner, group and others each have their own rights, and root has all", () => {
  const facts = { uid: 5, gid: 6, mode: 0o100_640 };
  const may = (uid: number, gid: number, want: number) => mayUse(facts, { uid, gids: [1, gid] }, want);
  expect([may(5, 0, 6), may(7, 6, 4), may(7, 6, 6), may(7, 8, 4), may(0, 0, 7)]).toEqual([
    true,
    true,
    false,
    false,
    true,
  ]);
  // The owner has the owner's rights, also where the group has more.
  expect(mayUse({ ...facts, mode: 0o070 }, { uid: 5, gids: [6] }, 4)).toBe(false);
});

test("an access control list lets in whom it names, as far as its mask goes, and the mode's group digit is that mask", () => {
  const facts = { uid: 5, gid: 6, mode: 0o100_660 };
  const acl = (mask: number): AclEntry[] => [
    { tag: 0x01, may: 6, id: 0xffff_ffff },
    { tag: 0x02, may: 6, id: 7 },
    { tag: 0x02, may: 0, id: 8 },
    { tag: 0x04, may: 0, id: 0xffff_ffff },
    { tag: 0x08, may: 4, id: 9 },
    { tag: 0x10, may: mask, id: 0xffff_ffff },
    { tag: 0x20, may: 0, id: 0xffff_ffff },
  ];
  const may = (uid: number, gids: number[], want: number, mask = 6) =>
    mayUse(facts, { uid, gids }, want, acl(mask));
  expect([may(7, [], 6), may(7, [], 6, 4), may(7, [], 4, 4)]).toEqual([true, false, true]);
  expect([may(8, [9], 4), may(5, [], 6, 0)]).toEqual([false, true]);
  expect([may(1, [9], 4), may(1, [9], 6), may(1, [6], 4), may(1, [6, 9], 4), may(1, [], 4)]).toEqual([
    true,
    false,
    false,
    true,
    false,
  ]);
});

test("a file without an access control list has none, nor has one that is missing", () => {
  expect([aclOf(import.meta.path), aclOf("/nowhere")]).toEqual([[], []]);
});

test("the bridge of a container is the gateway of its default route", () => {
  const routes = "Iface\tDestination\tGateway\tFlags\neth0\t00000000\t010011AC\t0003\t0\t0\t0\t00000000\n";
  expect(defaultGateway(routes)).toBe("172.17.0.1");
  expect(defaultGateway("Iface\tDestination\tGateway\n")).toBeUndefined();
});
