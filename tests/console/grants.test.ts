import { expect, test } from "bun:test";
import { ACTIONS as KNOWN, type Action, type Grant, grantTable } from "../../src/access/client.ts";
import {
  ACTIONS,
  ANY_APP,
  grantsOf,
  impliedBy,
  isForService,
  matrixOf,
  toggled,
} from "../../src/console/web/clients/grants.ts";

test("the matrix of grants has a column for every action", () => {
  expect(ACTIONS.toSorted()).toEqual(KNOWN.toSorted());
});

const GRANTS: readonly (readonly [string, readonly Grant[]])[] = [
  ["none", []],
  ["one app", [{ apps: ["wx1"], actions: ["view"] }]],
  [
    "an app twice",
    [
      { apps: ["wx1", "wx2"], actions: ["view", "login"] },
      { apps: ["wx1"], actions: ["api:call"] },
    ],
  ],
  [
    "every app",
    [
      { apps: ["*"], actions: ["token:read"] },
      { apps: ["wx1"], actions: ["token:read", "login"] },
    ],
  ],
  ["an administrator", [{ apps: ["*"], actions: ["admin"] }]],
];

test.each(GRANTS)("grants of %s allow the same after they were a matrix", (_name, grants) => {
  const [before, after] = [grantTable(grants), grantTable(grantsOf(matrixOf(grants)))];
  for (const action of KNOWN)
    for (const app of ["*", "wx1", "wx2", "wx3"])
      expect([action, app, after(action, app)]).toEqual([action, app, before(action, app)]);
});

test.each(GRANTS)("a cell of the matrix of %s is set where the service allows it", (_name, grants) => {
  const [allows, matrix] = [grantTable(grants), matrixOf(grants)];
  for (const app of ["wx1", "wx3"])
    for (const action of KNOWN.filter((each) => !isForService(each))) {
      const isSet = matrix.get(app)?.has(action) ?? false;
      expect([app, action, isSet || impliedBy(matrix, app, action) !== undefined]).toEqual([
        app,
        action,
        allows(action, app),
      ]);
    }
});

test("apps with the same actions are one grant, every app stands first, and an app without actions has none", () => {
  const same: Action[] = ["token:read", "view"];
  let matrix = matrixOf([
    { apps: ["wx2"], actions: same },
    { apps: ["wx1"], actions: same.toReversed() },
    { apps: [ANY_APP], actions: ["login"] },
  ]);
  expect(grantsOf(matrix)).toEqual([
    { apps: ["*"], actions: ["login"] },
    { apps: ["wx1", "wx2"], actions: ["view", "token:read"] },
  ]);
  matrix = toggled(toggled(matrix, "wx1", "view"), "wx1", "token:read");
  expect([...matrix.keys()]).toEqual(["*", "wx1", "wx2"]);
  expect(grantsOf(matrix)[1]).toEqual({ apps: ["wx2"], actions: ["view", "token:read"] });
});
