import { loadConfig } from "../../src/config.ts";
import { build } from "../../src/service.ts";
import { start } from "../../src/service/running-service.ts";

/** Starts a service one part of which fails, says how that ended, and exits only if nothing is left that runs. */
const parts = await build(loadConfig({ ENV_FILE: "", PORT: "0" }));
const fail = () => {
  throw new Error("it does not start");
};
let url = "";
const failing =
  process.argv[2] === "renewal"
    ? { ...parts, renewal: { ...parts.renewal, start: fail, stop: () => undefined, tick: fail } }
    : {
        ...parts,
        listen: () => {
          const server = parts.listen();
          url = server.url;
          return {
            drain: () => server.drain(),
            close: () => server.close(),
            get url() {
              return fail();
            },
          };
        },
      };
try {
  await start(failing);
  console.log("started");
} catch (error) {
  console.log(`failed: ${(error as Error).message}`);
}
if (url !== "" && (await fetch(url).catch(() => undefined))) console.log("it still listens");
try {
  await parts.store.apps.list();
  console.log("the store is still open");
} catch {
  // It is closed.
}
