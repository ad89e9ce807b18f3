import { useState } from "preact/hooks";
import type { ChannelData } from "../../../api/v1-notifications-schema.ts";
import { patch, post } from "../api.ts";
import { FormDialog } from "../parts/dialog.tsx";
import { CheckField, SelectField, TextField } from "../parts/field.tsx";
import { toast } from "../parts/toast.tsx";
import { w } from "./words.ts";

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
  const [name, setName] = useState(of?.channel ?? "");
  const [kind, setKind] = useState(of?.kind ?? "wecom");
  const [url, setUrl] = useState("");
  const [secret, setSecret] = useState("");
  const [isUnsigned, setIsUnsigned] = useState(false);
  const [severity, setSeverity] = useState(of?.min_severity ?? "info");
  const [mention, setMention] = useState(of?.mention.join(", ") ?? "");
  const [quietHours, setQuietHours] = useState(of?.quiet_hours ?? "");
  const [isEnabled, setIsEnabled] = useState(of?.enabled ?? true);
  const [tellsResolved, setTellsResolved] = useState(of?.tell_resolved ?? true);
  const isWebhook = kind === "webhook";
  const save = async () => {
    const change = {
      ...(url.trim() === "" ? {} : { url: url.trim() }),
      ...(isUnsigned ? { secret: null } : secret === "" ? {} : { secret }),
      min_severity: severity,
      mention: mention.split(/[\s,，]+/).filter(Boolean),
      quiet_hours: quietHours.trim() === "" ? null : quietHours.trim(),
      tell_resolved: tellsResolved,
      enabled: isEnabled,
    };
    if (of) await patch(pathOf(of.channel), change, { version: of.version });
    else await post(CHANNELS, { channel: name.trim(), kind, ...change });
    toast(w.saved);
    props.onSaved();
  };
  return (
    <FormDialog
      title={of ? w.editChannel(of.channel) : w.addChannel}
      action={w.save}
      isDisabled={name.trim() === "" || (!of && url.trim() === "")}
      onClose={props.onClose}
      onSubmit={save}
    >
      {!of && (
        <>
          <TextField label={w.name} hint={w.nameHint} value={name} onInput={setName} isMono hasFocus />
          <SelectField
            label={w.kind}
            value={kind}
            onInput={setKind}
            options={KINDS.map((value) => [value, w[value]])}
          />
        </>
      )}
      <TextField
        label={w.url}
        hint={isWebhook ? w.webhookHint : w.urlHint}
        value={url}
        onInput={setUrl}
        isMono
        isSecret
        placeholder={of ? w.unchanged(of.url ?? "") : "https://"}
      />
      {kind !== "wecom" && !isUnsigned && (
        <TextField
          label={w.secret}
          hint={isWebhook ? w.webhookSecretHint : w.secretHint}
          value={secret}
          onInput={setSecret}
          isMono
          isSecret
          isOptional
          {...(of?.secret ? { placeholder: w.unchanged(of.secret) } : {})}
        />
      )}
      {of?.secret && <CheckField label={w.removeSecret} isChecked={isUnsigned} onInput={setIsUnsigned} />}
      <SelectField
        label={w.minSeverity}
        value={severity}
        onInput={setSeverity}
        options={SEVERITIES.map((value) => [value, w[value]])}
      />
      {!isWebhook && (
        <TextField
          label={w.mention}
          hint={w.mentionHint}
          value={mention}
          onInput={setMention}
          isMono
          isOptional
        />
      )}
      <TextField
        label={w.quietHours}
        hint={w.quietHoursHint}
        value={quietHours}
        onInput={setQuietHours}
        placeholder="23:00-08:00"
        isMono
        isOptional
      />
      <CheckField label={w.isEnabled} isChecked={isEnabled} onInput={setIsEnabled} />
      <CheckField label={w.tellsResolved} isChecked={tellsResolved} onInput={setTellsResolved} />
    </FormDialog>
  );
}
