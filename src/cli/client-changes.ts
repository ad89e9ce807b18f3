import { apiPath, ApiRefusal } from "./api.ts";
import type { ClientData } from "./client-text.ts";
import type { Managing } from "./managing.ts";
import { clientOf } from "./names.ts";

/** How often a change is tried anew when somebody else changes the same client. */
const ATTEMPTS = 3;

/**
 * Changes a client as it stands, anew when somebody else was faster. Gives the client afterwards, and whether anything was
 * changed: `change` gives the body of the change, or undefined for none.
 */
export async function changeClient(
  { api, args }: Managing,
  change: (standing: ClientData) => object | undefined,
): Promise<{ readonly client: ClientData; readonly isChanged: boolean }> {
  const path = apiPath`/v1/clients/${clientOf(args)}`;
  for (let attempt = 1; ; attempt++) {
    const { data: standing, etag } = await api.send<ClientData>({ method: "GET", path });
    const body = change(standing);
    if (!body) return { client: standing, isChanged: false };
    try {
      const request = { method: "PATCH", path, body, ...(etag ? { ifMatch: etag } : {}) } as const;
      return { client: (await api.send<ClientData>(request)).data, isChanged: true };
    } catch (error) {
      const wasOvertaken = error instanceof ApiRefusal && error.status === 412;
      if (!wasOvertaken || attempt === ATTEMPTS) throw error;
    }
  }
}
