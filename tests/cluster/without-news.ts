import { PostgresChanges } from "../../src/store/postgres/postgres-changes.ts";

// The program as it would be if nothing in its memory were ever overtaken by what another node has stored.
const { prototype } = PostgresChanges;
type Subscribe = (this: PostgresChanges, ...parts: Parameters<PostgresChanges["subscribe"]>) => () => void;
const subscribe = Object.getOwnPropertyDescriptor(prototype, "subscribe")?.value as Subscribe;
const deaf: Subscribe = function (topic, listener) {
  return topic === "credentials" ? () => undefined : subscribe.call(this, topic, listener);
};
Object.defineProperty(prototype, "subscribe", { value: deaf });

await import("../../src/main.ts");
