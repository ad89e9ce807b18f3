import { Networks } from "../../src/clients/networks.ts";
import { loadConfig } from "../../src/config.ts";
import { startService } from "../../src/service.ts";

/** Trusts loopback, and counts how many requests it was asked about. */
class CountingNetworks extends Networks {
  requests = 0;

  override includes(address: string): boolean {
    this.requests++;
    if (this.requests === EXPECTED) setTimeout(() => console.log(`arrived ${this.requests}`), 0);
    return super.includes(address);
  }
}

// The program of a child process: a service that says so on its output once EXPECTED_REQUESTS requests are in it. Its
// upstream may take a minute, because the test holds the answer back until then.
const EXPECTED = Number(process.env["EXPECTED_REQUESTS"]);
const config = { ...loadConfig(), trustedNetworks: new CountingNetworks("127.0.0.0/8") };
const service = await startService(config, { upstreamMs: { attempt: 60_000, total: 60_000 } });
console.log(`url ${service.url}`);
