import { expect, test } from "bun:test";
import { join } from "node:path";
import { inTempFolder } from "../../src/store/temp-folder.ts";
import { ManualClock } from "../support/manual-clock.ts";

test("where no folder can be made, nor removed, the failure is named and not that of tidying up", async () => {
  const folder = join(import.meta.path, "out");
  const failure: unknown = await inTempFolder(folder, new ManualClock(), () => Promise.resolve()).catch(
    (error: unknown) => error,
  );
  expect(failure).toMatchObject({ code: "store_unusable", message: expect.stringContaining("ENOTDIR") });
});
