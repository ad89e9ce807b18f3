import type { Action } from "../../../access/client.ts";
import { TextField } from "../parts/field.tsx";
import { useResource } from "../resource.ts";
import { setQuery } from "../router.ts";
import { may } from "../session.ts";
import { w } from "./words.ts";

/** So many apps are suggested; any other can be typed. */
const MAX_SUGGESTED = 200;

/** The apps with which whoever is signed in may do that, to choose among: by their public names, the first of them. */
export function useAppNames(action: Action): readonly string[] {
  const apps = useResource<{ apps: { app: string }[] }>(`/v1/apps?limit=${MAX_SUGGESTED}`);
  return (apps.data?.apps ?? []).map(({ app }) => app).filter((app) => may(action, app));
}

/** The app that a tool is about, which stands in the address as `app`; `names` to choose among. */
export function AppField({ app, names }: { readonly app: string; readonly names: readonly string[] }) {
  return (
    <TextField
      label={w.app}
      value={app}
      choices={names}
      isMono
      onInput={(value) => setQuery({ app: value })}
    />
  );
}
