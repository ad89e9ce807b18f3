import { expect, test } from "bun:test";
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { StoreFolder } from "../support/store-folder.ts";

test("P6: whoever has the files of the database has no link in them that could be opened", async () => {
  using folder = new StoreFolder();
  const { authorizationLinks: links } = await folder.open();
  const now = folder.clock.now();
  const link = { state: "CanaryLinkState0123456789abcdefg", platformApp: "wxc000000000000001", request: {} };
  await links.add({ ...link, createdAt: now, expiresAt: now + 1000 });
  expect(await links.find(link.state, now)).toMatchObject(link);
  const data = dirname(folder.path);
  const files = readdirSync(data).map((name) => readFileSync(join(data, name), "latin1"));
  expect(files.some((text) => text.includes(link.platformApp))).toBeTrue();
  expect(files.filter((text) => text.includes(link.state))).toEqual([]);
});
