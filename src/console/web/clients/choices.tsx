import { useState } from "preact/hooks";
import type { EnvironmentData } from "../../../api/v1-environments-schema.ts";
import { TextAreaField, TextField } from "../parts/field.tsx";
import type { FieldProps } from "../parts/field.tsx";
import { useResource } from "../resource.ts";
import { w } from "./words.ts";

/** The names of the environments that there are. */
export function useEnvironments(): readonly string[] {
  const found = useResource<{ environments: EnvironmentData[] }>("/v1/environments", {
    topics: ["environment"],
  });
  return found.data?.environments.map(({ environment }) => environment) ?? [];
}

/** An environment by name: one that there is, or a new one. */
export function EnvironmentField(props: {
  readonly value: string;
  readonly onInput: (value: string) => void;
}) {
  const choices = useEnvironments();
  return <TextField {...props} label={w.environment} hint={w.environmentHint} choices={choices} isMono />;
}

/** An app's id, with the apps that it may be to choose from. */
export function AppField(
  props: FieldProps & { readonly value: string; readonly onInput: (value: string) => void },
) {
  const q = props.value.trim();
  const search = new URLSearchParams({ limit: "20", ...(/^[\w*-]+$/.test(q) && q !== "*" ? { q } : {}) });
  const apps = useResource<{ apps: { app: string }[] }>(`/v1/apps?${search.toString()}`);
  const choices = apps.data?.apps.map(({ app }) => app) ?? [];
  return <TextField {...props} choices={choices} isMono />;
}

/** A list, an entry in each line. */
export function LinesField(
  props: FieldProps & {
    readonly value: readonly string[];
    readonly onInput: (lines: readonly string[]) => void;
    readonly placeholder?: string;
  },
) {
  const [text, setText] = useState(props.value.join("\n"));
  const given = props.value.join("\n");
  // What is typed has empty lines for a while; what was changed elsewhere goes before it.
  const shown = linesIn(text).join("\n") === given ? text : given;
  const input = (value: string) => {
    setText(value);
    props.onInput(linesIn(value));
  };
  return <TextAreaField {...props} value={shown} rows={3} onInput={input} />;
}

function linesIn(text: string): string[] {
  return text.split(/[\s,]+/).filter(Boolean);
}
