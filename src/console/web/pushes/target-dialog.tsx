import { useState } from "preact/hooks";
import type { CallbackData, SavedTargetData } from "../../../api/v1-callbacks-schema.ts";
import { put } from "../api.ts";
import { FormDialog } from "../parts/dialog.tsx";
import { CheckField, SelectField, TextField } from "../parts/field.tsx";
import { ifMatch, pathOf, showMade } from "./reception.tsx";
import { w } from "./words.ts";

/** Adds a target, or changes one; keys that are made then are shown this once. */
export function TargetDialog(props: {
  readonly app: string;
  readonly target: CallbackData["targets"][number] | undefined;
  readonly reload: () => void;
  readonly onClose: () => void;
}) {
  const { target } = props;
  const [name, setName] = useState(target?.target ?? "");
  const [environment, setEnvironment] = useState(target?.environment ?? "");
  const [isPulled, setIsPulled] = useState(target !== undefined && target.url === undefined);
  const [url, setUrl] = useState(target?.url ?? "");
  const [content, setContent] = useState(target?.content ?? "reencrypted");
  const [hasNewKeys, setHasNewKeys] = useState(false);
  const save = async () => {
    const change = {
      ...{ environment, content, url: isPulled ? null : url },
      ...(hasNewKeys ? { new_keys: true } : {}),
    };
    const path = `${pathOf(props.app)}/targets/${encodeURIComponent(name)}`;
    const saved = await put<SavedTargetData>(path, change, ifMatch(target?.version));
    props.reload();
    const secrets = [saved.token, saved.aes_key, saved.hmac_key];
    if (secrets.some((each) => each !== undefined)) showMade(saved);
  };
  return (
    <FormDialog
      title={target ? w.editTarget(target.target) : w.addTarget}
      action={w.save}
      isDisabled={name === "" || environment === "" || (!isPulled && url === "")}
      onClose={props.onClose}
      onSubmit={save}
    >
      {!target && (
        <TextField label={w.target} hint={w.targetHint} value={name} onInput={setName} isMono hasFocus />
      )}
      <TextField
        label={w.environment}
        value={environment}
        onInput={setEnvironment}
        choices={["prod", "pre", "st", "dev"]}
      />
      <CheckField label={w.pulled} hint={w.pulledHint} isChecked={isPulled} onInput={setIsPulled} />
      {!isPulled && (
        <TextField
          label="URL"
          hint={w.targetUrlHint}
          value={url}
          onInput={setUrl}
          isMono
          placeholder="https://dev.example.com/wx/$APPID$"
        />
      )}
      <SelectField
        label={w.content}
        hint={w.contentHint}
        value={content}
        onInput={(value) => setContent(value as typeof content)}
        options={(["reencrypted", "original", "decrypted"] as const).map((value) => [value, w[value]])}
      />
      {target && (
        <CheckField label={w.newKeys} hint={w.newKeysHint} isChecked={hasNewKeys} onInput={setHasNewKeys} />
      )}
    </FormDialog>
  );
}
