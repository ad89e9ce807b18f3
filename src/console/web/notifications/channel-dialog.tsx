import type { ChannelData } from "../../../api/v1-notifications-schema.ts";
import { patch, post } from "../api.ts";
import { FormDialog } from "../parts/dialog.tsx";
import { CheckField, SelectField, TextField, useInput } from "../parts/field.tsx";
import { toast } from "../parts/toast.tsx";
import { kindWords, w } from "./words.ts";

/** Where channels are asked for. */
export const CHANNELS = "/v1/notifications/channels";
/** Where one of them is. */
export const pathOf = (name: string) => `${CHANNELS}/${encodeURIComponent(name)}`;

const KINDS = ["wecom", "dingtalk", "feishu", "webhook"] as const;
export type ChannelKind = (typeof KINDS)[number];
const SEVERITIES = ["critical", "warning", "info"] as const;
/** How bad an alarm is, worst first. */
export type Severity = (typeof SEVERITIES)[number];

/** Adds a channel, or changes one; what is stored of its URL and secret stays unless it is entered again. */
export function ChannelDialog(props: {
  readonly of: ChannelData | undefined;
  readonly onClose: () => void;
  readonly onSaved: () => void;
}) {
  const { of } = props;
  const name = useInput(of?.channel ?? "");
  const kind = useInput(of?.kind ?? "wecom");
  const url = useInput("");
  const secret = useInput("");
  const isUnsigned = useInput(false);
  const severity = useInput(of?.min_severity ?? "info");
  const mention = useInput(of?.mention.join(", ") ?? "");
  const quietHours = useInput(of?.quiet_hours ?? "");
  const isEnabled = useInput(of?.enabled ?? true);
  const tellsResolved = useInput(of?.tell_resolved ?? true);
  const isWebhook = kind.value === "webhook";
  const save = async () => {
    const change = {
      ...(url.value.trim() === "" ? {} : { url: url.value.trim() }),
      ...(isUnsigned.value ? { secret: null } : secret.value === "" ? {} : { secret: secret.value }),
      min_severity: severity.value,
      mention: mention.value.split(/[\s,，]+/).filter(Boolean),
      quiet_hours: quietHours.value.trim() === "" ? null : quietHours.value.trim(),
      tell_resolved: tellsResolved.value,
      enabled: isEnabled.value,
    };
    if (of) await patch(pathOf(of.channel), change, { version: of.version });
    else await post(CHANNELS, { channel: name.value.trim(), kind: kind.value, ...change });
    toast(w.saved);
    props.onSaved();
  };
  return (
    <FormDialog
      title={of ? w.editChannel(of.channel) : w.addChannel}
      action={w.save}
      isDisabled={name.value.trim() === "" || (!of && url.value.trim() === "")}
      onClose={props.onClose}
      onSubmit={save}
    >
      {!of && (
        <>
          <TextField label={w.name} hint={w.nameHint} {...name} isMono hasFocus />
          <SelectField label={w.kind} {...kind} options={KINDS.map((value) => [value, kindWords[value]])} />
        </>
      )}
      <TextField
        label={w.url}
        hint={isWebhook ? w.webhookHint : w.urlHint}
        {...url}
        isMono
        isSecret
        placeholder={of ? w.unchanged(of.url ?? "") : "https://"}
      />
      {kind.value !== "wecom" && !isUnsigned.value && (
        <TextField
          label={w.secret}
          hint={isWebhook ? w.webhookSecretHint : w.secretHint}
          {...secret}
          isMono
          isSecret
          isOptional
          {...(of?.secret ? { placeholder: w.unchanged(of.secret) } : {})}
        />
      )}
      {of?.secret && <CheckField label={w.removeSecret} {...isUnsigned} />}
      <SelectField
        label={w.minSeverity}
        {...severity}
        options={SEVERITIES.map((value) => [value, w[value]])}
      />
      {!isWebhook && <TextField label={w.mention} hint={w.mentionHint} {...mention} isMono isOptional />}
      <TextField
        label={w.quietHours}
        hint={w.quietHoursHint}
        {...quietHours}
        placeholder="23:00-08:00"
        isMono
        isOptional
      />
      <CheckField label={w.isEnabled} {...isEnabled} />
      <CheckField label={w.tellsResolved} {...tellsResolved} />
    </FormDialog>
  );
}
