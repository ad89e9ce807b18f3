import { expect, test } from "bun:test";
import { mkdtempSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { createClient } from "../support/access-harness.ts";
import { Child } from "../support/child.ts";
import { Harness, WX } from "../support/harness.ts";
import { read } from "./document.ts";

const TOKEN = `/v1/apps/${WX.appId}/credentials/access_token`;

/** The value in a file of the script's; undefined while there is no such file. */
function valueIn(path: string): string | undefined {
  try {
    return (JSON.parse(readFileSync(path, "utf8")) as { data: { value: string } }).data.value;
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return undefined;
    throw error;
  }
}

test.each(["docs/events.md", "docs/zh/events.md"])(
  "the script of %s always has the current token in its file",
  async (page) => {
    await using world = await Harness.create();
    const grants = [{ apps: [WX.appId], actions: ["token:read" as const] }];
    const key = await createClient(world, { name: "bot", grants });
    const script = read(page).blocks.find(({ text }) => text.startsWith("#!/bin/sh"))?.text ?? "";
    const folder = mkdtempSync(join(world.folder, "keeper-"));
    const text = script
      .replaceAll("http://127.0.0.1:3000", world.service.url)
      .replaceAll("wx0000000000000001", WX.appId);
    await using shell = new Child(["sh", "-c", text], { cwd: folder, env: { KEY: key }, isGroup: true });
    const path = join(folder, "token.json");
    await Harness.until(() => valueIn(path) !== undefined);
    const first = (await world.administer(TOKEN)).data["value"] as string;
    expect(valueIn(path)).toBe(first);
    // The time is over for the one that waits: 304.
    world.clock.advance(54_000);
    const second = (
      await world.administer(`${TOKEN}/refresh`, {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: JSON.stringify({ force: true }),
      })
    ).data["value"] as string;
    expect(second).not.toBe(first);
    await Harness.until(() => valueIn(path) === second);
    expect(shell.stderr).toBe("");
  },
);
