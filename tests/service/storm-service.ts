import { loadConfig } from "../../src/config.ts";
import { EventBus } from "../../src/events.ts";
import { startService } from "../../src/service.ts";

// The program of a child process: a service that says so on its output once EXPECTED_REQUESTS callers wait in it. Its
// upstream may take a minute, because the test holds the answer back until then.
const EXPECTED = Number(process.env["EXPECTED_REQUESTS"]);
const events = new EventBus();
let waiters = 0;
events.subscribe(({ type }) => {
  if (type !== "waiter.added") return;
  waiters++;
  if (waiters === EXPECTED) console.log(`arrived ${waiters}`);
});
const upstreamMs = { attempt: 60_000, total: 60_000 };
const service = await startService(loadConfig(), { events, upstreamMs });
console.log(`url ${service.url}`);
