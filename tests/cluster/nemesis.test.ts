import { postgresTest as test } from "../support/postgres-server.ts";
import { nemesis } from "./nemesis.ts";

// `bun run test:faults` has many seeds and longer runs.
test("N16: whatever goes wrong at once, what was ended is handed out no more, and each token is fetched by one node", async () => {
  await nemesis(29, { ms: 12_000, nodes: 3, apps: 6 });
}, 240_000);
