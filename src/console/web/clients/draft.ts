import { signal } from "@preact/signals";
import type { ClientChange, ClientData } from "../../../api/v1-clients-schema.ts";
import { patch } from "../api.ts";

/** What was changed of a client and not saved, and of which version. */
interface Draft {
  readonly version: number;
  readonly change: ClientChange;
}

/** By the client's name; they stay while other screens are looked at. */
const drafts = signal<ReadonlyMap<string, Draft>>(new Map());

/** A client with what was changed of it and not saved yet. */
export interface Edited {
  /** As it would be. */
  readonly client: ClientData;
  readonly change: ClientChange;
  readonly isChanged: boolean;
  /** Whether somebody else has changed it since: then it can't be saved before the new version is loaded. */
  readonly isOvertaken: boolean;
  readonly set: (change: ClientChange) => void;
  readonly discard: () => void;
  /** Takes the version that stands now as the one to change; the changes stay. */
  readonly adopt: () => void;
  /** @throws {ApiError} What the service refuses; 412 when somebody else was faster. */
  readonly save: () => Promise<void>;
}

function write(name: string, draft: Draft | undefined): void {
  const all = new Map(drafts.peek());
  if (draft) all.set(name, draft);
  else all.delete(name);
  drafts.value = all;
}

/** `saved`, as the service has it, with the draft of it. */
export function edited(saved: ClientData): Edited {
  const name = saved.client;
  const draft = drafts.value.get(name);
  const change = draft?.change ?? {};
  const version = draft?.version ?? saved.version;
  const set = (more: ClientChange) => {
    const next = { ...change, ...more };
    const differs = (Object.keys(next) as (keyof ClientChange)[]).filter(
      (field) => textOf(next[field]) !== textOf(saved[field]),
    );
    const kept = Object.fromEntries(differs.map((field) => [field, next[field]]));
    write(name, differs.length > 0 ? { version, change: kept } : undefined);
  };
  return {
    client: withChange(saved, change),
    change,
    isChanged: draft !== undefined,
    isOvertaken: version !== saved.version,
    set,
    discard: () => write(name, undefined),
    adopt: () => write(name, { version: saved.version, change }),
    save: async () => {
      await patch(`/v1/clients/${encodeURIComponent(name)}`, change, { version });
      write(name, undefined);
    },
  };
}

/** To compare values by; an empty list is none. */
function textOf(value: unknown): string {
  return Array.isArray(value) && value.length === 0 ? "null" : JSON.stringify(value ?? null);
}

/** As the service would leave it; null clears a field. */
function withChange(saved: ClientData, change: ClientChange): ClientData {
  const { policy, ...rest } = change;
  const given = Object.entries(rest).map(([field, value]) => [field, value ?? undefined]);
  const merged = { ...saved, ...(Object.fromEntries(given) as Partial<ClientData>) };
  return policy ? { ...merged, policy: { allow: [], deny: [], ...policy } } : merged;
}
