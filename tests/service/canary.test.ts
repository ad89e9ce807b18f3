import { Database } from "bun:sqlite";
import { expect, test } from "bun:test";
import { join } from "node:path";
import { Commands } from "./canary-commands.ts";
import { DropinJourney } from "./canary-dropin.ts";
import { Ear } from "./canary-listener.ts";
import { Journey } from "./canary-journey.ts";
import { KeyLives } from "./canary-keys.ts";
import { Management } from "./canary-management.ts";
import { findIn } from "./canary-search.ts";
import {
  canaryHarness,
  CORP_LATER,
  FAULTS,
  filesOf,
  FOREIGN_LATER,
  OWN,
  VARIABLES,
} from "./canary-harness.ts";

const NOWHERE = { stdout: [], stderr: [], answers: [], files: [], filesAfterwards: [] };

test("P6: no secret, token, ticket, code or session key is in the output, an answer or a file", async () => {
  await using world = canaryHarness();
  const { service, url } = await world.serve(VARIABLES, ["--new-database"]);
  const ear = new Ear(url);
  const journey = new Journey(ear);
  for (let n = 0; n < 100; n++) for (const fault of FAULTS) world.sandbox.inject({ ...fault, times: 1 });
  await journey.everyFlow();
  // Every fault has happened: they stand in one line, and nobody passed it by.
  expect(world.sandbox.calls()).toBeGreaterThan(FAULTS.length);
  world.sandbox.clearFaults();
  await journey.unblock();
  const values = ear.secrets.size;
  // A caller's own app that met a daily quota is left alone until midnight, so others come now.
  await journey.everyFlow(FOREIGN_LATER, CORP_LATER);
  expect(ear.secrets.size).toBeGreaterThan(values + 10);
  await journey.keepTicket(OWN.appId, world.sandbox.weixinUrl);
  await journey.everyBadInput();
  const dropin = new DropinJourney(ear);
  for (const fault of FAULTS) world.sandbox.inject({ ...fault, times: 3 });
  await dropin.everyFlow();
  world.sandbox.clearFaults();
  await journey.unblock();
  await dropin.everyFlow();
  await dropin.everyBadInput();
  for (let n = 0; n < 25; n++) {
    await ear.get("/AccessToken/getXcx", { appid: OWN.appId, secret: ear.fresh("guess") });
  }
  await world.sandbox.stop();
  await journey.everyFlow();
  await dropin.everyFlow();
  const whileRunning = filesOf(world);
  service.signal("SIGTERM");
  expect(await service.exited()).toBe(0);

  expect(ear.errors).toBeGreaterThan(100);
  expect(ear.secrets.size).toBeGreaterThan(70);
  const kinds = new Set(ear.secrets.values());
  for (const kind of ["secret", "access_token", "refresh_token", "session_key", "ticket", "value", "code"]) {
    expect([kind, kinds.has(kind)]).toEqual([kind, true]);
  }
  expect(service.stdout).toContain('"event":"request.handled"');
  expect(service.stdout).toContain('"event":"credential.refresh_failed"');
  expect({
    stdout: findIn(service.stdout, ear.secrets),
    stderr: findIn(service.stderr, ear.secrets),
    answers: findIn(ear.said, ear.secrets),
    files: findIn(whileRunning, ear.secrets),
    filesAfterwards: findIn(filesOf(world), ear.secrets),
  }).toEqual(NOWHERE);
});

test("P6: nor is an API key or a secret that an administrator handles, nor in the audit, the metrics or the command line's words", async () => {
  await using world = canaryHarness();
  const commands = new Commands(world);
  const adminKey = await commands.createAdminKey();
  const { service, url } = await world.serve(VARIABLES, ["--new-database"]);
  const ear = new Ear(url);
  ear.secrets.set(adminKey, "api_key");
  const management = new Management(ear, adminKey);
  await management.everyApp();
  await management.everyClient();
  await new KeyLives(ear, adminKey).everyKey();
  await new Journey(ear, { "x-api-key": adminKey }).everyBadInput(ear.fresh("stray secret"));
  await new DropinJourney(ear, { "x-api-key": adminKey }).everyBadInput(ear.fresh("stray secret"));
  const codes = await commands.everyFailure(ear, adminKey);
  expect(codes.filter((code) => code === 0)).toEqual([]);

  const database = new Database(join(world.folder, "data", "accesstoken.db"), { readwrite: true });
  // The service writes meanwhile.
  database.run("PRAGMA busy_timeout = 60000");
  database.run(
    "CREATE TRIGGER broken BEFORE INSERT ON audit_entries BEGIN SELECT RAISE(ABORT, 'broken'); END",
  );
  const inVain = await management.changeInVain();
  expect(inVain.map(({ status, code }) => [status, code])).toEqual(inVain.map(() => [503, 503]));
  database.run("DROP TRIGGER broken");
  database.close();
  const read = await management.readEverything();
  await world.sandbox.stop();
  await management.everyApp();
  const whileRunning = filesOf(world);
  service.signal("SIGTERM");
  expect(await service.exited()).toBe(0);

  for (const code of [0, 1, 401, 403, 404, 405, 409, 412, 413, 415, 429, 502, 503, 40125]) {
    expect([code, ear.codes.has(code)]).toEqual([code, true]);
  }
  // What was done is told, in words that hold nothing of it.
  for (const action of ["app.created", "app.secret_changed", "key.created", "key.rolled", "key.revoked"]) {
    expect(read).toContain(`"action":"${action}"`);
  }
  expect([...ear.secrets.values()].filter((kind) => kind === "api_key").length).toBeGreaterThan(5);
  expect({
    stdout: findIn(service.stdout, ear.secrets),
    stderr: findIn(service.stderr, ear.secrets),
    answers: findIn(ear.said, ear.secrets),
    files: findIn(whileRunning, ear.secrets),
    filesAfterwards: findIn(filesOf(world), ear.secrets),
  }).toEqual(NOWHERE);
});

test("the search for secrets finds each form in which one could stand, so that its silence means something", () => {
  const planted = new Map([[OWN.secret, "secret"]]);
  const { secret } = OWN;
  const bytes = Buffer.from(secret);
  const texts = [
    `{"secret":"${secret}"}`,
    `GET /x?secret=${encodeURIComponent(secret)}`,
    `GET /x?${new URLSearchParams({ secret }).toString()}`,
    JSON.stringify({ message: JSON.stringify({ secret }) }),
    bytes.toString("hex"),
    ...[0, 1, 2, 3].map((shift) => Buffer.from(`${"x".repeat(shift)}${secret}yyy`).toString("base64")),
    ...[0, 1, 2, 3].map((shift) => Buffer.from(`${"x".repeat(shift)}${secret}yyy`).toString("base64url")),
    bytes.toString("base64"),
    Buffer.concat([Buffer.from([0, 255, 128]), bytes, Buffer.alloc(9)]).toString("latin1"),
  ];
  for (const text of texts)
    expect([text, findIn(`before ${text} after`, planted)]).toEqual([text, ["secret"]]);
  expect(findIn(`before ${secret.slice(0, -1)} after`, planted)).toEqual([]);
});
