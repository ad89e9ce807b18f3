import type { CallbackData, SavedTargetData } from "../../../api/v1-callbacks-schema.ts";
import { put } from "../api.ts";
import { FormDialog } from "../parts/dialog.tsx";
import { CheckField, SelectField, TextField, useInput } from "../parts/field.tsx";
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
  const name = useInput(target?.target ?? "");
  const environment = useInput(target?.environment ?? "");
  const isPulled = useInput(target !== undefined && target.url === undefined);
  const url = useInput(target?.url ?? "");
  const content = useInput(target?.content ?? "reencrypted");
  const hasNewKeys = useInput(false);
  const save = async () => {
    const change = {
      ...{ environment: environment.value, content: content.value, url: isPulled.value ? null : url.value },
      ...(hasNewKeys.value ? { new_keys: true } : {}),
    };
    const path = `${pathOf(props.app)}/targets/${encodeURIComponent(name.value)}`;
    const saved = await put<SavedTargetData>(path, change, ifMatch(target?.version));
    props.reload();
    const secrets = [saved.token, saved.aes_key, saved.hmac_key];
    if (secrets.some((each) => each !== undefined)) showMade(saved);
  };
  return (
    <FormDialog
      title={target ? w.editTarget(target.target) : w.addTarget}
      action={w.save}
      isDisabled={name.value === "" || environment.value === "" || (!isPulled.value && url.value === "")}
      onClose={props.onClose}
      onSubmit={save}
    >
      {!target && <TextField label={w.target} hint={w.targetHint} {...name} isMono hasFocus />}
      <TextField label={w.environment} {...environment} choices={["prod", "pre", "st", "dev"]} />
      <CheckField label={w.pulled} hint={w.pulledHint} {...isPulled} />
      {!isPulled.value && (
        <TextField
          label="URL"
          hint={w.targetUrlHint}
          {...url}
          isMono
          placeholder="https://dev.example.com/wx/$APPID$"
        />
      )}
      <SelectField
        label={w.content}
        hint={w.contentHint}
        {...content}
        options={(["reencrypted", "original", "decrypted"] as const).map((value) => [value, w[value]])}
      />
      {target && <CheckField label={w.newKeys} hint={w.newKeysHint} {...hasNewKeys} />}
    </FormDialog>
  );
}
