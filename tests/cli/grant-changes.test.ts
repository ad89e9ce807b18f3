import { expect, test } from "bun:test";
import * as fc from "fast-check";
import { addGrant, takeGrants } from "../../src/cli/client.ts";
import type { Action, Grant } from "../../src/access/client.ts";

const APPS = ["wx1", "wx2", "wx3"];
const CHOSEN: readonly Action[] = ["token:read", "ticket:sign", "login"];

/** Every app and action that the grants name, all apps counting as each. */
function named(grants: readonly Grant[]): Set<string> {
  return new Set(
    grants.flatMap(({ apps, actions }) =>
      (apps[0] === "*" ? APPS : apps).flatMap((app) => actions.map((action) => `${app} ${action}`)),
    ),
  );
}

const someApps = fc.subarray(APPS, { minLength: 1 });
const someActions = fc.subarray([...CHOSEN], { minLength: 1 });
const someGrants = fc.array(fc.record({ apps: someApps, actions: someActions }), { maxLength: 4 });
const maybeAll = fc.record({ apps: fc.oneof(someApps, fc.constant(["*"])), actions: someActions });

test("whatever was granted before, a further grant adds exactly itself", () => {
  fc.assert(
    fc.property(fc.array(maybeAll, { maxLength: 4 }), maybeAll, (before, added) => {
      const after = addGrant(before, added);
      expect(named(after)).toEqual(new Set([...named(before), ...named([added])]));
      expect(addGrant(after, added)).toBe(after);
    }),
  );
});

test("whatever was granted before, exactly what is revoked goes", () => {
  const taking = fc.record({
    apps: fc.option(fc.oneof(someApps, fc.constant(["*"])), { nil: undefined }),
    actions: fc.option(someActions, { nil: undefined }),
  });
  fc.assert(
    fc.property(someGrants, taking, (before, { apps, actions }) => {
      const gone = named([{ apps: apps ?? ["*"], actions: actions ?? CHOSEN }]);
      const left = takeGrants(before, { apps, actions });
      expect(named(left)).toEqual(named(before).difference(gone));
      expect(left === before).toBe(named(before).isDisjointFrom(gone));
      for (const grant of left) expect(grant.apps.length * grant.actions.length).toBeGreaterThan(0);
    }),
  );
});

test("actions on the same apps become one grant", () => {
  const before: Grant[] = [{ apps: ["wx1", "wx2"], actions: ["token:read"] }];
  expect(addGrant(before, { apps: ["wx2", "wx1"], actions: ["login"] })).toEqual([
    { apps: ["wx1", "wx2"], actions: ["token:read", "login"] },
  ]);
});

test("one app can't be taken out of a grant on all, but all of them can", () => {
  const before: Grant[] = [{ apps: ["*"], actions: ["token:read", "login"] }];
  expect(() => takeGrants(before, { apps: ["wx1"], actions: undefined })).toThrow("全部应用");
  expect(takeGrants(before, { apps: ["wx1"], actions: ["ticket:sign"] })).toBe(before);
  expect(takeGrants(before, { apps: ["*"], actions: ["login"] })).toEqual([
    { apps: ["*"], actions: ["token:read"] },
  ]);
  expect(takeGrants(before, { apps: undefined, actions: undefined })).toEqual([]);
});
