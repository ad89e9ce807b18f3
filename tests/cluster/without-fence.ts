import { SqlCredentialStore } from "../../src/store/sql-credential-store.ts";

// The program as it would be if a save looked at no generation: the newest is taken for its own.
const { prototype } = SqlCredentialStore;
type Save = (this: SqlCredentialStore, ...parts: Parameters<SqlCredentialStore["save"]>) => Promise<unknown>;
const save = Object.getOwnPropertyDescriptor(prototype, "save")?.value as Save;
const unfenced: Save = async function (name, credential, _, options) {
  const { generation } = await this.find(name);
  return save.call(this, name, credential, generation, options);
};
Object.defineProperty(prototype, "save", { value: unfenced });

await import("../../src/main.ts");
