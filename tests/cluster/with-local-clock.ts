import { ClusterClock } from "../../src/store/postgres/cluster-clock.ts";

// The program as it would be if each node went by its own clock.
Object.defineProperty(ClusterClock.prototype, "measure", { value: () => undefined });

await import("../../src/main.ts");
